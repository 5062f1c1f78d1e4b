# SPDX-License-Identifier: Apache-2.0
"""``--journey``: where events become journeys, and journeys text or JSON."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TextIO

from .kernel.netns import NetnsNames
from .options.config import Timestamp
from .output.journey import ARRIVED, LOST, UNKNOWN, journey_lines, json_journey, mark
from .output.summary import LossWatch, loss_notice, plural, summary_lines
from .packets.journey import Journeys
from .record.event import Event, Losses, Summary
from .record.journey import Journey

if TYPE_CHECKING:
    from rich.console import Console

_STYLES = {ARRIVED: "green", LOST: "bold red", UNKNOWN: "yellow"}


class JourneySink:
    """Writes a journey when it is over.

    ``notices``: where losses are told, None where JSON tells them. ``enough``: called when
    ``count`` journeys were written, 0 for no limit.
    """

    def __init__(
        self,
        stream: TextIO,
        *,
        as_json: bool,
        notices: TextIO,
        timestamp: Timestamp,
        timeout_s: float,
        count: int,
        enough: Callable[[], None],
    ) -> None:
        self._stream = stream
        self._json = as_json
        self._notices = notices
        self._journeys = Journeys(int(timeout_s * 1e9))
        self._names = NetnsNames()
        self._timestamp = timestamp
        self._left = count
        self._enough = enough
        self._watch = LossWatch(time.monotonic)
        self._written = 0
        self._console: Console | None = None
        if stream.isatty() and not as_json:
            from .output.table import terminal_console

            self._console = terminal_console(stream)

    def start(self) -> None:
        """Nothing: a journey has its own head."""

    def events(self, batch: Sequence[Event]) -> None:
        self._write(self._journeys.add(batch))
        self._write(self._journeys.expired(time.monotonic_ns()))
        self._stream.flush()

    def losses(self, losses: Losses) -> None:
        self._journeys.lossy = losses.buffer_full > 0
        if not self._watch.lost_more(losses):
            return
        if self._json:
            self._line({"type": "lost", **_fields(losses)})
        else:
            self._notices.write(loss_notice(losses) + "\n")

    def progress(self, done: int, total: int) -> None:
        """Nothing: tracepoints attach at once."""

    def finish(self, summary: Summary) -> None:
        self._write(self._journeys.close())
        if self._journeys.crowded:
            given = plural(self._journeys.crowded, "packet")
            self._notices.write(f"not followed to the end: {given}, too many were under way\n")
        if self._json:
            self._line({"type": "summary", **_fields(summary)})
        elif self._console is not None:
            self._console.print("\n".join(summary_lines(summary)), soft_wrap=True)
        self._stream.flush()

    def _write(self, journeys: Iterable[Journey]) -> None:
        for journey in journeys:
            if self._enough_written:
                return
            self._written += 1
            if self._json:
                self._line(json_journey(journey, self._names.name))
            elif self._console is not None:
                self._show(self._console, journey)
            else:
                lines = journey_lines(journey, self._names.name, self._timestamp)
                self._stream.write("\n".join(lines) + "\n\n")
            if self._enough_written:
                self._enough()

    @property
    def _enough_written(self) -> bool:
        return 0 < self._left <= self._written

    def _show(self, console: Console, journey: Journey) -> None:
        head, *hops, end = journey_lines(journey, self._names.name, self._timestamp)
        console.print(head, style="bold", soft_wrap=True)
        for line in hops:
            console.print(line, soft_wrap=True)
        console.print(end, style=_STYLES[mark(journey)], soft_wrap=True)
        console.print()

    def _line(self, record: dict[str, object]) -> None:
        self._stream.write(json.dumps(record, separators=(",", ":")) + "\n")


def _fields(values: Losses | Summary) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(values)
