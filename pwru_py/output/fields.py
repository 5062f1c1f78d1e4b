# SPDX-License-Identifier: Apache-2.0
"""What is shown of an event, a row each: its column, its members in JSON, their schema.

A new field is a row here (and in ``record/event.py``, where its value comes from).
"""

from __future__ import annotations

import builtins
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import IntEnum
from functools import partial
from operator import attrgetter
from typing import Any, NamedTuple

from ..options.config import Timestamp
from ..record.event import BpfProgram, Context, Event
from .conntrack import CONNTRACK_SCHEMA, format_conntrack, json_conntrack, short_conntrack
from .formats import (
    Format,
    format_call,
    format_caller,
    format_frame,
    format_func,
    format_iface,
    format_metadata,
    format_owner,
    format_packet,
    format_process,
    format_tuple,
    format_verdict,
    short_caller,
)
from .json_frame import FRAME_SCHEMA, json_frame
from .json_tuple import TUNNEL_SCHEMA, TUPLE_SCHEMA, json_tunnel, json_tuple
from .maps import MAP_SCHEMA, json_map
from .stamp import EPOCH_CHARS, ISO_CHARS, RFC3339_PATTERN, TIME_OF_DAY_CHARS, Stamp
from .verdicts import DROPPED_BY_SCHEMA, STEP_SCHEMA, json_dropped_by, json_step


@dataclass(frozen=True, slots=True)
class View:
    """What of an event is shown. ``meta``: the columns NETNS to LEN. ``drops``: all are drops.
    ``quiet``: fewer columns.

    ``netns_names``: namespaces by their names, cut to ``netns_name_max`` characters; 0: no limit.
    ``rules``: what in netfilter dropped a packet, ``nf_path``: which rules it met.
    ``programs``: BPF programs are traced, too. ``inside``: functions without an sk_buff, too.
    ``skb_metadata``, ``xdp_metadata``: field expressions, a column each. ``returns``: functions
    also where they return. ``maps``: what functions of BPF maps are given. ``counts``: no event is
    shown, counts are.
    """

    meta: bool = True
    tuple: bool = True
    tcp_flags: bool = False
    stack: bool = False
    caller: bool = False
    tunnel: bool = False
    conntrack: bool = False
    owner: bool = False
    programs: bool = False
    cb: bool = False
    sk_buff: bool = False
    shared_info: bool = False
    packet_id: bool = False
    netns_names: bool = False
    netns_name_max: int = 0
    rules: bool = False
    nf_path: bool = False
    returns: bool = False
    inside: bool = False
    maps: bool = False
    skb_metadata: builtins.tuple[str, ...] = ()
    xdp_metadata: builtins.tuple[str, ...] = ()
    drops: bool = False
    quiet: bool = False
    counts: bool = False
    timestamp: Timestamp = Timestamp.NONE


class Group(IntEnum):
    """Fields that change together, so that their text can be kept and used again."""

    TASK = 0
    TIME = 1
    PACKET = 2
    METADATA = 3
    FUNC = 4
    STACK = 5


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
    more: Choice = lambda view, stamp: ()  # that it reads in some sessions
    short: Choice = lambda view, stamp: None
    shown: Callable[[View], bool] = lambda view: True

    def column(self, view: View, stamp: Stamp) -> Column:
        """As a session shows it."""
        low, ideal = self.widths(view, stamp)
        text, short = self.format(view, stamp), self.short(view, stamp)
        rest = ((*self.reads, *self.more(view, stamp)), self.group, short)
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


def _tunnel_text(view: View, stamp: Stamp) -> Format:
    if view.tcp_flags:
        return lambda event: format_tuple(event.tunnel, event.tunnel_flags)
    return lambda event: format_tuple(event.tunnel)


_WITHOUT_NAME = re.compile("-?[0-9]+|0x[0-9a-f]+|a structure|")


def _returned_number(event: Event) -> int | str | None:
    if event.returned is None:
        return None
    text = event.returned.text
    return text if text.startswith("0x") else event.returned.value


def _returned_name(event: Event) -> str | None:
    if event.returned is None or _WITHOUT_NAME.fullmatch(event.returned.text):
        return None
    return event.returned.text


def _func_text(view: View, stamp: Stamp) -> Format:
    if view.drops:
        return format_verdict
    return format_call if view.returns or view.inside else format_func


