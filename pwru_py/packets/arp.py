# SPDX-License-Identifier: Apache-2.0
"""ARP requests that the kernel takes, and does not answer. Pure.

``arp_process()`` (net/ipv4/arp.c) sends its reply before it frees the request, which it does in the
same way whether it has answered or not (``arp_ignore``, ``arp_filter``).
"""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..facts.roles import CONSUMED_TRACEPOINT, QUEUED_TRACEPOINT
from ..record.event import Event

WATCHED = (CONSUMED_TRACEPOINT, QUEUED_TRACEPOINT)
"""The tracepoints whose events tell."""
_REQUEST, _REPLY = 1, 2
_ANSWERED_BY = "arp_process"
_REMEMBERED = 4096


class ArpWatch:
    """Requests in the namespace ``netns``, an inode number."""

    def __init__(self, netns: int) -> None:
        self._netns = netns
        self._replies: set[tuple[str, str]] = set()
        self._unanswered: dict[tuple[str, str], int] = {}

    def see(self, events: Iterable[Event]) -> None:
        """Takes events in their order."""
        for event in events:
            packet = event.tuple
            if packet is None or event.netns != self._netns:
                continue
            if packet.arp == _REPLY and event.func == QUEUED_TRACEPOINT:
                if len(self._replies) >= _REMEMBERED:
                    self._replies.clear()
                self._replies.add((packet.saddr, packet.daddr))
            elif packet.arp == _REQUEST and event.func == CONSUMED_TRACEPOINT:
                self._end(event, packet.daddr, packet.saddr)

    def _end(self, event: Event, asked: str, asks: str) -> None:
        if event.location is None or event.location.symbol != _ANSWERED_BY:
            return  # a copy, or on its way out
        if (asked, asks) in self._replies:
            self._replies.discard((asked, asks))
        else:
            kind = event.ifname, asked
            self._unanswered[kind] = self._unanswered.get(kind, 0) + 1

    def ignored(self, own: Collection[str]) -> dict[str, int]:
        """Interface to requests for an address of ``own``, those of the namespace."""
        found: dict[str, int] = {}
        for (ifname, asked), count in self._unanswered.items():
            if asked in own:
                found[ifname] = found.get(ifname, 0) + count
        return found
