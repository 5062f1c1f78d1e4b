# SPDX-License-Identifier: Apache-2.0
"""JSON Lines: one object a line, described by ``schema.json`` beside this module.

``time`` is RFC 3339 text; where ``--timestamp`` asks for another clock, integer nanoseconds.
``time_ns`` (since the epoch) and ``ts_ns`` (monotonic) are in every event. All text is ASCII with
JSON's own escapes.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from json import JSONEncoder
from operator import itemgetter
from typing import TYPE_CHECKING, Any, TextIO

from ..options.config import Timestamp
from ..record.event import Event, Losses, Summary
from .fields import Group, Member, View, members
from .formats import Format
from .stamp import Stamp
from .summary import LossWatch, json_losses, json_summary
from .text import CACHE_ENTRIES, STACK_ENTRIES, keep

if TYPE_CHECKING:
    from datetime import tzinfo

# The JSON text of a value without spaces; made once, which ``json.dumps`` would do every time.
_dumps = JSONEncoder(separators=(",", ":")).encode


def json_line(record: Mapping[str, Any]) -> str:
    """A record as its line."""
    return _dumps(record) + "\n"


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
            self._write(json_losses(losses))

    def progress(self, done: int, total: int) -> None:
        """Nothing: progress is no data."""

    def finish(self, summary: Summary) -> None:
        self._write(json_summary(summary))

    def _write(self, record: dict[str, Any]) -> None:
        self._stream.write(json_line(record))
        self._stream.flush()


def line_format(view: View, stamp: Stamp) -> Format:
    """A function Event → its line. Parts that repeat are kept as text, as in ``text``."""
    parts: list[Format] = []
    for group in (Group.TASK, Group.FUNC, Group.PACKET, Group.METADATA, Group.STACK):
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
    if mode in (Timestamp.NONE, Timestamp.ABSOLUTE):
        text = stamp.rfc3339
        return lambda e: f'"time":"{text(e)}","time_ns":{e.wall_ns},"ts_ns":{e.ts_ns}}}\n'
    value = stamp.value
    return lambda e: f'"time":{value(e)},"time_ns":{e.wall_ns},"ts_ns":{e.ts_ns}}}\n'
