# SPDX-License-Identifier: Apache-2.0
"""The values of a path: hops and end that several journeys share, and how long each part takes."""

from __future__ import annotations

import math
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from .event import Verdict
from .journey import Ended, Journey, Way

_GROWTH = 1.02  # of a bucket over the one before: quantiles are right to one per cent
_LOG = math.log(_GROWTH)


class Times:
    """Durations in nanoseconds: exact minimum and maximum, quantiles to one per cent.

    Buckets grow by two per cent each, as in DDSketch (Masson, Rim, Lee: VLDB 2019), so memory
    grows with the logarithm of the range.
    """

    __slots__ = ("_buckets", "count", "maximum", "minimum")

    def __init__(self) -> None:
        self._buckets: dict[int, int] = {}
        self.count = 0
        self.minimum = 0
        self.maximum = 0

    def add(self, ns: int) -> None:
        ns = max(0, ns)
        self.minimum = min(self.minimum, ns) if self.count else ns
        self.maximum = max(self.maximum, ns)
        self.count += 1
        bucket = math.ceil(math.log(ns) / _LOG) if ns > 1 else 0
        self._buckets[bucket] = self._buckets.get(bucket, 0) + 1

    def quantile(self, share: float) -> int:
        """So many of them, from 0 to 1, took no longer; 0 without any."""
        left = math.ceil(share * self.count)
        for bucket in sorted(self._buckets):
            left -= self._buckets[bucket]
            if left <= 0:
                middle = 2 * _GROWTH**bucket / (1 + _GROWTH)
                return min(self.maximum, max(self.minimum, round(middle)))
        return self.maximum


class Stop(NamedTuple):
    """A hop of a path: namespace, interface, in or out."""

    netns: int
    ifname: str
    way: Way


class Finish(NamedTuple):
    """How journeys on a path end; ``by`` without what differs from packet to packet."""

    how: Ended
    netns: int
    by: str
    reason: str
    sure: bool
    verdict: Verdict | None = None


class Path:
    """Journeys with the same hops and the same end.

    ``times``: for each hop behind the first, and for the end, how long it took from the hop before;
    ``whole``: from the first sight to the end.
    """

    def __init__(self, stops: tuple[Stop, ...], finish: Finish) -> None:
        self.stops = stops
        self.finish = finish
        self.packets = 0
        self.times = tuple(Times() for _ in stops)
        self.whole = Times()

    @property
    def forwarded(self) -> bool:
        """As of a journey."""
        return self.finish.how is Ended.LEFT and bool(self.stops) and self.stops[0].way is Way.IN

    def add(self, journey: Journey) -> None:
        self.packets += 1
        moments = [hop.ts_ns for hop in journey.hops[1:]] + [journey.end.ts_ns]
        before = journey.begin_ns
        for times, moment in zip(self.times, moments, strict=False):
            times.add(moment - before)
            before = moment
        self.whole.add(journey.end.ts_ns - journey.begin_ns)


class Edge(NamedTuple):
    """From one hop to the next: how many packets, and how many of them were dropped behind it,
    before they came to another."""

    packets: int
    dropped: int


def edges(paths: Iterable[Path]) -> dict[tuple[Stop, Stop], Edge]:
    """What went from hop to hop, on all paths together; a packet that does so twice counts once."""
    found: dict[tuple[Stop, Stop], Edge] = {}
    for path in paths:
        crossed = [*pairwise(path.stops)]
        for edge in dict.fromkeys(crossed):
            packets, dropped = found.get(edge, (0, 0))
            found[edge] = Edge(packets + path.packets, dropped)
        if crossed and path.finish.how is Ended.DROPPED:
            packets, dropped = found[crossed[-1]]
            found[crossed[-1]] = Edge(packets, dropped + path.packets)
    return found
