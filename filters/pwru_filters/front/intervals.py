# SPDX-License-Identifier: Apache-2.0
"""Sets of numbers, as intervals."""

from __future__ import annotations

from collections.abc import Iterable

Interval = tuple[int, int]
"""First and last."""


def union(intervals: Iterable[Interval]) -> tuple[Interval, ...]:
    """The same numbers in as few intervals as possible, sorted."""
    found: list[Interval] = []
    for low, high in sorted(intervals):
        if found and low <= found[-1][1] + 1:
            found[-1] = (found[-1][0], max(found[-1][1], high))
        else:
            found.append((low, high))
    return tuple(found)
