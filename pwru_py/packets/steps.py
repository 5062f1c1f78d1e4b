# SPDX-License-Identifier: Apache-2.0
"""A clock that is set must not reorder a packet's events. Pure."""

from __future__ import annotations

from ..record.event import Event

_HOLD_NS = 10_000_000_000


class ClockSteps:
    """The time of day of events: a packet keeps the clock that it began under.

    That holds for ten seconds from the step on, which few packets outlive.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._last = 0  # the youngest packet seen
        self._steps: list[tuple[int, int]] = []  # youngest packet before, offset until then
        self._until_ns = 0

    def settle(self, events: list[Event], offset_ns: int) -> list[Event]:
        """``events``, decoded with ``offset_ns``."""
        if not events:
            return events
        if self._offset_ns not in (None, offset_ns):
            assert self._offset_ns is not None
            self._steps.append((self._last, self._offset_ns))
            self._until_ns = events[0].ts_ns + _HOLD_NS
        self._offset_ns = offset_ns
        if self._steps and events[0].ts_ns > self._until_ns:
            self._steps.clear()
        settled = [self._settled(event) for event in events] if self._steps else events
        self._last = max(self._last, max(event.packet for event in events))
        return settled

    def _settled(self, event: Event) -> Event:
        for youngest, offset_ns in self._steps:
            if 0 < event.packet <= youngest:
                return event._replace(wall_ns=event.ts_ns + offset_ns)
        return event
