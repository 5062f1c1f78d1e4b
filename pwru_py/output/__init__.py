# SPDX-License-Identifier: Apache-2.0
"""Where events go: a table on a terminal, plain text, JSON Lines.

The caller gives a sink its stream and its clock. A sink lets ``OSError`` from writing (broken pipe,
disk full) pass to the caller. Importing this package does not import rich.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Protocol, TextIO

from ..escape import escape
from ..record.event import Event, Losses, Summary
from .fields import View

if TYPE_CHECKING:
    from datetime import tzinfo

__all__ = ["Sink", "View", "escape", "json_sink", "table_sink", "text_sink"]


class Sink(Protocol):
    """One output of a session. Calls come from one thread, ``start`` first, ``finish`` last."""

    def start(self) -> None:
        """Write what comes before the first event (a header)."""

    def events(self, batch: Sequence[Event]) -> None:
        """Write a batch, in order, and flush it. ``OSError`` propagates."""

    def losses(self, losses: Losses) -> None:
        """Take the kernel's counts so far; say so when they rose."""

    def progress(self, done: int, total: int) -> None:
        """Probes attached so far; ``done >= total`` ends the display."""

    def finish(self, summary: Summary) -> None:
        """Write what comes after the last event."""


def text_sink(
    stream: TextIO,
    view: View,
    *,
    notices: TextIO | None = None,
    clock: Callable[[], float] = time.monotonic,
    tz: tzinfo | None = None,
) -> Sink:
    """Aligned plain text; loss notices go to ``notices``, nowhere when None."""
    from .text import TextSink

    return TextSink(stream, view, notices=notices, clock=clock, tz=tz)


def json_sink(
    stream: TextIO,
    view: View,
    *,
    clock: Callable[[], float] = time.monotonic,
    tz: tzinfo | None = None,
) -> Sink:
    """One JSON object a line, as ``schema.json`` in this package describes."""
    from .jsonl import JsonSink

    return JsonSink(stream, view, clock=clock, tz=tz)


def table_sink(
    stream: TextIO,
    view: View,
    *,
    clock: Callable[[], float] = time.monotonic,
    tz: tzinfo | None = None,
) -> Sink:
    """A coloured table that streams, for a terminal. Imports rich."""
    from .table import TableSink, terminal_console

    return TableSink(terminal_console(stream), view, clock=clock, tz=tz)
