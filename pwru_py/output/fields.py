# SPDX-License-Identifier: Apache-2.0
"""What is shown of an event, a row each: its column, its members in JSON, their schema.

A new field is a row here (and in ``record/event.py``, where its value comes from).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from operator import attrgetter
from typing import Any, NamedTuple

from ..options.config import Timestamp
from ..record.event import Context, Event
from .formats import (
    Format,
    format_frame,
    format_func,
    format_iface,
    format_packet,
    format_process,
    format_tuple,
    format_verdict,
)
from .json_tuple import TUPLE_SCHEMA, json_tuple
from .stamp import ISO_CHARS, ISO_PATTERN, TIME_OF_DAY_CHARS, Stamp


@dataclass(frozen=True, slots=True)
class View:
    """What of an event is shown. ``meta``: the columns NETNS to LEN. ``drops``: all are drops.

    ``netns_names``: namespaces by their names, cut to ``netns_name_max`` characters; 0: no limit.
    ``counts``: no event is shown, counts are.
    """

    meta: bool = True
    tuple: bool = True
    tcp_flags: bool = False
    stack: bool = False
    packet_id: bool = False
    netns_names: bool = False
    netns_name_max: int = 0
    drops: bool = False
    counts: bool = False
    timestamp: Timestamp = Timestamp.NONE


class Group(IntEnum):
    """Fields that change together, so that their text can be kept and used again."""

    TASK = 0
    TIME = 1
    PACKET = 2
    FUNC = 3
    STACK = 4


@dataclass(frozen=True, slots=True)
class Column:
    """A field in text and table. Widths are terminal cells.

    ``reads``: what ``format`` reads of an event; empty when the text never repeats.
    ``ideal``: the width in plain text. A table may go down to ``min``, with ``short`` in place
    of ``format`` where there is one; it leaves columns out from the lowest ``priority`` up.
    """

    key: str
    title: str
    min: int
    ideal: int
    priority: int
    format: Format
    reads: tuple[str, ...]
    group: Group
    short: Format | None = None


class Member(NamedTuple):
    """A field in JSON. ``value`` reads ``reads`` of an event; ``schema``: its JSON Schema."""

    name: str
    value: Callable[[Event], Any]
    reads: tuple[str, ...]
    schema: Mapping[str, Any]


Choice = Callable[[View, Stamp], Any]
"""A property of a column that depends on the session."""


@dataclass(frozen=True, slots=True)
class Field:
    """One row: its members in JSON, and its column, unless ``title`` is ''; see ``Column``.

    ``drop_title``: of the column where all events are drops; '' leaves it as it is.
    """

    key: str
    group: Group
    members: tuple[Member, ...]
    title: str = ""
    drop_title: str = ""
    widths: Choice = lambda view, stamp: (0, 0)  # min, ideal
    priority: int = 0
    format: Choice = lambda view, stamp: str
    reads: tuple[str, ...] = ()
    short: Choice = lambda view, stamp: None
    shown: Callable[[View], bool] = lambda view: True

    def column(self, view: View, stamp: Stamp) -> Column:
        """As a session shows it."""
        low, ideal = self.widths(view, stamp)
        text, short = self.format(view, stamp), self.short(view, stamp)
        rest = (self.reads, self.group, short)
        title = (view.drops and self.drop_title) or self.title
        return Column(self.key, title, low, ideal, self.priority, text, *rest)


def members(view: View, group: Group) -> list[Member]:
    """What JSON shows of a group."""
    rows = (row for row in FIELDS if row.group is group and row.shown(view))
    return [member for row in rows for member in row.members]


def _fixed(value: Any) -> Choice:
    return lambda view, stamp: value


def _plain(name: str, about: str, schema: Mapping[str, Any], *, of: str = "") -> Member:
    """A member that is the event's own value, under its name or another."""
    of = of or name
    return Member(name, attrgetter(of), (of,), {"description": about, **schema})


def _made(
    name: str, value: Callable[[Event], Any], reads: str, about: str, schema: Mapping[str, Any]
) -> Member:
    return Member(name, value, tuple(reads.split()), {"description": about, **schema})


def _text_of(name: str) -> Choice:
    return _fixed(lambda event: str(getattr(event, name)))


def _netns_text(view: View, stamp: Stamp) -> Format:
    if not view.netns_names:
        return lambda event: str(event.netns)
    return lambda event: event.netns_name[: view.netns_name_max or None]


def _tuple_text(view: View, stamp: Stamp) -> Format:
    if view.tcp_flags:
        return lambda event: format_tuple(event.tuple, event.tcp_flags)
    return lambda event: format_tuple(event.tuple)


