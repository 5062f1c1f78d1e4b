# SPDX-License-Identifier: Apache-2.0
"""Counting packets and drops over a session, in bounded memory. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from ..facts.roles import FREES_MEMORY
from ..record.event import Event, Summary

LIVE_MAX = 65536
NO_REASON = "no reason given by this kernel"


class Account:
    """Keeps ``summary`` up to date. A packet is an skb address from its first event to its end."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        # Packets under way: skb address to the functions that gave a drop reason for it.
        self._live: OrderedDict[int, tuple[str, ...]] = OrderedDict()

    @property
    def under_way(self) -> Iterable[int]:
        """The addresses of packets seen, as far as is known not yet freed."""
        return self._live.keys()

    def add(self, events: Iterable[Event]) -> None:
        """Counts a packet once and its drop once, whatever number of functions carry the reason."""
        live, summary = self._live, self._summary
        for event in events:
            summary.events += 1
            skb = event.skb
            if skb not in live:
                self._begin(skb)
            if event.drop:
                self._drop(event)
            if event.func in FREES_MEMORY:
                del live[skb]

    def _begin(self, skb: int) -> None:
        live, summary = self._live, self._summary
        summary.packets += 1
        live[skb] = ()
        if len(live) > LIVE_MAX:
            live.popitem(last=False)
            summary.packets_limited = True

    def _drop(self, event: Event) -> None:
        skb, drops = event.skb, self._summary.drops
        if event.func in self._live[skb]:  # nothing drops a packet twice: this is another one
            del self._live[skb]
            self._begin(skb)
        if not self._live[skb]:
            reason = event.reason_name or NO_REASON
            drops[reason] = drops.get(reason, 0) + 1
        self._live[skb] += (event.func,)
