# SPDX-License-Identifier: Apache-2.0
"""Drops of each kind from report to report: how many, how fast, when last. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from ..facts.roles import NO_REASON
from ..record.event import Dropped, DropRow, FlowRow, Tuple


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
        self._flows_before: dict[_Kind, dict[Tuple | None, int]] = {}
        self._last_ns: dict[_Kind, int] = {}

    def report(self, dropped: Iterable[Dropped], now_ns: int) -> list[DropRow]:
        """All kinds, the most frequent first."""
        counts: dict[_Kind, int] = {}
        flows: dict[_Kind, dict[Tuple | None, int]] = {}
        for one in dropped:
            kind = _Kind(one.reason or NO_REASON, one.location.symbol, one.netns, one.ifname)
            counts[kind] = counts.get(kind, 0) + one.packets
            own = flows.setdefault(kind, {})
            for flow in one.flows:
                own[flow.tuple] = own.get(flow.tuple, 0) + flow.packets
        seconds = max(now_ns - self._at_ns, 1) / 1e9
        total = sum(counts.values())
        rows = []
        for kind, packets in counts.items():
            more = packets - self._before.get(kind, 0)
            if more:
                self._last_ns[kind] = now_ns
            last_ns = self._last_ns.get(kind, 0)
            known = self._flows(flows[kind], self._flows_before.get(kind, {}), seconds)
            rows.append(DropRow(*kind, packets, more / seconds, packets / total, last_ns, known))
        self._at_ns, self._before, self._flows_before = now_ns, counts, flows
        return sorted(rows, key=lambda row: (-row.packets, row[:4]))

    @staticmethod
    def _flows(
        counts: Mapping[Tuple | None, int], before: Mapping[Tuple | None, int], seconds: float
    ) -> tuple[FlowRow, ...]:
        """One that gave way, and came again, has begun anew: then all of it is more."""
        rows = []
        for flow, packets in sorted(counts.items(), key=lambda item: (-item[1], str(item[0]))):
            earlier = before.get(flow, 0)
            more = packets - earlier if packets >= earlier else packets
            rows.append(FlowRow(flow, packets, more / seconds))
        return tuple(rows)
