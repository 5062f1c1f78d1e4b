# SPDX-License-Identifier: Apache-2.0
"""``--drops --top``: drops counted in the kernel, read every few seconds, and the keys."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import time
import tty
from collections.abc import Callable, Iterator, Sequence
from itertools import cycle
from typing import TYPE_CHECKING, Protocol, TextIO

from .output.prometheus import DropExporter
from .output.top import FLOWS_CHOICES, ORDERS, DropReports, DropTable, Look
from .packets.tally import Tally

if TYPE_CHECKING:
    from .options.flags import Options
    from .record.event import DropRow
    from .session import Tracer

_KEYS_S = 0.1
_IDLE_S = 1.0


@contextlib.contextmanager
def _keys() -> Iterator[Callable[[], str]]:
    """What was typed since the last question; nothing where standard input is no terminal."""
    try:
        fd = sys.stdin.fileno()
        before = termios.tcgetattr(fd)
    except (AttributeError, OSError, ValueError, termios.error):
        yield lambda: ""
        return

    def typed() -> str:
        ready, _, _ = select.select([fd], [], [], 0)
        return os.read(fd, 64).decode("ascii", "ignore") if ready else ""

    tty.setcbreak(fd)
    try:
        yield typed
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, before)


class View(Protocol):
    """Where reports go."""

    def show(self, rows: Sequence[DropRow], now_ns: int, look: Look) -> None:
        """Shows one. Raises what the output raises."""

    def close(self) -> None:
        """Leaves nothing behind."""


def _view(tracer: Tracer, options: Options, stream: TextIO, live: bool) -> View:
    if options.prometheus:
        return DropExporter(*options.prometheus, lambda: tracer.losses().recursion or 0)
    return DropTable(stream) if live else DropReports(stream, as_json=options.output_json)


def show_top(
    tracer: Tracer, options: Options, stream: TextIO, attached: Callable[[], None]
) -> None:
    """Reports until a signal, the key q, or ``report_count``; what came since the last one then has
    one of its own. ``attached``: called once it counts.

    Raises what the output raises.
    """
    live = not (options.report_count or options.output_json or options.prometheus)
    live = live and stream.isatty()
    view = _view(tracer, options, stream, live)
    orders, flows, shown = cycle(ORDERS), cycle(FLOWS_CHOICES), 0
    look = Look(next(orders), False, next(flows))
    tally = Tally(time.time_ns())
    due_s = time.monotonic() + (0 if live else options.report_interval_s)
    rows, now_ns = tally.report((), time.time_ns()), time.time_ns()
    try:
        with _keys() if live else contextlib.nullcontext(str) as typed:
            idle_s = _KEYS_S if live else min(options.report_interval_s, _IDLE_S)
            for number, _batch in enumerate(tracer.batches(idle_s)):
                if not number:
                    attached()
                keys = typed()
                if "q" in keys:
                    tracer.stop()
                for key in keys:
                    if key == "s":
                        look = look._replace(order=next(orders))
                    elif key == "f":
                        look = look._replace(flows=next(flows))
                    elif key == "p":
                        look = look._replace(paused=not look.paused)
                if time.monotonic() >= due_s and not look.paused:
                    due_s = max(due_s + options.report_interval_s, time.monotonic())
                    now_ns = time.time_ns()
                    rows = tally.report(tracer.dropped(), now_ns)
                    shown += 1
                elif not keys:
                    continue
                view.show(rows, now_ns, look)
                if 0 < options.report_count == shown:
                    tracer.stop()
            if not (live or options.report_count or options.prometheus):
                told, now_ns = _packets(rows), time.time_ns()
                rows = tally.report(tracer.dropped(), now_ns)
                if _packets(rows) > told:
                    view.show(rows, now_ns, look)
    finally:
        view.close()


def _packets(rows: Sequence[DropRow]) -> int:
    return sum(row.packets for row in rows)
