# SPDX-License-Identifier: Apache-2.0
"""What a saved trace says of its session, and what is counted of what is shown."""

from __future__ import annotations

from dataclasses import replace

from ..facts.roles import NO_REASON
from ..record.event import Event, Losses, Summary


class Account:
    """The summary: the trace's own where all is shown, else of what is shown."""

    def __init__(self, *, all: bool) -> None:
        self._all = all
        self._found: list[Summary] = []
        self._counted = Summary()
        self._packets: set[int] = set()
        self._dropped: set[int] = set()
        self._losing = False
        self.losses = Losses(recursion=0, recursion_whole=False)  # until a line tells

    @property
    def whole(self) -> bool:
        """Whether the trace has its end."""
        return bool(self._found)

    @property
    def losing(self) -> bool:
        """Whether a line has told of losses, and the summary not yet."""
        return self._losing and not self._found

    def lost(self, losses: Losses) -> None:
        self.losses, self._losing = losses, True

    def found(self, summary: Summary) -> None:
        self._found.append(summary)
        self.losses = summary.losses

    def add(self, event: Event) -> None:
        self._counted.events += 1
        if event.packet:  # none at XDP
            self._packets.add(event.packet)
        if event.drop and event.packet not in self._dropped:
            self._dropped.add(event.packet)
            name = event.reason_name or NO_REASON
            where = event.location.symbol if event.location is not None else ""
            place = f"{name} at {where}" if where else name
            for counts, key in ((self._counted.drops, name), (self._counted.drop_places, place)):
                counts[key] = counts.get(key, 0) + 1

    @property
    def summary(self) -> Summary:
        if self._all and len(self._found) == 1:
            return self._found[0]
        last = self._found[-1] if self._found else Summary()
        self._counted.packets = len(self._packets)
        return replace(
            self._counted, losses=self.losses, attached=last.attached, failed=last.failed
        )
