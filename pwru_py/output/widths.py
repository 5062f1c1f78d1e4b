# SPDX-License-Identifier: Apache-2.0
"""Which columns fit a terminal, and how one row is laid into them. Pure text, no colours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from .fields import Column
from .formats import Format, cell_width, pad

TUPLE_MIN = 16
TUPLE_MAX = 52  # two IPv4 addresses with ports, whatever their digits
_INDENT = "    "


@dataclass(frozen=True, slots=True)
class Slot:
    """One column at its place: where it starts and how wide it is, in cells."""

    column: Column
    start: int
    width: int

    @property
    def format(self) -> Format:
        """The column's text at this width."""
        short = self.column.short
        return short if short and self.width < self.column.ideal else self.column.format


@dataclass(frozen=True, slots=True)
class Layout:
    """The slots of a terminal ``width`` cells wide, FUNC last, and the titles left out."""

    width: int
    slots: tuple[Slot, ...]
    hidden: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A fitted row: what comes before the function, and the function with its reason.

    ``before`` ends in a newline and an indent when even that was needed.
    """

    before: str
    func: str


def choose(columns: Sequence[Column], width: int) -> Layout:
    """Take columns from the highest priority down as long as they fit; then widen them.

    The first that does not fit ends the choice, so a wider terminal only ever adds columns.
    """
    by_priority = sorted(columns, key=lambda column: -column.priority)
    widths: dict[str, int] = {}
    left = width + 1
    for column in by_priority:
        left -= column.min + 1
        if widths and left < 0:
            left += column.min + 1
            break
        widths[column.key] = column.min
    for column in by_priority:
        wanted = column.ideal - column.min
        if column.key not in widths or (column.short and wanted > left):
            continue
        more = max(0, min(wanted, left))
        widths[column.key] += more
        left -= more
    if "tuple" in widths:
        widths["tuple"] = max(widths["tuple"], min(TUPLE_MAX, widths["tuple"] + left))
    return _place(columns, widths, width)


def _place(columns: Sequence[Column], widths: dict[str, int], width: int) -> Layout:
    slots, start = [], 0
    for column in columns:
        if column.key in widths:
            slots.append(Slot(column, start, widths[column.key]))
            start += widths[column.key] + 1
    hidden = tuple(column.title for column in columns if column.key not in widths)
    return Layout(width, tuple(slots), hidden)


def fit(layout: Layout, cells: Sequence[str]) -> Row:
    """Lay one row. The function is never cut: the tuple gives way, then a second line is used.

    A cell that is too long pushes the next ones, which return to their places where they can.
    """
    *_, func = cells
    before = _lay(layout, cells)
    excess = cell_width(before) + cell_width(func) - layout.width
    if excess <= 0:
        return Row(before, func)
    narrow = before.rstrip(" ") + " "
    if len(before) - len(narrow) >= excess:
        return Row(before[: len(before) - excess], func)
    for at, slot in enumerate(layout.slots):
        if slot.column.key == "tuple":
            squeezed = list(cells)
            over = cell_width(narrow) + cell_width(func) - layout.width
            squeezed[at] = shorten(cells[at], max(TUPLE_MIN, cell_width(cells[at]) - over))
            narrow = _lay(layout, squeezed).rstrip(" ") + " "
    if cell_width(narrow) + cell_width(func) <= layout.width:
        return Row(narrow, func)
    return Row(cut(before.rstrip(" "), layout.width) + "\n" + _INDENT, func)


def _lay(layout: Layout, cells: Sequence[str]) -> str:
    """The cells before the function, padded up to where it starts."""
    text = ""
    for slot, cell in zip(layout.slots, cells, strict=True):
        if text:
            text = pad(text + " ", slot.start)
        if slot.column.key != "func":
            text += cell
    return text


def shorten(text: str, width: int) -> str:
    """A tuple within ``width`` cells: the source gives way first, then both sides."""
    if cell_width(text) <= width:
        return text
    source, arrow, destination = text.partition("->")
    room = width - len(arrow) - len(destination)
    if arrow and room >= 4:
        return cut(source, room) + arrow + destination
    room = width - len(arrow)
    return cut(source, room // 2) + arrow + cut(destination, room - room // 2)


def cut(text: str, width: int) -> str:
    """``text`` within ``width`` cells, an ellipsis in place of its end."""
    if cell_width(text) <= width:
        return text
    kept = text[: max(0, width - 1)]
    while cell_width(kept) > width - 1 and kept:
        kept = kept[:-1]
    return kept + "…"


def wrap(line: str, width: int, indent: str) -> str:
    """``line`` in lines of ``width`` cells, as far as its words allow; each but the first indented.

    What stands before its first word stays.
    """
    if cell_width(line) <= width:
        return line
    text = line.lstrip(" ")
    words = text.split(" ")
    lines = [line[: len(line) - len(text)] + words[0]]
    for word in words[1:]:
        longer = f"{lines[-1]} {word}"
        if cell_width(longer) <= width:
            lines[-1] = longer
        else:
            lines.append(indent + word)
    return "\n".join(each.rstrip(" ") for each in lines)
