# SPDX-License-Identifier: Apache-2.0
"""What turns CLOCK_MONOTONIC, in which the kernel stamps events, into the time of day."""

from __future__ import annotations

import time
from collections.abc import Callable

_TRIES = 8


class WallClock:
    """CLOCK_REALTIME less CLOCK_MONOTONIC, in nanoseconds.

    Both follow the same adjustments of their rate, so the difference changes only when the clock
    is set or the machine has slept. It is measured anew then, and kept until then.
    """

    def __init__(
        self,
        monotonic_ns: Callable[[], int] = time.monotonic_ns,
        wall_ns: Callable[[], int] = time.time_ns,
    ) -> None:
        self._monotonic_ns = monotonic_ns
        self._wall_ns = wall_ns
        self._measure()

    def offset_ns(self) -> int:
        """The difference as of now."""
        low, high = self._bracket()
        if not low - self._error_ns <= self._offset_ns <= high + self._error_ns:
            self._measure()
        return self._offset_ns

    def _measure(self) -> None:
        """The narrowest of several brackets: no interrupt has fallen into it."""
        brackets = [self._bracket() for _ in range(_TRIES)]
        low, high = min(brackets, key=lambda ends: ends[1] - ends[0])
        self._offset_ns = (low + high) // 2
        self._error_ns = (high - low + 1) // 2

    def _bracket(self) -> tuple[int, int]:
        """Bounds of the difference: the time of day, read between two of the other clock."""
        before = self._monotonic_ns()
        wall = self._wall_ns()
        return wall - self._monotonic_ns(), wall - before
