# SPDX-License-Identifier: Apache-2.0
"""Counting packets and drops over a session, in bounded memory. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from .model import Event, Summary

_LIVE_MAX = 65536
# The last function that sees a packet: after it the address may be another packet's.
_FREED_BY = frozenset({"kfree_skbmem", "napi_skb_cache_put"})
NO_REASON = "no reason given by this kernel"


class Account:
    """Keeps ``summary`` up to date. A packet is an skb address from its first event to its end."""

    def __init__(self, summary: Summary) -> None:
        self._summary = summary
        self._dropped: OrderedDict[int, bool] = OrderedDict()

    def add(self, events: Iterable[Event]) -> None:
        """Counts a packet once and its drop once, whatever number of functions carry the reason."""
        live, summary = self._dropped, self._summary
        for event in events:
            summary.events += 1
            skb = event.skb
            if skb not in live:
                summary.packets += 1
                live[skb] = False
                if len(live) > _LIVE_MAX:
                    live.popitem(last=False)
                    summary.packets_limited = True
            if event.drop and not live[skb]:
                live[skb] = True
                reason = event.reason_name or NO_REASON
                summary.drops[reason] = summary.drops.get(reason, 0) + 1
            if event.func in _FREED_BY:
                del live[skb]