def _program(program: BpfProgram) -> dict[str, Any]:
    return {"kind": program.kind, "id": program.id}


def _structure(name: str, of: str, key: str) -> Member:
    return _made(
        key,
        lambda e: None if (found := getattr(e, of)) is None else found.values(),
        of,
        f"struct {name}, each member by its name: numbers (those in network byte order turned), "
        "addresses as text, enums by name; of frags those in use. null where it is freed already. "
        f"Only with --output-{key.replace('sk_buff', 'skb').replace('_', '-')}.",
        {"type": ["object", "null"]},
    )


def _time_widths(view: View, stamp: Stamp) -> tuple[int, int]:
    if view.timestamp is Timestamp.ABSOLUTE:
        return TIME_OF_DAY_CHARS, ISO_CHARS
    widths = {
        Timestamp.CURRENT: 15,
        Timestamp.EPOCH: EPOCH_CHARS,
        Timestamp.ELAPSED: 13,
    }
    width = widths.get(view.timestamp, 10)
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
    hidden = (_NO_DROP if view.drops else _ALL) | (_NOT_QUIET if view.quiet else _ALL)
    shown = [row.column(view, stamp) for row in rows if row.key not in hidden]
    return [*shown[:-1], *_metadata_columns(view), shown[-1]]


def _metadata_columns(view: View) -> list[Column]:
    return [
        _metadata_column(of, expression, number)
        for of in ("skb_metadata", "xdp_metadata")
        for number, expression in enumerate(getattr(view, of))
    ]


def _metadata_column(of: str, expression: str, number: int) -> Column:
    title = expression.removeprefix("skb->")
    width = max(_METADATA_CHARS, len(title))
    text = partial(format_metadata, of=of, number=number)
    return Column(f"{of}-{number}", title, width, width, 11, text, (of,), Group.METADATA)


_METADATA_CHARS = 6
_ALL: frozenset[str] = frozenset()
_NO_DROP = frozenset({"skb", "cpu", "mark", "proto", "mtu"})
"""Columns that say little of a drop; JSON has them."""
_NOT_QUIET = _NO_DROP | {"process", "len"}
"""Columns without which a line still says where a packet is, and which."""


_INTEGER = {"type": "integer", "minimum": 0}
_U16 = {**_INTEGER, "maximum": 0xFFFF}
_U32 = {**_INTEGER, "maximum": 0xFFFFFFFF}
_HEX = {"type": "string", "pattern": "^0x[0-9a-f]{1,16}$"}
_TEXT = {"type": "string"}
_WORD = {"enum": [context.name.lower() for context in Context]}
_OR_NULL: dict[str, Any] = {"type": ["string", "null"]}
_NUMBER_OR_NULL: dict[str, Any] = {"type": ["integer", "null"], "minimum": 0}
_STAMP = {"oneOf": [{"type": "integer"}, {"type": "string", "pattern": RFC3339_PATTERN}]}
_WORDS = {"type": "array", "items": _U32}
_FRAMES = {"type": "array", "items": FRAME_SCHEMA}

