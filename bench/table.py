# SPDX-License-Identifier: Apache-2.0
"""Series of measurements, and Markdown tables of them."""

from __future__ import annotations

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from types import NoneType


@dataclass(frozen=True, slots=True)
class Series:
    """The same figure, measured several times."""

    values: tuple[float, ...]

    @classmethod
    def of(cls, values: Iterable[float]) -> Series:
        return cls(tuple(values))

    @property
    def median(self) -> float:
        return statistics.median(self.values)

    @property
    def spread(self) -> float:
        """(greatest - least) / median."""
        return (max(self.values) - min(self.values)) / self.median if self.median else 0.0

    def __str__(self) -> str:
        shown = number(self.median)
        return f"{shown} ±{self.spread / 2:.0%}" if len(self.values) > 1 else shown


def number(value: float) -> str:
    """Three significant digits, thousands apart."""
    if value != value:
        return "-"
    if abs(value) >= 1000:
        return f"{value:,.0f}".replace(",", " ")
    if abs(value) >= 100 or value == int(value):
        return f"{value:.0f}"
    return f"{value:.3g}"


def ratio(ours: Series | float, theirs: Series | float) -> float:
    """ours / theirs, of medians; NaN where theirs is 0."""
    top = ours.median if isinstance(ours, Series) else ours
    bottom = theirs.median if isinstance(theirs, Series) else theirs
    return top / bottom if bottom else float("nan")


Figure = Series | float | str | None
"""None: not measured, or it makes no sense."""


@dataclass(frozen=True, slots=True)
class Row:
    """A line: a figure of each tool, and whether ours / theirs reaches the goal."""

    title: str
    ours: Figure
    theirs: Figure = None
    goal: float | None = None
    at_least: bool = False

    @classmethod
    def of(
        cls,
        title: str,
        figures: Iterable[Figure],
        goal: float | None = None,
        at_least: bool = False,
    ) -> Row:
        """``figures``: ours and theirs."""
        ours, theirs = figures
        return cls(title, ours, theirs, goal, at_least)

    @property
    def ratio(self) -> float | None:
        """ours / theirs; None where one of them is no number, or a cost below nothing: noise."""
        if isinstance(self.ours, (str, NoneType)) or isinstance(self.theirs, (str, NoneType)):
            return None
        found = ratio(self.ours, self.theirs)
        return found if found > 0 else None

    @property
    def holds(self) -> bool | None:
        if self.goal is None or self.ratio is None:
            return None
        return self.ratio >= self.goal if self.at_least else self.ratio <= self.goal

    def cells(self) -> list[str]:
        """Title, ours, theirs, ratio, goal."""
        compared = "" if self.ratio is None else f"{self.ratio:.3f}"[:5].rstrip(".")
        sign = "≥" if self.at_least else "≤"
        goal = (
            "" if self.holds is None else f"{sign} {self.goal:g}: {'yes' if self.holds else 'NO'}"
        )
        return [self.title, _shown(self.ours), _shown(self.theirs), compared, goal]


def _shown(figure: Figure) -> str:
    if figure is None:
        return ""
    return number(figure) if isinstance(figure, (int, float)) else str(figure)


def markdown(head: Sequence[str], rows: Iterable[Sequence[object]]) -> str:
    """A table whose columns line up in plain text too; the first column is text."""
    cells = [[str(cell) for cell in row] for row in (head, *rows)]
    widths = [max(len(row[i]) for row in cells) for i in range(len(head))]

    def line(row: Sequence[str]) -> str:
        padded = [
            cell.ljust(width) if i == 0 else cell.rjust(width)
            for i, (cell, width) in enumerate(zip(row, widths, strict=True))
        ]
        return f"| {' | '.join(padded)} |"

    rule = "|".join("-" * (w + 2) if i == 0 else "-" * (w + 1) + ":" for i, w in enumerate(widths))
    return "\n".join([line(cells[0]), f"|{rule}|", *map(line, cells[1:])])
