# SPDX-License-Identifier: Apache-2.0
"""A journey under way: what is known of the packet where it was seen last."""

from __future__ import annotations

from typing import NamedTuple

from ..record.event import Tuple
from ..record.journey import End, Journey, Way


class Taken(NamedTuple):
    """Somebody has the packet, and a process may read it yet."""

    end: End
    ts_ns: int


class Live:
    """A journey under way."""

    __slots__ = (
        "asked_ns", "away", "came", "copied", "copy_of", "dns", "iif", "joined", "journey", "last",
        "length", "moved", "number", "read", "seen_ns", "taken", "told",
    )  # fmt: skip

    def __init__(self, journey: Journey, length: int, dns: int | None) -> None:
        self.journey = journey
        self.dns = dns
        self.last = journey.tuple
        self.moved: tuple[int, Tuple | None] | None = None
        self.number = journey.packet  # of the sk_buff that it is now
        self.length = length
        self.away = False  # in a namespace that is not known
        self.came = 0  # the index of the device that has received it since the hop before
        self.iif = 0  # what the packet said of that when this hop began
        self.seen_ns = journey.begin_ns
        self.asked_ns: int | None = None
        self.joined = False  # by GRO, perhaps, to a packet before it
        self.taken: Taken | None = None
        self.read: End | None = None  # of a copy of it
        self.copied: Tuple | None = None
        self.told = ""
        self.copy_of: tuple[Tuple, int] | None = None  # addresses and length before it was copied

    @property
    def family(self) -> int:
        return self.journey.family

    @property
    def going(self) -> bool:
        """Whether a device was to send it when it was seen last."""
        hops = self.journey.hops
        return bool(hops) and hops[-1].way is Way.OUT

    @property
    def fragment(self) -> bool:
        return self.last is not None and self.last.fragment
