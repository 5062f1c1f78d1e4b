# SPDX-License-Identifier: Apache-2.0
"""Reports of counted drops: text, JSON, and a table that stays in its place on a terminal."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any, NamedTuple, TextIO

from ..escape import printable
from ..record.event import DropRow
from .formats import format_tuple, pad
from .json_tuple import json_addresses
from .summary import plural
from .widths import cut

if TYPE_CHECKING:
    from rich.console import Console
    from rich.live import Live

ORDERS: dict[str, Callable[[DropRow], Any]] = {
    "count": lambda row: (-row.packets, row[:4]),
    "rate": lambda row: (-row.rate, -row.packets, row[:4]),
    "last": lambda row: (-row.last_ns, -row.packets, row[:4]),
}
"""What a table may be sorted by."""


class Look(NamedTuple):
    """How a report is shown. ``order``: a key of ``ORDERS``. ``flows``: beneath each kind."""

    order: str = "count"
    paused: bool = False
    flows: int = 3


_TITLES = ("COUNT", "RATE/s", "SHARE", "LAST", "REASON", "FUNCTION", "NETNS", "IFACE")
FLOWS_CHOICES = (Look().flows, 10, 0)
"""What a key makes of that in turn."""
_FLOWS_JSON = 100
_RIGHT = 3  # the first so many columns are numbers


def _clock(ns: int) -> str:
    return datetime.fromtimestamp(ns / 1e9).astimezone().strftime("%H:%M:%S") if ns else "-"


def _rate(rate: float) -> str:
    return f"{rate:.0f}" if rate >= 10 else f"{rate:.1f}"


def _cells(row: DropRow) -> tuple[str, ...]:
    return (
        str(row.packets),
        _rate(row.rate),
        f"{100 * row.share:.1f}%",
        _clock(row.last_ns),
        row.reason,
        row.function or "?",
        str(row.netns),
        row.ifname or "-",
    )


def _flow_cells(row: DropRow, most: int) -> list[tuple[str, str, str]]:
    """Count, rate and flow of the busiest ``most``, then of all others, if there are any."""
    shown = row.flows[:most]
    cells = [
        (str(flow.packets), _rate(flow.rate), f"  {format_tuple(flow.tuple) or 'no addresses'}")
        for flow in shown
    ]
    others = row.packets - sum(flow.packets for flow in shown)
    if shown and others > 0:
        cells.append((str(others), "", "  other flows"))
    return cells


def report_lines(rows: Sequence[DropRow], now_ns: int, flows: int) -> list[str]:
    """A report: when, how many, then a line for each kind, in aligned columns.

    Beneath each, its busiest ``flows`` flows.
    """
    total = sum(row.packets for row in rows)
    table = [_TITLES, *map(_cells, rows)]
    widths = [max(len(line[column]) for line in table) for column in range(len(_TITLES))]
    lines = [f"{_clock(now_ns)}  {plural(total, 'drop')}"]
    for line, row in zip(table, (None, *rows), strict=True):
        if not rows:
            break
        cells = [
            cell.rjust(width) if column < _RIGHT else pad(cell, width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ]
        lines.append(printable(" ".join(cells).rstrip()))
        for count, rate, flow in _flow_cells(row, flows) if row else ():
            lines.append(f"{count.rjust(widths[0])} {rate.rjust(widths[1])} {flow}")
    return lines


def report_json(rows: Sequence[DropRow], now_ns: int) -> str:
    """The same as one JSON object."""
    total = sum(row.packets for row in rows)
    kinds = []
    for row in rows:
        listed = row.flows[:_FLOWS_JSON]
        flows = [{**flow._asdict(), "tuple": json_addresses(flow.tuple)} for flow in listed]
        others = max(0, row.packets - sum(flow.packets for flow in listed))
        kinds.append({**row._asdict(), "flows": flows, "other_flows": others})
    return json.dumps({"type": "drops", "time_ns": now_ns, "total": total, "kinds": kinds})


class DropTable:
    """The report in its place on a terminal; ``close`` leaves the last one there."""

    def __init__(self, stream: TextIO) -> None:
        from rich.live import Live

        from .table import terminal_console

        self._console: Console = terminal_console(stream)
        self._live: Live = Live(console=self._console, auto_refresh=False, screen=False)
        self._live.start()

    def show(self, rows: Sequence[DropRow], now_ns: int, look: Look) -> None:
        from rich.text import Text

        height, width = self._console.height, self._console.width
        lines = report_lines(sorted(rows, key=ORDERS[look.order]), now_ns, look.flows)
        state = "paused" if look.paused else f"by {look.order}"
        lines[0] += f"  ({state}; keys: s sort, f flows, p pause, q quit)"
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

    def show(self, rows: Sequence[DropRow], now_ns: int, look: Look) -> None:
        if self._json:
            self._stream.write(report_json(rows, now_ns) + "\n")
        else:
            lines = report_lines(sorted(rows, key=ORDERS[look.order]), now_ns, look.flows)
            self._stream.write("\n".join(lines) + "\n")
        self._stream.flush()

    def close(self) -> None:
        self._stream.flush()
