# SPDX-License-Identifier: Apache-2.0
"""Drops of each kind from report to report: how many, how fast, when last. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import NamedTuple

from ..facts.roles import NO_REASON
from ..record.event import Dropped, DropRow


class _Kind(NamedTuple):
    reason: str
    function: str
    netns: int
    ifname: str


class Tally:
    """``now_ns``: nanoseconds since the epoch."""

    def __init__(self, now_ns: int) -> None:
        self._at_ns = now_ns
        self._before: dict[_Kind, int] = {}
        self._last_ns: dict[_Kind, int] = {}

    def report(self, dropped: Iterable[Dropped], now_ns: int) -> list[DropRow]:
        """All kinds, the most frequent first."""
        counts: dict[_Kind, int] = {}
        for one in dropped:
            kind = _Kind(one.reason or NO_REASON, one.location.symbol, one.netns, one.ifname)
            counts[kind] = counts.get(kind, 0) + one.packets
        seconds = max(now_ns - self._at_ns, 1) / 1e9
        total = sum(counts.values())
        rows = []
        for kind, packets in counts.items():
            more = packets - self._before.get(kind, 0)
            if more:
                self._last_ns[kind] = now_ns
            last_ns = self._last_ns.get(kind, 0)
            rows.append(DropRow(*kind, packets, more / seconds, packets / total, last_ns))
        self._at_ns, self._before = now_ns, counts
        return sorted(rows, key=lambda row: (-row.packets, row))