FIELDS: tuple[Field, ...] = (
    Field(
        "type",
        Group.TASK,
        (Member("type", lambda event: "event", ("skb",), {"const": "event"}),),
        shown=lambda view: not view.returns,
    ),
    Field(
        "call",
        Group.TASK,
        (
            Member(
                "type",
                lambda event: "event" if event.returned is None else "return",
                ("returned",),
                {"const": "event"},
            ),
            _plain(
                "depth",
                "How many traced functions of the thread are under way, this one not counted. Only "
                "with --output-return, --filter-return or --output-bpfmap, as the next three.",
                _INTEGER,
            ),
            _made(
                "returned",
                _returned_number,
                "returned",
                "What the function has returned, as a number; of a pointer that is an error its "
                "errno, below 0; of another pointer its address as text; null where it returns "
                "nothing or a structure, and in events.",
                {"type": ["integer", "string", "null"]},
            ),
            _made(
                "returned_name",
                _returned_name,
                "returned",
                "The same by name: an errno (-EPERM), an enum's value, a verdict of netfilter "
                "(NF_DROP), true, false, NULL, ERR_PTR(-ENOENT); null where it has none.",
                _OR_NULL,
            ),
            _made(
                "duration_ns",
                lambda e: None if e.returned is None else e.returned.duration_ns,
                "returned",
                "From the function's entry to its return, with what tracing took within; null in "
                "events.",
                _NUMBER_OR_NULL,
            ),
        ),
        shown=lambda view: view.returns,
    ),
    Field(
        "inside",
        Group.TASK,
        (
            _plain(
                "inside",
                "Whether the function takes no sk_buff and runs within one that does: what is told "
                "of the packet is as it was last seen. Only with --filter-non-skb-funcs, "
                "--filter-track-bpf-helpers or --output-bpfmap.",
                {"type": "boolean"},
            ),
        ),
        shown=lambda view: view.inside,
    ),
    Field(
        "skb",
        Group.TASK,
        (
            _made(
                "skb",
                lambda e: hex(e.skb),
                "skb",
                "Address of the sk_buff; at XDP of the frame's buffer.",
                _HEX,
            ),
        ),
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
            _made(
                "packet",
                lambda e: e.packet or None,
                "packet",
                "The packet's number in this session, from 1 up in the order of first sight: an "
                "address may be used again, a number is not. null at XDP, where it is none yet.",
                _NUMBER_OR_NULL,
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
        "owner",
        Group.PACKET,
        (
            _made(
                "owner",
                lambda e: None if e.owner is None else e.owner._asdict(),
                "owner",
                "The process that made the socket which sends the packet, or which it comes to; of "
                "sockets that were there before the session, one that had it. null where that is "
                "not known. Only with --output-owner.",
                {
                    "type": ["object", "null"],
                    "properties": {
                        "pid": {"description": "Process (thread group) id.", **_INTEGER},
                        "comm": {"description": "Its name then, escaped as in comm.", **_TEXT},
                    },
                    "required": ["pid", "comm"],
                },
            ),
        ),
        title="OWNER",
        widths=_fixed((12, 16)),
        priority=7,
        format=_fixed(format_owner),
        reads=("owner",),
        shown=lambda view: view.owner,
    ),
    Field(
        "time",
        Group.TIME,
        (),
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
            _made(
                "time",
                lambda event: None,  # ``jsonl`` writes it: it is no value of the event alone
                "",
                "RFC 3339, local time with nanoseconds. With --timestamp an integer, current: as "
                "ts_ns; relative: ns since this packet's previous event, 0 at its first; epoch: as "
                "time_ns; delta: ns since the event before; elapsed: ns since the first event.",
                _STAMP,
            ),
            _plain(
                "time_ns",
                "The same moment in nanoseconds since the epoch.",
                {"type": "integer"},
                of="wall_ns",
            ),
            _plain("ts_ns", "The same moment by CLOCK_MONOTONIC, nanoseconds.", _INTEGER),
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
                "With --output-netns-names: host, a name of ip netns, a container, pod or process "
                "inside, its number where it has no name.",
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
        "skb_metadata",
        Group.METADATA,
        (
            _made(
                "skb_metadata",
                lambda e: {field.expression: field.value for field in e.skb_metadata},
                "skb_metadata",
                "With --output-skb-metadata: each expression's value; null where it could not be "
                "read. Numbers in host byte order; addresses, pointers, strings and names of enums "
                "are text.",
                {
                    "type": "object",
                    "additionalProperties": {"type": ["integer", "string", "boolean", "null"]},
                },
            ),
        ),
        shown=lambda view: bool(view.skb_metadata),
    ),
    Field(
        "xdp_metadata",
        Group.METADATA,
        (
            _made(
                "xdp_metadata",
                lambda e: {field.expression: field.value for field in e.xdp_metadata},
                "xdp_metadata",
                "The same with --output-xdp-metadata; null where the event is not at XDP.",
                {
                    "type": "object",
                    "additionalProperties": {"type": ["integer", "string", "boolean", "null"]},
                },
            ),
        ),
        shown=lambda view: bool(view.xdp_metadata),
    ),
    Field(
        "tunnel",
        Group.PACKET,
        (Member("tunnel_tuple", json_tunnel, ("tunnel", "tunnel_flags"), TUNNEL_SCHEMA),),
        title="TUNNEL",
        widths=lambda view, stamp: (31, 46 if view.tcp_flags else 38),
        priority=11,
        format=_tunnel_text,
        reads=("tunnel", "tunnel_flags"),
        shown=lambda view: view.tunnel,
    ),
    Field(
        "conntrack",
        Group.PACKET,
        (
            Member(
                "conntrack", lambda e: json_conntrack(e.conntrack), ("conntrack",), CONNTRACK_SCHEMA
            ),
        ),
        title="CONNTRACK",
        widths=_fixed((17, 28)),
        priority=11,
        format=_fixed(format_conntrack),
        short=_fixed(short_conntrack),
        reads=("conntrack",),
        shown=lambda view: view.conntrack,
    ),
    Field(
        "caller",
        Group.FUNC,
        (
            _made(
                "caller_func",
                lambda e: format_caller(e) or None,
                "caller",
                "Where the function returns to, as a stack names it: its caller, or where that one "
                "returns to if it has jumped to the function. Of a tracepoint the caller of the "
                "function that it is in. null where another tracer hides it. Only with "
                "--output-caller.",
                _OR_NULL,
            ),
        ),
        title="CALLER",
        widths=_fixed((18, 34)),
        priority=11,
        format=_fixed(format_caller),
        short=_fixed(short_caller),
        reads=("caller",),
        shown=lambda view: view.caller,
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
                "drop_reason_code",
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
        format=_func_text,
        reads=("func", "reason", "reason_name", "location", "program"),
        more=lambda view, stamp: ("depth", "returned") if view.returns else (),
    ),
    Field(
        "program",
        Group.FUNC,
        (
            _made(
                "program",
                lambda e: None if e.program is None else _program(e.program),
                "program",
                "The BPF program that begins; func is its name then, and module is bpf. null of "
                "functions. Only with --filter-trace-tc, --filter-trace-xdp.",
                {
                    "type": ["object", "null"],
                    "properties": {
                        "kind": {"enum": ["tc", "xdp"], "description": "Where it is attached."},
                        "id": {**_INTEGER, "description": "Its number, as bpftool has it."},
                    },
                    "required": ["kind", "id"],
                },
            ),
        ),
        shown=lambda view: view.programs,
    ),
    Field(
        "verdict",
        Group.STACK,
        (
            _made(
                "verdict",
                lambda e: json_dropped_by(e.dropped_by),
                "dropped_by",
                "Of a drop, with --rules: what in netfilter dropped the packet.",
                {
                    **DROPPED_BY_SCHEMA,
                    "description": "Of a drop, with --rules: what netfilter said that dropped the "
                    "packet; null elsewhere, and where its tables cannot be probed.",
                },
            ),
        ),
        shown=lambda view: view.rules,
    ),
    Field(
        "nf_path",
        Group.STACK,
        (
            _made(
                "nf_path",
                lambda e: [json_step(step) for step in e.nf_path],
                "nf_path",
                "Only with --output-nf-path: the rule that matched, or the policy that decided, "
                "of an event of nft_do_chain, ipt_do_table or ip6t_do_table; with --drops all "
                "before the drop.",
                {"type": "array", "items": STEP_SCHEMA},
            ),
        ),
        shown=lambda view: view.nf_path,
    ),
    Field(
        "stack",
        Group.STACK,
        (
            _made(
                "stack",
                lambda e: [json_frame(frame) for frame in e.stack],
                "stack",
                "Callers, innermost first. Only with --output-stack.",
                _FRAMES,
            ),
        ),
        shown=lambda view: view.stack,
    ),
    Field(
        "cb",
        Group.STACK,
        (
            _made(
                "cb",
                lambda e: list(e.cb),
                "cb",
                "skb->cb as numbers of 32 bits, host byte order; those of __sk_buff->cb are the "
                "third to the seventh. Only with --output-skb-cb.",
                _WORDS,
            ),
        ),
        shown=lambda view: view.cb,
    ),
    Field(
        "bpf_map",
        Group.STACK,
        (Member("bpf_map", json_map, ("bpf_map",), MAP_SCHEMA),),
        shown=lambda view: view.maps,
    ),
    Field(
        "sk_buff",
        Group.STACK,
        (_structure("sk_buff", "sk_buff", "sk_buff"),),
        shown=lambda view: view.sk_buff,
    ),
    Field(
        "shared_info",
        Group.STACK,
        (_structure("skb_shared_info", "shared_info", "skb_shared_info"),),
        shown=lambda view: view.shared_info,
    ),
)
"""In the order of columns; JSON has them group by group."""

RETURN_KEYS = tuple(m.name for row in FIELDS if row.key == "call" for m in row.members[1:])
"""What a line of a return has, and an event may have."""