def _time_widths(view: View, stamp: Stamp) -> tuple[int, int]:
    if view.timestamp is Timestamp.ABSOLUTE:
        return TIME_OF_DAY_CHARS, ISO_CHARS
    width = 15 if view.timestamp is Timestamp.CURRENT else 10
    return width, width


def _time_short(view: View, stamp: Stamp) -> Format | None:
    return stamp.time_of_day if view.timestamp is Timestamp.ABSOLUTE else None


def _timed(view: View) -> bool:
    return view.timestamp is not Timestamp.NONE


def _meta(view: View) -> bool:
    return view.meta


def columns(view: View, stamp: Stamp) -> list[Column]:
    """The columns of a view, in the order they are shown; FUNC is always the last."""
    rows = (row for row in FIELDS if row.title and row.shown(view))
    return [row.column(view, stamp) for row in rows if not view.drops or row.key not in _NO_DROP]


_NO_DROP = frozenset({"skb", "cpu", "mark", "proto", "mtu"})
"""Columns that say little of a drop; JSON has them."""


_INTEGER = {"type": "integer", "minimum": 0}
_U16 = {**_INTEGER, "maximum": 0xFFFF}
_U32 = {**_INTEGER, "maximum": 0xFFFFFFFF}
_HEX = {"type": "string", "pattern": "^0x[0-9a-f]{1,16}$"}
_TEXT = {"type": "string"}
_WORD = {"enum": [context.name.lower() for context in Context]}
_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_NUMBER_OR_NULL: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
_STAMP = {"oneOf": [{"type": "integer"}, {"type": "string", "pattern": ISO_PATTERN}]}
_FRAMES = {"type": "array", "items": {"type": "string"}}

