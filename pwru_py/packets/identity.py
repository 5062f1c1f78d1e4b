# SPDX-License-Identifier: Apache-2.0
"""Which packet an event belongs to, and where that packet was last. Pure.

An sk_buff's address tells until it is freed; then it may be another packet's. A packet has a number
of its own, from 1 up in the order of first sight.
"""

from __future__ import annotations

from typing import NamedTuple

from ..facts.roles import (
    CONSUMED_TRACEPOINT,
    ENTRIES,
    FREE_PATH,
    FREES_LAST,
    FREES_MEMORY,
    QUEUED_TRACEPOINT,
    RELEASES,
    TAKES,
)
from ..facts.tables import TABLE_FUNCTIONS

LIVE_MAX = 65536
_TAKEN, _SEALED = (0, -1), (0, -2)  # by a socket, or for IPsec; in place of a device


class Life(NamedTuple):
    """A packet under way: its number (0: not seen yet), its parent's (None: not known), its last
    namespace."""

    packet: int
    parent: int | None
    netns: int


_NOBODY = Life(0, None, 0)


class Identity:
    """Numbers packets. At most ``limit`` are under way at once: the oldest gives way.

    A packet begins when an address is seen first, or when the kernel tells that it was made of
    another one (``link``). It ends behind the function that frees its memory. Some are freed where
    no function is traced: of a packet that was dropped, or freed for good, the next event is
    another packet's, unless it is one of those that see a packet while it is being freed.

    ``ends``: whether any function or tracepoint tells of that. Where none does, a packet at an
    address used again counts as the same one, and its socket, not the last one's device, says in
    which namespace it is.

    Tracepoints alone do not see every end: TCP frees what it has taken in, and GRO what it has
    joined, without one. There the way tells (``_is_new``): a packet that is sent and has come by no
    device is not the one that had been received at that address.
    """

    def __init__(self, limit: int = LIVE_MAX, *, ends: bool = True) -> None:
        self._limit = limit
        self._ends = ends
        self._live: dict[int, Life] = {}
        self._ending: dict[int, set[str]] = {}  # address to what freed it, so far
        self._came: dict[int, tuple[int, int]] = {}  # address to the device that received it last
        self._count = 0
        self.rough = False
        """Whether there were ever more than ``limit`` under way, or one ended where none saw it."""

    def see(
        self,
        skb: int,
        func: str,
        netns: int,
        *,
        device: int,
        last: bool,
        local: bool | None = None,
        sealed: bool = False,
    ) -> Life:
        """The packet of an event.

        ``netns``: as the record has it, 0 unknown; ``device``: the index of the device that says
        so, 0 when none does. ``last``: it is dropped here. ``local``: of a tracepoint, whether no
        device has received the packet; None of a function. ``sealed``: IPsec has it in its hands,
        and what is in it comes by the same device. The namespace of the answer is that of
        the packet's last device, where the record has none: a socket may be that of the sender, in
        another namespace, but for one that takes the packet.
        """
        live = self._live
        if self._ending and skb in self._ending:
            self._go_on(skb, func)
        if local is not None and self._is_new(skb, func, (netns, device), local, sealed):
            self.rough = True
            self._end(skb, came=False)
        life = live.get(skb)
        if life is None or not life.packet:
            life = self._begin(skb, life.parent if life is not None else None)
        if device:
            if netns != life.netns:
                life = live[skb] = life._replace(netns=netns)
        elif life.netns != netns:
            device_first = self._ends and func not in TAKES
            first, then = (life.netns, netns) if device_first else (netns, life.netns)
            life = life._replace(netns=first or then)
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

    def release(self, skb: int) -> None:
        """What was at ``skb`` is no more, or is being freed."""
        if self._live.get(skb, _NOBODY).packet:
            self._ending.setdefault(skb, set()).add(RELEASES)

    def _is_new(
        self, skb: int, func: str, device: tuple[int, int], local: bool, sealed: bool
    ) -> bool:
        """Whether the packet that was there has been freed where no tracepoint tells."""
        if func == QUEUED_TRACEPOINT:
            came = self._came.pop(skb, None)
            return came is not None and (local or came == _TAKEN)
        if func in TABLE_FUNCTIONS:  # at OUTPUT, before a device's queue
            return local and self._came.pop(skb, None) is not None
        if func in ENTRIES:
            came, self._came[skb] = self._came.get(skb), _SEALED if sealed else device
            return came in (device, _TAKEN)
        new = local and skb in self._came and (func == CONSUMED_TRACEPOINT or func in TAKES)
        if func in TAKES:
            self._came[skb] = _TAKEN
        return new

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
            self.rough = True
        return life

    def _end(self, skb: int, *, came: bool = True) -> None:
        self._live.pop(skb, None)
        self._ending.pop(skb, None)
        if came:
            self._came.pop(skb, None)
