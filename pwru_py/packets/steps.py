# SPDX-License-Identifier: Apache-2.0
"""A clock that is set must not reorder a packet's events. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..facts.roles import FREES_MEMORY
from ..record.event import Event

_HOLD_NS = 10_000_000_000


class ClockSteps:
    """The time of day of events: a packet keeps the clock that it began under.

    That holds for ten seconds from the step on, which few packets outlive: an address used again
    after that is another packet's.
    """

    def __init__(self) -> None:
        self._offset_ns: int | None = None
        self._until_ns = 0
        self._begun: dict[int, int] = {}  # skb address to the offset of its packet

    def settle(self, events: list[Event], offset_ns: int, under_way: Iterable[int]) -> list[Event]:
        """``events``, decoded with ``offset_ns``; ``under_way``: packets seen before them."""
        if self._offset_ns not in (None, offset_ns) and events:
            assert self._offset_ns is not None
            for skb in under_way:
                self._begun.setdefault(skb, self._offset_ns)
            self._until_ns = events[0].ts_ns + _HOLD_NS
        if events:
            self._offset_ns = offset_ns
        return [self._settled(event) for event in events] if self._begun else events

    def _settled(self, event: Event) -> Event:
        offset_ns = self._begun.get(event.skb)
        if event.ts_ns > self._until_ns:
            self._begun.clear()
            return event
        if event.func in FREES_MEMORY:
            self._begun.pop(event.skb, None)
        if offset_ns is None:
            return event
        return event._replace(wall_ns=event.ts_ns + offset_ns)
