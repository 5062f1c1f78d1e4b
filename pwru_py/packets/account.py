# SPDX-License-Identifier: Apache-2.0
"""Counting packets over a session; and drops, where functions alone tell of them. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..facts.roles import NO_REASON
from ..record.event import Event, Summary
from .identity import Identity


class Account:
    """Keeps ``summary`` up to date. ``drops``: whether events are what tells of drops."""

    def __init__(self, summary: Summary, identity: Identity, *, drops: bool) -> None:
        self._summary = summary
        self._identity = identity
        self._drops = drops
        self._dropped = 0  # the packet whose drop was counted last

    def add(self, events: Iterable[Event]) -> None:
        """Each packet is dropped once, whatever number of functions carry the reason."""
        summary = self._summary
        for event in events:
            summary.events += 1
            summary.packets = max(summary.packets, event.packet)  # they are numbered as they come
            if event.drop and self._drops and event.packet != self._dropped:
                self._count(event)
        summary.packets_limited |= self._identity.rough

    def _count(self, event: Event) -> None:
        drops, reason = self._summary.drops, event.reason_name or NO_REASON
        drops[reason] = drops.get(reason, 0) + 1
        self._dropped = event.packet
