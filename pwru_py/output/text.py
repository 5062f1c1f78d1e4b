# SPDX-License-Identifier: Apache-2.0
"""Plain text for pipes and files: fixed widths, nothing cut, made for speed."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Sequence
from itertools import groupby
from operator import attrgetter, itemgetter
from typing import TYPE_CHECKING, Any, TextIO

from ..record.event import Event, Losses, Summary
from .beneath import beneath_names, rule_lines, stack_lines, structure_lines
from .fields import Column, View, columns
from .formats import Format, pad
from .stamp import Stamp
from .summary import LossWatch, loss_notice

if TYPE_CHECKING:
    from datetime import tzinfo

# How many texts are kept for use again. A full cache is emptied: what is in use returns at once.
CACHE_ENTRIES = 4096
STACK_ENTRIES = 512


class TextSink:
    """Aligned columns, one event a line; beneath it lines of their own, see ``beneath``."""

    def __init__(
        self,
        stream: TextIO,
        view: View,
        *,
        notices: TextIO | None = None,
        clock: Callable[[], float] = time.monotonic,
        tz: tzinfo | None = None,
    ) -> None:
        self._stream = stream
        self._notices = notices
        self._columns = columns(view, Stamp(view.timestamp, tz=tz))
        self._row = row_format(self._columns, beneath_names(view))
        self._watch = LossWatch(clock)

    def start(self) -> None:
        titles = [column.title for column in self._columns]
        self._stream.write(_join(titles, self._columns) + "\n")
        self._stream.flush()

    def events(self, batch: Sequence[Event]) -> None:
        self._stream.write("".join(map(self._row, batch)))
        self._stream.flush()

    def losses(self, losses: Losses) -> None:
        if self._notices is not None and self._watch.lost_more(losses):
            self._notices.write(loss_notice(losses) + "\n")
            self._notices.flush()

    def progress(self, done: int, total: int) -> None:
        """Nothing: a pipe has no line to redraw."""

    def finish(self, summary: Summary) -> None:
        self._stream.flush()


def row_format(shown: Sequence[Column], beneath: Sequence[str]) -> Format:
    """A function Event → its whole line or lines, built once for the chosen columns.

    ``beneath``: the fields that have lines of their own.

    Columns that change together are laid out together, and their text is kept: a packet passes
    through sixty functions, and most events repeat all but the function's name.
    """
    pieces = [_piece(list(group)) for _, group in groupby(shown, attrgetter("group"))]
    pieces.append(
        keep(itemgetter(*map(Event._fields.index, beneath)), _tail, STACK_ENTRIES)
        if beneath
        else lambda event: "\n"
    )
    if len(pieces) == 4:
        first, second, third, last = pieces
        return lambda e: first(e) + second(e) + third(e) + last(e)
    return lambda event: "".join([piece(event) for piece in pieces])


def _piece(group: list[Column]) -> Format:
    def write(event: Event) -> str:
        return _join([column.format(event) for column in group], group, last=last)

    last = group[-1].key == "func"
    names = [name for column in group for name in column.reads]
    if not names:
        return _plain(group[0]) if len(group) == 1 and not last else write
    return keep(itemgetter(*map(Event._fields.index, names)), write, CACHE_ENTRIES)


def _plain(column: Column) -> Format:
    """A column whose text never repeats, and is ASCII: padded without a look at its width."""
    width, text = column.ideal, column.format
    return lambda event: text(event).ljust(width) + " "


def keep(key: Callable[[Event], Any], write: Format, entries: int) -> Format:
    """``write``, asked once for each key."""
    kept: dict[Any, str] = {}
    get = kept.get

    def piece(event: Event) -> str:
        wanted = key(event)
        text = get(wanted)
        if text is None:
            if len(kept) >= entries:
                kept.clear()
            text = kept[wanted] = write(event)
        return text

    return piece


def _join(cells: Iterable[str], shown: Sequence[Column], *, last: bool = True) -> str:
    padded = [pad(cell, column.ideal) for cell, column in zip(cells, shown, strict=True)]
    text = " ".join(padded)
    return text.rstrip(" ") if last else text + " "


def _tail(event: Event) -> str:
    lines = (*rule_lines(event), *stack_lines(event), *structure_lines(event))
    return "\n" + "".join([f"{line}\n" for line in lines])
