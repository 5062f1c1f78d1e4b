# SPDX-License-Identifier: Apache-2.0
"""Journeys that take the same way, counted, with the time that each part of it takes. Pure."""

from __future__ import annotations

from ..record.journey import Ended, Journey
from ..record.paths import Finish, Path, Stop

PATHS_MAX = 1024


class Paths:
    """Counts journeys by path: ``PATHS_MAX`` of them, the rest is ``others``."""

    def __init__(self) -> None:
        self._paths: dict[tuple[tuple[Stop, ...], Finish], Path] = {}
        self.packets = 0
        self.others = 0

    def add(self, journey: Journey) -> None:
        self.packets += 1
        end = journey.end
        stops = tuple(Stop(hop.netns, hop.ifname, hop.way) for hop in journey.hops)
        finish = Finish(
            end.how, end.netns, _kind(end.how, end.by), end.reason, end.sure, end.verdict
        )
        path = self._paths.get((stops, finish))
        if path is None:
            if len(self._paths) >= PATHS_MAX:
                self.others += 1
                return
            path = self._paths[stops, finish] = Path(stops, finish)
        path.add(journey)

    def busiest(self) -> list[Path]:
        """All of them, the one that most packets took first."""
        return sorted(self._paths.values(), key=lambda path: -path.packets)


def _kind(how: Ended, by: str) -> str:
    """Without a process's number, or an offset in a function."""
    if how is Ended.READ:
        return by.rpartition(":")[0]
    return by.partition("+0x")[0] if how is Ended.DROPPED else by
