# SPDX-License-Identifier: Apache-2.0
"""Counting packets and drops over a session. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from ..facts.roles import ECHO_REPLIES
from ..record.event import Event, Summary
from .identity import Identity

NO_REASON = "no reason given by this kernel"


class Account:
    """Keeps ``summary`` up to date."""

    def __init__(self, summary: Summary, identity: Identity) -> None:
        self._summary = summary
        self._identity = identity
        self._dropped = 0  # the packet whose drop was counted last

    def add(self, events: Iterable[Event], shown: int) -> None:
        """``shown``: how many of them the user sees. Each packet is dropped once, whatever number
        of functions carry the reason."""
        summary = self._summary
        summary.events += shown
        for event in events:
            summary.packets = max(summary.packets, event.packet)  # they are numbered as they come
            if event.drop:
                if event.packet != self._dropped:
                    self._count(event)
            elif event.location is not None:
                summary.pieces += 1
        summary.packets_limited |= self._identity.crowded

    def _count(self, event: Event) -> None:
        drops, reason = self._summary.drops, event.reason_name or NO_REASON
        drops[reason] = drops.get(reason, 0) + 1
        if event.location is not None and event.location.symbol in ECHO_REPLIES:
            self._summary.replies += reason == "NO_SOCKET"
        self._dropped = event.packet
