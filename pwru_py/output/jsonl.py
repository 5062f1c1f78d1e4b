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
from .fields import Group, Member, View, members
from .formats import Format
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
    parts: list[Format] = []
    for group in (Group.TASK, Group.FUNC, Group.PACKET, Group.STACK):
        shown = members(view, group)
        if shown:
            parts.append(_part(shown, STACK_ENTRIES if group is Group.STACK else CACHE_ENTRIES))
    parts.append(_times(view.timestamp, stamp))
    if len(parts) == 4:
        task, func, rest, times = parts
        return lambda e: "{" + task(e) + func(e) + rest(e) + times(e)
    return lambda event: "{" + "".join([part(event) for part in parts])


def _part(shown: Sequence[Member], entries: int) -> Format:
    """These members as JSON text ending in a comma, kept by what they read."""
    names = dict.fromkeys(name for member in shown for name in member.reads)
    key = itemgetter(*map(Event._fields.index, names))
    named = [(member.name, member.value) for member in shown]

    def write(event: Event) -> str:
        return _dumps({name: value(event) for name, value in named})[1:-1] + ","

    return keep(key, write, entries)


def _times(mode: Timestamp, stamp: Stamp) -> Format:
    """The last members and the end of the line; they differ in every event."""
    if mode is Timestamp.NONE:
        return lambda e: f'"ts_ns":{e.ts_ns},"wall_ns":{e.wall_ns}}}\n'
    value = stamp.value
    mark = '"' if mode is Timestamp.ABSOLUTE else ""
    return lambda e: f'"time":{mark}{value(e)}{mark},"ts_ns":{e.ts_ns},"wall_ns":{e.wall_ns}}}\n'
