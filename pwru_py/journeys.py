# SPDX-License-Identifier: Apache-2.0
"""``--journey``: where events become journeys, and journeys text, JSON or counts of paths."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from .kernel.netns import NetnsNames
from .kernel.rules import RuleBook
from .output.journey import (
    ARRIVED,
    LOST,
    UNKNOWN,
    Names,
    journey_lines,
    json_journey,
    mark,
)
from .output.jsonl import json_line
from .output.paths import json_paths, map_lines, path_lines
from .output.summary import (
    LossWatch,
    json_losses,
    json_summary,
    loss_notice,
    plural,
    summary_lines,
)
from .output.tracepkt import HopLines
from .output.widths import cut, wrap
from .packets.families import Families, Relative
from .packets.journey import Journeys
from .packets.paths import Paths
from .record.dropped_by import NoRules
from .record.event import Event, Losses, Summary
from .record.journey import Journey

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live
    from rich.text import Text

    from .options.flags import Options

_CHILD = "  "  # before what is made of a packet
_INDENT = " " * 17  # beneath what a line says
_MAP_INDENT = " " * 8
_STYLES = {ARRIVED: "green", LOST: "bold red", UNKNOWN: "yellow"}


class JourneySink:
    """Writes a journey when it is over.

    ``notices``: where losses are told, unless JSON tells them. ``enough``: called when as many were
    written as the options ask for. ``replaced``: says how many sets of x_tables' rules have been
    replaced; None: rules are not looked up.
    """

    def __init__(
        self,
        stream: TextIO,
        options: Options,
        notices: TextIO,
        enough: Callable[[], None],
        *,
        replaced: Callable[[str], int] | None = None,
    ) -> None:
        self._stream = stream
        self._json = options.output_json
        self._notices = notices
        namespaces = NetnsNames()
        self._journeys = Journeys(int(options.journey_timeout_s * 1e9), devices=namespaces)
        self._families = Families(self._journeys.has_kin)
        self._rules = RuleBook(replaced) if replaced is not None else None
        book = self._rules if self._rules is not None else NoRules()
        self._names = Names(namespaces.name, namespaces.device, book, namespaces.outside)
        self._timestamp = options.timestamp
        self._left = options.journey_count
        self._enough = enough
        self._watch = LossWatch(time.monotonic)
        self._written = 0
        self._console: Console | None = None
        if stream.isatty() and not self._json:
            from .output.table import terminal_console

            self._console = terminal_console(stream)

    def start(self) -> None:
        """Nothing: a journey has its own head."""

    def events(self, batch: Sequence[Event]) -> None:
        self._write(self._journeys.add(batch))
        # What is still in the buffer, as we are late, is no silence.
        now_ns = batch[-1].ts_ns if batch else time.monotonic_ns()
        self._write(self._journeys.expired(now_ns))
        self._stream.flush()

    def settled(self) -> bool:
        """Whether every journey is over."""
        return not self._journeys.under_way

    def losses(self, losses: Losses) -> None:
        self._journeys.lossy = losses.buffer_full > 0
        if not self._watch.lost_more(losses):
            return
        if self._json:
            self._line(json_losses(losses))
        else:
            self._notices.write(loss_notice(losses) + "\n")

    def progress(self, done: int, total: int) -> None:
        """Nothing: tracepoints attach at once."""

    def finish(self, summary: Summary) -> None:
        self._write(self._journeys.close())
        self._end()
        if self._journeys.crowded:
            given = plural(self._journeys.crowded, "packet")
            self._notices.write(f"not followed to the end: {given}, too many were under way\n")
        if self._json:
            self._line(json_summary(summary))
        elif self._console is not None:
            self._console.print("\n".join(summary_lines(summary)), soft_wrap=True)
        self._stream.flush()
        if self._rules is not None:
            self._rules.close()

    def _end(self) -> None:
        """What comes behind the last journey, before the account."""

    def _write(self, journeys: Iterable[Journey]) -> None:
        if not self._json:
            self._families.add(journeys)
            for family in self._families.whole():
                self._write_family(family)
            return
        for journey in journeys:
            if self._is_one_more():
                self._line(json_journey(journey, self._names))

    def _write_family(self, family: Iterable[Relative]) -> None:
        """What was made of a packet stands beneath it, further right."""
        written = False
        for relative in family:
            if not self._is_one_more():
                break
            written = True
            self._show(relative)
        if written:
            self._stream.write("\n")

    def _is_one_more(self) -> bool:
        """Whether it is to be written; the last one that is ends the session."""
        if self._enough_written:
            return False
        self._written += 1
        if self._enough_written:
            self._enough()
        return True

    @property
    def _enough_written(self) -> bool:
        return 0 < self._left <= self._written

    def _show(self, relative: Relative) -> None:
        journey, depth, since_ns = relative
        indent = _CHILD * depth
        found = journey_lines(journey, self._names, self._timestamp, since_ns)
        lines = [indent + line for line in found]
        console = self._console
        if console is None:
            self._stream.write("\n".join(lines) + "\n")
            return
        head, *hops, end = (wrap(line, console.width, indent + _INDENT) for line in lines)
        console.print(head, style="bold", soft_wrap=True)
        for line in hops:
            console.print(line, soft_wrap=True)
        console.print(end, style=_STYLES[mark(journey)], soft_wrap=True)

    def _line(self, record: dict[str, object]) -> None:
        self._stream.write(json_line(record))


class PathSink(JourneySink):
    """Counts journeys by path, and reports again and again; on a terminal in place."""

    def __init__(
        self,
        stream: TextIO,
        options: Options,
        notices: TextIO,
        enough: Callable[[], None],
        *,
        replaced: Callable[[str], int] | None = None,
    ) -> None:
        super().__init__(stream, options, notices, enough, replaced=replaced)
        self._left = options.report_count
        self._paths = Paths()
        self._path_lines = map_lines if options.journey_map else path_lines
        self._interval_s = options.report_interval_s
        self._next_s = time.monotonic() + self._interval_s
        self._live: Live | None = None

    def start(self) -> None:
        if self._console is not None:
            from rich.live import Live

            self._live = Live(console=self._console, auto_refresh=False, transient=True)
            self._live.start()

    def events(self, batch: Sequence[Event]) -> None:
        super().events(batch)
        if time.monotonic() >= self._next_s and not self._enough_written:
            self._next_s = time.monotonic() + self._interval_s
            self._report()
            self._written += 1
            if self._enough_written:
                self._enough()

    def _write(self, journeys: Iterable[Journey]) -> None:
        for journey in journeys:
            self._paths.add(journey)

    def _end(self) -> None:
        if self._live is not None and self._console is not None:
            self._live.stop()
            self._live = None
            self._console.print(_coloured(self._wrapped(self._console)), soft_wrap=True)
        elif not self._enough_written:
            self._report()

    def _lines(self) -> list[str]:
        counts = (self._paths.busiest(), self._paths.packets, self._paths.others)
        return self._path_lines(*counts, self._names)

    def _report(self) -> None:
        if self._json:
            counts = (self._paths.busiest(), self._paths.packets, self._paths.others)
            self._line(json_paths(*counts, time.time_ns(), self._names))
            return
        if self._live is None or self._console is None:
            self._stream.write("\n".join(self._lines()) + "\n\n")
            return
        lines = self._wrapped(self._console)
        room = max(2, self._console.height - 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more lines"]
        shown = [cut(line, self._console.width) for line in lines]
        self._live.update(_coloured(shown), refresh=True)

    def _wrapped(self, console: Console) -> list[str]:
        """A map's lines by words; a table's stay as they are."""
        if self._path_lines is path_lines:
            return self._lines()
        wrapped = [wrap(line, console.width, _MAP_INDENT) for line in self._lines()]
        return "\n".join(wrapped).split("\n")


def _coloured(lines: Sequence[str]) -> Text:
    """Arrivals and drops, as far as a line goes; ``?`` may be a namespace, too."""
    from rich.text import Text

    text = Text("\n".join(lines), no_wrap=True)
    for character in (ARRIVED, LOST):
        text.highlight_regex(rf" {character} .*|{character}\d+", _STYLES[character])
    return text


class TracepktSink(JourneySink):
    """Hops of pings as they come, a line each."""

    def start(self) -> None:
        self._hops = HopLines()

    def events(self, batch: Sequence[Event]) -> None:
        for line in self._hops.lines(batch):
            self._stream.write(f"{line}\n")
        super().events(batch)

    def _write(self, journeys: Iterable[Journey]) -> None:
        for _journey in journeys:
            pass


def sink_of(options: Options) -> type[JourneySink]:
    """The form that is asked for."""
    if options.tracepkt:
        return TracepktSink
    return PathSink if options.journey_paths else JourneySink