FIELDS: tuple[Field, ...] = (
    Field(
        "type",
        Group.TASK,
        (Member("type", lambda event: "event", ("skb",), {"const": "event"}),),
    ),
    Field(
        "skb",
        Group.TASK,
        (_made("skb", lambda e: hex(e.skb), "skb", "Address of the sk_buff.", _HEX),),
        title="SKB",
        widths=_fixed((8, 18)),
        priority=11,
        format=_fixed(lambda event: f"0x{event.skb:016x}"),
        short=_fixed(lambda event: f"{event.skb & 0xFFFFFFFF:08x}"),
        reads=("skb",),
    ),
    Field(
        "packet",
        Group.TASK,
        (
            _plain(
                "packet",
                "The packet's number in this session, from 1 up in the order of first sight: an "
                "address may be used again, a number is not.",
                _INTEGER,
            ),
            _plain(
                "parent",
                "Number of the packet that this one was made of (clone, copy, fragment, segment); "
                "null where that is not known.",
                _NUMBER_OR_NULL,
            ),
        ),
    ),
    Field(
        "packet-id",
        Group.TASK,
        (),
        title="PACKET",
        widths=_fixed((6, 6)),
        priority=13,
        format=_fixed(format_packet),
        reads=("packet", "parent"),
        shown=lambda view: view.packet_id,
    ),
    Field(
        "cpu",
        Group.TASK,
        (_plain("cpu", "CPU number.", _INTEGER),),
        title="CPU",
        widths=_fixed((3, 3)),
        priority=4,
        format=_text_of("cpu"),
        reads=("cpu",),
    ),
    Field(
        "process",
        Group.TASK,
        (
            _made(
                "process",
                lambda e: f"{e.comm}:{e.pid}",
                "comm pid",
                "comm:pid. In softirq and hardirq context: the interrupted process.",
                _TEXT,
            ),
            _plain("pid", "Process (thread group) id.", _INTEGER),
            _plain(
                "comm",
                "Command name of the thread, control characters escaped as \\xNN or \\uNNNN.",
                _TEXT,
            ),
            _made(
                "context",
                lambda e: e.context.name.lower(),
                "context",
                "What the CPU was doing.",
                _WORD,
            ),
        ),
        title="PROCESS",
        widths=_fixed((12, 16)),
        priority=7,
        format=_fixed(format_process),
        reads=("comm", "pid", "context"),
    ),
    Field(
        "time",
        Group.TIME,
        (
            _made(
                "time",
                lambda event: None,
                "",
                "Only with --timestamp. current: monotonic ns; relative: ns since this skb's "
                "previous event, 0 at its first; absolute: ISO 8601 local time with microseconds "
                "and offset.",
                _STAMP,
            ),
        ),
        title="TIME",
        widths=_time_widths,
        priority=9,
        format=lambda view, stamp: stamp.text,
        short=_time_short,
        shown=_timed,
    ),
    Field(
        "clocks",
        Group.TIME,
        (
            _plain("ts_ns", "CLOCK_MONOTONIC, nanoseconds.", _INTEGER),
            _plain(
                "wall_ns", "The same moment in nanoseconds since the epoch.", {"type": "integer"}
            ),
        ),
    ),
    Field(
        "netns",
        Group.PACKET,
        (
            _plain(
                "netns",
                "Inode number of the network namespace, 0 if unknown. This and the keys up to len "
                "are absent with --output-meta=false.",
                _INTEGER,
            ),
        ),
        title="NETNS",
        widths=lambda view, stamp: (10, 16 if view.netns_names else 10),
        priority=6,
        format=_netns_text,
        reads=("netns", "netns_name"),
        shown=_meta,
    ),
    Field(
        "netns_name",
        Group.PACKET,
        (
            _plain(
                "netns_name",
                "With --output-netns-names: host, a name of ip netns, a process inside, its number "
                "where it has no name.",
                _TEXT,
            ),
        ),
        shown=lambda view: view.meta and view.netns_names,
    ),
    Field(
        "mark",
        Group.PACKET,
        (_plain("mark", "skb->mark.", _U32),),
        title="MARK",
        widths=_fixed((4, 6)),
        priority=3,
        format=_fixed(lambda event: f"0x{event.mark:x}" if event.mark else "0"),
        reads=("mark",),
        shown=_meta,
    ),
    Field(
        "iface",
        Group.PACKET,
        (
            _plain("iface", "Interface name, '' when skb->dev is unset.", _TEXT, of="ifname"),
            _plain("ifindex", "Interface index, 0 when skb->dev is unset.", _INTEGER),
        ),
        title="IFACE",
        widths=_fixed((8, 12)),
        priority=8,
        format=_fixed(format_iface),
        reads=("ifname", "ifindex"),
        shown=_meta,
    ),
    Field(
        "proto",
        Group.PACKET,
        (
            _plain(
                "proto",
                "skb->protocol (EtherType), host byte order, 0 before the kernel sets it.",
                _U16,
            ),
        ),
        title="PROTO",
        widths=_fixed((6, 6)),
        priority=2,
        format=_fixed(lambda event: f"0x{event.proto:04x}"),
        reads=("proto",),
        shown=_meta,
    ),
    Field(
        "mtu",
        Group.PACKET,
        (_plain("mtu", "MTU of the interface, bytes.", _INTEGER),),
        title="MTU",
        widths=_fixed((5, 5)),
        priority=1,
        format=_text_of("mtu"),
        reads=("mtu",),
        shown=_meta,
    ),
    Field(
        "len",
        Group.PACKET,
        (_plain("len", "skb->len, bytes.", _INTEGER),),
        title="LEN",
        widths=_fixed((5, 5)),
        priority=5,
        format=_text_of("len"),
        reads=("len",),
        shown=_meta,
    ),
    Field(
        "tuple",
        Group.PACKET,
        (Member("tuple", json_tuple, ("tuple", "tcp_flags"), TUPLE_SCHEMA),),
        title="TUPLE",
        widths=lambda view, stamp: (31, 46 if view.tcp_flags else 38),
        priority=10,
        format=_tuple_text,
        reads=("tuple", "tcp_flags"),
        shown=lambda view: view.tuple,
    ),
    Field(
        "func",
        Group.FUNC,
        (
            _plain("func", "Kernel function.", _TEXT),
            _plain("module", "Its module, '' for the kernel itself.", _TEXT),
            _made("addr", lambda e: hex(e.addr), "addr", "Address of the probe.", _HEX),
            _plain("drop", "Whether the packet is dropped here.", {"type": "boolean"}),
            _made(
                "drop_reason",
                lambda e: e.reason_name or None,
                "reason_name",
                "Name of the drop reason that the function was given; null when it carries none, "
                "or the number has no name.",
                _OR_NULL,
            ),
            _made(
                "drop_reason_id",
                lambda e: e.reason if e.reason >= 0 else None,
                "reason",
                "The reason's number; null when the function carries none.",
                _NUMBER_OR_NULL,
            ),
            _made(
                "location",
                lambda e: None if e.location is None else format_frame(e.location),
                "location",
                "Who freed the packet, as a stack names it; null unless func is skb:kfree_skb.",
                _OR_NULL,
            ),
        ),
        title="FUNC",
        drop_title="DROP",
        widths=_fixed((26, 36)),
        priority=12,
        format=lambda view, stamp: format_verdict if view.drops else format_func,
        reads=("func", "reason", "reason_name", "location"),
    ),
    Field(
        "stack",
        Group.STACK,
        (
            _made(
                "stack",
                lambda e: [format_frame(frame) for frame in e.stack],
                "stack",
                "Callers, innermost first: symbol+0xOFFSET [module], or the address alone. Only "
                "with --output-stack.",
                _FRAMES,
            ),
        ),
        shown=lambda view: view.stack,
    ),
)
"""In the order of columns; JSON has them group by group."""
