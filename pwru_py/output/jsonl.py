# SPDX-License-Identifier: Apache-2.0
"""JSON Lines: one object a line, described by ``schema.json`` beside this module.

``time`` is there with ``--timestamp`` only and follows its mode: integer nanoseconds, or an
ISO 8601 string for ``absolute``. ``ts_ns`` (monotonic) and ``wall_ns`` (since the epoch) are in
every event. All text is ASCII with JSON's own escapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from json import JSONEncoder
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TextIO

from ..options.config import Timestamp
from ..record.event import Event, Losses, Summary
from .columns import Format, View, flag_names, format_frame
from .protocols import TCP, icmp_name
from .stamp import Stamp
from .summary import LossWatch
from .text import CACHE_ENTRIES, STACK_ENTRIES, keep

if TYPE_CHECKING:
    from datetime import tzinfo

# The JSON text of a value without spaces; made once, which ``json.dumps`` would do every time.
_dumps = JSONEncoder(separators=(",", ":")).encode


class JsonSink:
    """Events, losses as they rise, and a summary, told apart by ``type``."""

    def __init__(
        self,
        stream: TextIO,
        view: View,
        *,
        clock: Callable[[], float] = time.monotonic,
        tz: tzinfo | None = None,
    ) -> None:
        self._stream = stream
        self._line = line_format(view, Stamp(view.timestamp, tz=tz))
        self._watch = LossWatch(clock)

    def start(self) -> None:
        """Nothing: the first line is an event."""

    def events(self, batch: Sequence[Event]) -> None:
        self._stream.write("".join(map(self._line, batch)))
        self._stream.flush()

    def losses(self, losses: Losses) -> None:
        if self._watch.lost_more(losses, recursion=True):
            self._write({"type": "lost", **asdict(losses)})

    def progress(self, done: int, total: int) -> None:
        """Nothing: progress is no data."""

    def finish(self, summary: Summary) -> None:
        self._write({"type": "summary", **asdict(summary)})

    def _write(self, record: dict[str, Any]) -> None:
        self._stream.write(_dumps(record) + "\n")
        self._stream.flush()


def line_format(view: View, stamp: Stamp) -> Format:
    """A function Event → its line. Parts that repeat are kept as text, as in ``text``."""

    def packet(event: Event) -> dict[str, Any]:
        return (_meta(event) if view.meta else {}) | (_tuple(event) if view.tuple else {})

    task = _part(_task, "skb cpu comm pid context")
    func = _part(_func, "func module addr drop reason reason_name")
    packet_fields = "netns mark ifindex ifname proto mtu len " * view.meta
    packet_fields += "tuple tcp_flags" * view.tuple
    parts: list[Format] = [lambda event: "{" + task(event), func]
    if packet_fields:
        parts.append(_part(packet, packet_fields))
    if view.stack:
        parts.append(_part(_stack, "stack", STACK_ENTRIES))
    parts.append(_times(view.timestamp, stamp))
    if len(parts) == 4:
        _, _, rest, times = parts
        return lambda e: "{" + task(e) + func(e) + rest(e) + times(e)
    return lambda event: "".join([part(event) for part in parts])


def _part(
    make: Callable[[Event], dict[str, Any]], fields: str, entries: int = CACHE_ENTRIES
) -> Format:
    """The members that ``make`` gives, as JSON text ending in a comma, kept by ``fields``."""
    key = itemgetter(*map(Event._fields.index, fields.split()))
    return keep(key, lambda event: _dumps(make(event))[1:-1] + ",", entries)


def _times(mode: Timestamp, stamp: Stamp) -> Format:
    """The last members and the end of the line; they differ in every event."""
    if mode is Timestamp.NONE:
        return lambda e: f'"ts_ns":{e.ts_ns},"wall_ns":{e.wall_ns}}}\n'
    value = stamp.value
    mark = '"' if mode is Timestamp.ABSOLUTE else ""
    return lambda e: f'"time":{mark}{value(e)}{mark},"ts_ns":{e.ts_ns},"wall_ns":{e.wall_ns}}}\n'


def _task(event: Event) -> dict[str, Any]:
    return {
        "type": "event",
        "skb": hex(event.skb),
        "cpu": event.cpu,
        "process": f"{event.comm}:{event.pid}",
        "pid": event.pid,
        "comm": event.comm,
        "context": event.context.name.lower(),
    }


def _func(event: Event) -> dict[str, Any]:
    return {
        "func": event.func,
        "module": event.module,
        "addr": hex(event.addr),
        "drop": event.drop,
        "drop_reason": event.reason_name or None,
        "drop_reason_id": event.reason if event.reason >= 0 else None,
    }


def _meta(event: Event) -> dict[str, Any]:
    return {
        "netns": event.netns,
        "mark": event.mark,
        "iface": event.ifname,
        "ifindex": event.ifindex,
        "proto": event.proto,
        "mtu": event.mtu,
        "len": event.len,
    }


def _tuple(event: Event) -> dict[str, Any]:
    packet = event.tuple
    if packet is None:
        return {"tuple": None}
    flags = event.tcp_flags if packet.proto == TCP and packet.has_ports else 0
    members: dict[str, Any] = {
        "saddr": packet.saddr,
        "daddr": packet.daddr,
        "sport": packet.sport,
        "dport": packet.dport,
        "proto": packet.proto if packet.proto >= 0 else None,
        "flags": flag_names(flags),
    }
    if packet.icmp is not None:
        kind, ident, sequence = packet.icmp
        name = icmp_name(packet.proto, kind) or None
        members["icmp"] = {"type": kind, "name": name, "id": ident, "seq": sequence}
    if packet.fragment:
        members["fragment"] = True
    return {"tuple": members}


def _stack(event: Event) -> dict[str, Any]:
    return {"stack": [format_frame(frame) for frame in event.stack]}
