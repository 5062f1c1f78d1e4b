# SPDX-License-Identifier: Apache-2.0
"""The table on a terminal: rows stream, one colour a packet, drops stand out."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, TextIO

from rich.console import Console
from rich.segment import Segment, Segments
from rich.style import Style

from ..record.event import Event, Losses, Summary
from .beneath import beneath_names, rule_lines, stack_lines, structure_lines
from .fields import View, columns
from .formats import cell_width, format_verdict
from .stamp import Stamp
from .summary import LossWatch, loss_notice, summary_lines
from .widths import Layout, choose, cut, fit

if TYPE_CHECKING:
    from datetime import tzinfo

if TYPE_CHECKING:
    from rich.progress import Progress, TaskID

# From the 256-colour cube: a contrast of at least 3.6 to black and to white (WCAG 2 asks 3 of
# user interfaces), and no red, which is for drops alone.
PALETTE = (28, 30, 32, 63, 64, 66, 67, 94, 97, 99, 100, 130, 133, 163)
PACKET_STYLES = tuple(Style(color=f"color({number})") for number in PALETTE)
DROP = Style(bold=True, color="red")
REASON = Style(bold=True, reverse=True, color="red")
HEADER = Style(bold=True)
DIM = Style(dim=True)
WARNING = Style(bold=True, color="yellow")
PLAIN = Style()

REDRAW_INTERVAL_S = 0.1
_NEWLINE = Segment("\n")


class _TerminalConsole(Console):
    """A console that leaves a broken pipe to the caller, where rich would exit."""

    def on_broken_pipe(self) -> None:
        raise BrokenPipeError


def terminal_console(stream: TextIO) -> Console:
    """A console that shows text as it is: no markup, no emoji, no highlighting."""
    return _TerminalConsole(file=stream, markup=False, emoji=False, highlight=False)


def packet_style(skb: int) -> Style:
    """The packet's colour. An sk_buff is aligned to 64 bytes at least: the rest is mixed."""
    return PACKET_STYLES[((skb >> 6) * 0x9E3779B1 & 0xFFFFFFFF) * len(PALETTE) >> 32]


class TableSink:
    """Streams rows through ``console`` and asks it for the width at every batch."""

    def __init__(
        self,
        console: Console,
        view: View,
        *,
        clock: Callable[[], float] = time.monotonic,
        tz: tzinfo | None = None,
    ) -> None:
        self._console = console
        self._beneath = bool(beneath_names(view))
        self._drops = view.drops
        self._counts = view.counts
        self._columns = columns(view, Stamp(view.timestamp, tz=tz))
        self._layout = choose(self._columns, console.width)
        self._watch = LossWatch(clock)
        self._clock = clock
        self._progress: Progress | None = None
        self._task: TaskID | None = None
        self._redraw_s = float("-inf")
        self._meanings: dict[tuple[str, str], str] = {}

    def start(self) -> None:
        self._print(self._header())

    def events(self, batch: Sequence[Event]) -> None:
        segments: list[Segment] = []
        if self._console.width != self._layout.width:
            self._layout = choose(self._columns, self._console.width)
            segments += self._header()
        for event in batch:
            segments += self._row(event)
        self._print(segments)

    def losses(self, losses: Losses) -> None:
        if self._watch.lost_more(losses):
            self._print([Segment(loss_notice(losses), WARNING), _NEWLINE])

    def progress(self, done: int, total: int) -> None:
        if done >= total:
            self._end_progress()
            return
        if self._progress is None:
            self._begin_progress(total)
        if self._progress is not None and self._task is not None:
            self._progress.update(self._task, completed=done, total=total)
            if self._clock() >= self._redraw_s:
                self._redraw_s = self._clock() + REDRAW_INTERVAL_S
                self._progress.refresh()

    def finish(self, summary: Summary) -> None:
        self._end_progress()
        lines = summary_lines(summary, seen=not self._counts)
        segments = [_NEWLINE, Segment(lines[0], HEADER), _NEWLINE]
        for line in lines[1:]:
            lost = line.startswith(("lost: ", "not followed: ")) and line != "lost: nothing"
            segments += [Segment(line, WARNING if lost else PLAIN), _NEWLINE]
        self._print(segments)

    def _print(self, segments: list[Segment]) -> None:
        """Write ready segments as they are, above the progress bar if there is one."""
        if segments:
            self._console.print(Segments(segments), crop=False, soft_wrap=True, end="")

    def _header(self) -> list[Segment]:
        layout = self._layout
        segments = []
        if layout.hidden:
            hint = f"hidden: {' '.join(layout.hidden)} (widen or pipe to less -S)"
            segments += [Segment(cut(hint, layout.width), DIM), _NEWLINE]
        titles = fit(layout, [slot.column.title for slot in layout.slots])
        return [*segments, Segment(titles.before + titles.func, HEADER), _NEWLINE]

    def _row(self, event: Event) -> list[Segment]:
        layout = self._layout
        row = fit(layout, [slot.format(event) for slot in layout.slots])
        style = packet_style(event.skb)
        if event.drop:
            verdict = format_verdict(event)
            segments = [Segment(row.before, style)]
            if not self._drops:
                segments.append(Segment(event.func, DROP))
            if verdict:
                space = [] if self._drops else [Segment("  ")]
                segments += [*space, Segment(verdict, REASON)]
                if self._drops:
                    used = cell_width(row.before.rpartition("\n")[2] + verdict)
                    segments += self._means(event, layout.width - used)
            segments.append(_NEWLINE)
        else:
            segments = [Segment(row.before + row.func, style), _NEWLINE]
        if self._beneath:
            segments += self._lines(event, layout)
        return segments

    def _means(self, event: Event, room: int) -> list[Segment]:
        """What the drop means, where that fits into the rest of its line."""
        from ..facts.meanings import meaning

        kind = event.reason_name, event.location.symbol if event.location is not None else ""
        if kind not in self._meanings:
            found = meaning(*kind)
            self._meanings[kind] = f"  {found.means}" if found else ""
        text = self._meanings[kind]
        return [Segment(text, DIM)] if text and cell_width(text) <= room else []

    def _lines(self, event: Event, layout: Layout) -> list[Segment]:
        """Of what dropped it, and of a structure, nothing is cut."""
        said = [Segment(f"{line}\n", REASON) for line in rule_lines(event)]
        frames = (cut(line, layout.width) for line in stack_lines(event))
        lines = [f"{line}\n" for line in (*frames, *structure_lines(event))]
        return [*said, Segment("".join(lines), DIM)] if lines else said

    def _begin_progress(self, total: int) -> None:
        from rich.progress import BarColumn, Progress, TextColumn

        self._progress = Progress(
            TextColumn("attaching probes {task.completed:.0f}/{task.total:.0f}"),
            BarColumn(),
            console=self._console,
            transient=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        )
        self._task = self._progress.add_task("", total=total)
        self._progress.start()
        self._console.show_cursor(True)  # nothing to undo if the process is killed

    def _end_progress(self) -> None:
        if self._progress is not None:
            self._progress.stop()
            self._progress = None
