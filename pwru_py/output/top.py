# SPDX-License-Identifier: Apache-2.0
"""Reports of counted drops: text, JSON, and a table that stays in its place on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, TextIO

from ..escape import printable
from ..record.event import DropRow
from .formats import pad
from .summary import plural
from .widths import cut

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

ORDERS: dict[str, Callable[[DropRow], Any]] = {
    "count": lambda row: (-row.packets, row),
    "rate": lambda row: (-row.rate, -row.packets, row),
    "last": lambda row: (-row.last_ns, -row.packets, row),
}
"""What a table may be sorted by."""

_TITLES = ("COUNT", "RATE/s", "SHARE", "LAST", "REASON", "FUNCTION", "NETNS", "IFACE")
_RIGHT = 3  # the first so many columns are numbers


def _clock(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9).astimezone().strftime("%H:%M:%S") if ns else "-"


def _cells(row: DropRow) -> tuple[str, ...]:
    return (
        str(row.packets),
        f"{row.rate:.0f}" if row.rate >= 10 else f"{row.rate:.1f}",
        f"{100 * row.share:.1f}%",
        _clock(row.last_ns),
        row.reason,
        row.function or "?",
        str(row.netns),
        row.ifname or "-",
    )


def report_lines(rows: Sequence[DropRow], now_ns: int) -> list[str]:
    """A report: when, how many, then a line for each kind, in aligned columns."""
    total = sum(row.packets for row in rows)
    table = [_TITLES, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_TITLES))]
    lines = [f"{_clock(now_ns)}  {plural(total, 'drop')}"]
    for line in table if rows else []:
        cells = [
            cell.rjust(width) if column < _RIGHT else pad(cell, width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append(printable(" ".join(cells).rstrip()))
    return lines


def report_json(rows: Sequence[DropRow], now_ns: int) -> str:
    """The same as one JSON object."""
    total = sum(row.packets for row in rows)
    kinds = [row._asdict() for row in rows]
    return json.dumps({"type": "drops", "wall_ns": now_ns, "total": total, "kinds": kinds})


class DropTable:
    """The report in its place on a terminal; ``close`` leaves the last one there."""

    def __init__(self, stream: TextIO) -> None:
        from rich.live import Live

        from .table import terminal_console

        self._console: Console = terminal_console(stream)
        self._live: Live = Live(console=self._console, auto_refresh=False, screen=False)
        self._live.start()

    def show(self, rows: Sequence[DropRow], now_ns: int, order: str, paused: bool) -> None:
        from rich.text import Text

        height, width = self._console.height, self._console.width
        lines = report_lines(sorted(rows, key=ORDERS[order]), now_ns)
        state = "paused" if paused else f"by {order}"
        lines[0] += f"  ({state}; keys: s sort, p pause, q quit)"
        room = max(2, height - 1)
        if len(lines) > room:
            lines = [*lines[: room - 1], f"… {len(lines) - room + 1} more"]
        shown = "\n".join(cut(line, width) for line in lines)
        self._live.update(Text(shown, no_wrap=True), refresh=True)

    def close(self) -> None:
        self._live.stop()


class DropReports:
    """One report after the other, in a pipe or for ``--count``."""

    def __init__(self, stream: TextIO, *, as_json: bool) -> None:
        self._stream = stream
        self._json = as_json

    def show(self, rows: Sequence[DropRow], now_ns: int, order: str, paused: bool) -> None:
        if self._json:
            self._stream.write(report_json(rows, now_ns) + "\n")
        else:
            lines = report_lines(sorted(rows, key=ORDERS[order]), now_ns)
            self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
