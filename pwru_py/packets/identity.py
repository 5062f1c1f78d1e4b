# SPDX-License-Identifier: Apache-2.0
"""Which packet an event belongs to, and where that packet was last. Pure.

An sk_buff's address tells until it is freed; then it may be another packet's. A packet has a number
of its own, from 1 up in the order of first sight.
"""

from __future__ import annotations

from typing import NamedTuple

from ..facts.roles import FREE_PATH, FREES_LAST, FREES_MEMORY

LIVE_MAX = 65536


class Life(NamedTuple):
    """A packet under way: its number (0: not seen yet), its parent's (None: not known), its last
    namespace."""

    packet: int
    parent: int | None
    netns: int


class Identity:
    """Numbers packets. At most ``limit`` are under way at once: the oldest gives way.

    A packet begins when an address is seen first, or when the kernel tells that it was made of
    another one (``link``). It ends behind the function that frees its memory. Some are freed where
    no function is traced: of a packet that was dropped, or freed for good, the next event is
    another packet's, unless it is one of those that see a packet while it is being freed.
    """

    def __init__(self, limit: int = LIVE_MAX) -> None:
        self._limit = limit
        self._live: dict[int, Life] = {}
        self._ending: dict[int, set[str]] = {}  # address to what freed it, so far
        self._count = 0
        self.crowded = False
        """Whether there were ever more than ``limit`` under way."""

    def see(self, skb: int, func: str, netns: int, *, device: bool, last: bool) -> Life:
        """The packet of an event.

        ``netns``: as the record has it, 0 unknown; ``device``: a device says so. ``last``: it is
        dropped here. The namespace of the answer is that of the packet's last device, where the
        record has none: a socket may be that of the sender, in another namespace.
        """
        live = self._live
        if self._ending and skb in self._ending:
            self._go_on(skb, func)
        life = live.get(skb)
        if life is None or not life.packet:
            life = self._begin(skb, life.parent if life is not None else None)
        if device:
            if netns != life.netns:
                life = live[skb] = life._replace(netns=netns)
        elif life.netns != netns:
            life = life._replace(netns=life.netns or netns)
        if func in FREES_MEMORY:
            self._end(skb)
        elif last or func in FREES_LAST:
            self._ending.setdefault(skb, set()).add(func)
        return life

    def link(self, child: int, parent: int) -> None:
        """The sk_buff at ``child`` is made of the packet at ``parent``, or has taken it in."""
        self._end(child)
        known = self._live.get(parent)
        self._keep(child, Life(0, (known.packet or known.parent) if known is not None else None, 0))

    def _go_on(self, skb: int, func: str) -> None:
        """Another event at the address of a packet that is being freed."""
        freed_by = self._ending[skb]
        if func not in FREE_PATH or func in freed_by:  # nothing frees a packet twice
            self._end(skb)
        else:
            freed_by.add(func)

    def _begin(self, skb: int, parent: int | None) -> Life:
        self._count += 1
        return self._keep(skb, Life(self._count, parent, 0))

    def _keep(self, skb: int, life: Life) -> Life:
        self._live[skb] = life
        if len(self._live) > self._limit:
            self._end(next(iter(self._live)))
            self.crowded = True
        return life

    def _end(self, skb: int) -> None:
        self._live.pop(skb, None)
        self._ending.pop(skb, None)
