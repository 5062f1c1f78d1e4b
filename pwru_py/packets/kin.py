# SPDX-License-Identifier: Apache-2.0
"""Which packet another one was made of, and as what. Pure.

Functions tell, where they can be probed (``Event.parent``). Where they cannot, a packet's fragments
and copies are seen next on its CPU, while it is still under way, and its segments when it has just
been freed: that is concluded, and said so.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from ..facts.roles import ENTRIES, QUEUED_TRACEPOINT, SEGMENTATION
from ..record.event import Event, Tuple
from ..record.journey import End, Ended, Made, Way
from .live import Live

ETHER_BYTES = 14
"""Of the link header, which a packet has at most devices' queues, and not where it comes in."""


class Parent(NamedTuple):
    """What a packet was made of: a packet, None of one that came by itself. ``known``: its journey,
    or None. The rest as in a Journey."""

    packet: int | None
    made: Made | None
    sure: bool
    family: int
    known: Live | None = None


class Kin:
    """``live``: journeys under way, by the packet's number."""

    def __init__(self, live: Mapping[int, Live]) -> None:
        self._live = live
        self._last: dict[int, int] = {}  # by CPU, the packet seen there last
        self._cut: dict[int, Live] = {}  # by CPU, the last one freed as a device was to send it
        self._under_way: dict[int, int] = {}  # packets, by family

    def parent(self, event: Event) -> Parent:
        """Of a packet at its first event."""
        known = self._live.get(event.parent or 0) or self._cut_there(event)
        if event.parent and not _is_answer(known, event.tuple):
            made = _made(known, event) if known is not None else None
            family = known.family if known is not None else event.parent
            return Parent(event.parent, made, sure=True, family=family, known=known)
        found = self._cut_before(event) if event.func in ENTRIES else self._before(event)
        first = self._first_fragment(event) if found is None else None
        if found is not None:
            made = _made(found, event)
        elif first is not None:
            found, made = first, Made.FURTHER
        else:
            return Parent(None, None, sure=True, family=event.packet)
        return Parent(found.journey.packet, made, sure=False, family=found.family)

    def in_hand(self, cpu: int) -> Live | None:
        """The packet that was seen last on the CPU, while it is under way."""
        return self._live.get(self._last.get(cpu, 0))

    def saw(self, event: Event) -> None:
        """An event of a packet under way."""
        self._last[event.cpu] = event.packet

    def freed(self, cpu: int, live: Live, end: End) -> None:
        """It ends here, and what is made of it may come yet."""
        if end.how is Ended.LEFT or end.by == SEGMENTATION:
            live.journey.end = end
            self._cut[cpu] = live

    def begin(self, family: int) -> None:
        self._under_way[family] = self._under_way.get(family, 0) + 1

    def end(self, family: int) -> None:
        left = self._under_way.pop(family) - 1
        if left:
            self._under_way[family] = left

    def has(self, family: int) -> bool:
        return family in self._under_way

    def _cut_there(self, event: Event) -> Live | None:
        cut = self._cut.get(event.cpu)
        return cut if cut is not None and cut.journey.packet == event.parent else None

    def _cut_before(self, event: Event) -> Live | None:
        """What segments are made of, as they come to the next device."""
        cut, last = self._cut.get(event.cpu), self._last.get(event.cpu, 0)
        if cut is None or cut.journey.end.by != SEGMENTATION or not _same(cut.last, event.tuple):
            return None
        before = self._live.get(last)
        by = before.journey.parent if before is not None else last
        return cut if cut.journey.packet in (last, by) else None

    def _before(self, event: Event) -> Live | None:
        """What fragments and copies are made of, as a device is to send them.

        It has come in by a device, of which they know (``iif``: ip_copy_metadata(), skb_clone()),
        and is still there; or it is at a bridge's own device, which copies it to its ports.
        """
        before = self._sent_before(event)
        if before is None:
            return None
        hop = before.journey.hops[-1]
        there = hop.netns == event.netns and hop.ifname != event.ifname
        return before if there and (hop.way is Way.IN) == bool(event.iif) else None

    def _first_fragment(self, event: Event) -> Live | None:
        """Of the datagram that a later fragment is of: sent here, by the same device."""
        before = self._sent_before(event)
        if before is None or before.fragment or event.iif:
            return None
        hop = before.journey.hops[0]
        there = (hop.netns, hop.ifname, hop.way) == (event.netns, event.ifname, Way.OUT)
        return before if there and event.tuple is not None and event.tuple.fragment else None

    def _sent_before(self, event: Event) -> Live | None:
        """What the CPU had in hand as a device is to send this, or what that was made of."""
        last = self.in_hand(event.cpu)
        if event.func != QUEUED_TRACEPOINT or last is None:
            return None
        if last.journey.made is not None:
            last = self._live.get(last.journey.parent or 0)
        return last if last and last.journey.hops and _same(last.last, event.tuple) else None


def _same(parent: Tuple | None, child: Tuple | None) -> bool:
    """Whether one may be made of the other: a later fragment has no ports."""
    if parent is None or child is None:
        return False
    ends = parent[:2] == child[:2] and parent.proto == child.proto
    return ends and (child.fragment or parent == child)


def _is_answer(asked: Live | None, packet: Tuple | None) -> bool:
    """Whether it goes back where the other came from. Then it only has the address of what had been
    made of that and was never seen, as where fragments are put together."""
    if asked is None or asked.last is None or packet is None:
        return False
    ends = asked.last.saddr, asked.last.daddr
    return ends == (packet.daddr, packet.saddr) != (packet.saddr, packet.daddr)


def _made(parent: Live, event: Event) -> Made:
    """What is shorter is a piece; with other addresses, it is in a tunnel or out of one."""
    if not _same(parent.last, event.tuple):
        return Made.COPY
    if event.func in ENTRIES:
        return Made.SEGMENT if event.len < parent.length - 2 * ETHER_BYTES else Made.COPY
    unfit = 0 < event.mtu < parent.length and event.len < parent.length + ETHER_BYTES
    return Made.FRAGMENT if unfit or event.len < parent.length else Made.COPY
