# SPDX-License-Identifier: Apache-2.0
"""The values of a journey: a packet's hops, what changed on the way, and its end."""

from __future__ import annotations

import builtins
from collections.abc import Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

from .event import Conntrack, Tuple, Verdict


class Way(StrEnum):
    """Whether a device receives the packet or is to send it."""

    IN = "in"
    OUT = "out"


class Changed(StrEnum):
    """What is another than at the hop before. ``INTO``, ``OUT_OF``: a tunnel."""

    SOURCE = "nat source"
    TARGET = "nat target"
    BOTH = "nat"
    INTO = "into tunnel"
    OUT_OF = "out of tunnel"


class Made(StrEnum):
    """What a packet is of the one that it was made of. ``FURTHER``: of a datagram that was cut
    before any device had it; its parent is the first fragment.
    """

    FRAGMENT = "fragment"
    FURTHER = "further fragment"
    SEGMENT = "segment"
    COPY = "copy"


class Change(NamedTuple):
    """Addresses of the packet before and after."""

    what: Changed
    before: Tuple
    after: Tuple


class Hop(NamedTuple):
    """A packet at a device. ``ts_ns``: CLOCK_MONOTONIC. ``netns``, ``ifname``, ``mtu``,
    ``vlan``, ``conntrack``: as in an Event.

    ``seen``: False of a device on top of the one before, or behind it, that has received the packet
    where no tracepoint is; the packet told so later. It came there at ``ts_ns`` or after; ``mtu``
    may be 0, not known.
    """

    ts_ns: int
    netns: int
    ifname: str
    way: Way
    change: Change | None = None
    mtu: int = 0
    vlan: int | None = None
    conntrack: Conntrack | None = None
    seen: bool = True


def tunnels(hops: Sequence[Hop]) -> builtins.list[int]:
    """In how many tunnels a packet is at each hop, as far as its hops tell."""
    found, depth = [], 0
    for hop in hops:
        what = hop.change.what if hop.change is not None else None
        depth += (what is Changed.INTO) - (what is Changed.OUT_OF)
        found.append(depth)
    before = -min(0, *found, 0)
    return [before + each for each in found]


class Judged(NamedTuple):
    """What netfilter has said of a packet. ``ts_ns``, ``netns``, ``ifname``: as of a hop; the
    device is the one that the packet came by, at OUTPUT and POSTROUTING the one it is to leave by.
    """

    ts_ns: int
    netns: int
    ifname: str
    verdict: Verdict


class Ended(StrEnum):
    """How a journey ends.

    ``READ``: a process has it. ``TAKEN``: a protocol of this host, or a program behind a device.
    ``LEFT``: sent by a device. ``DROPPED``. ``UNSEEN``: nothing tells.
    """

    READ = "read"
    TAKEN = "taken"
    LEFT = "left"
    DROPPED = "dropped"
    UNSEEN = "unseen"


class End(NamedTuple):
    """The end of a journey.

    ``by``: a process, a protocol, a device, or the function that dropped it. ``reason``: of a drop,
    '' where the kernel gives none. ``waited_ns``: how long it lay until a process read it.
    ``sure``: False where it is concluded and not seen. ``note``: of what, or what else there is to
    know. ``verdict``: of a drop, that of netfilter that dropped it; None where none did, or its
    tables cannot be probed. ``conntrack``: of a drop, as in an Event.
    """

    how: Ended
    ts_ns: int
    netns: int
    by: str = ""
    reason: str = ""
    waited_ns: int | None = None
    sure: bool = True
    note: str = ""
    verdict: Verdict | None = None
    conntrack: Conntrack | None = None


@dataclass(slots=True)
class Journey:
    """One packet from its first sight to its end.

    ``made``: what it is of ``parent``, None where that is not known; ``parent_sure``: False where
    its parent is concluded, of what was seen on the CPU before it. ``family``: the packet that its
    parents and theirs were made of, its own number without any.
    ``packet``, ``parent``, ``wall_ns``, ``process``: of its first event; ``process`` is '' for a
    packet that came in; where the context is not known (``process_sure`` False) it may be the one
    that an interrupt came upon. ``tuple``, ``tcp_flags``: as it was first seen. ``answers``: the
    number of the packet that it is the answer to, ``answered_by`` the other way round; 0: none is
    known. ``answered_in``: the namespace that sent the answer, if one of this host did.
    ``judged``: what netfilter's tables have said, where they can be probed; ``steps``: with
    ``output_nf_path`` which of their rules it met.
    ``round_trip_ns``: from the first sight of the question to the end of this answer.
    """

    packet: int
    parent: int | None
    begin_ns: int
    wall_ns: int
    tuple: Tuple | None
    tcp_flags: int
    process: str
    process_sure: bool
    end: End
    hops: builtins.list[Hop] = field(default_factory=list)
    judged: builtins.list[Judged] = field(default_factory=list)
    steps: builtins.list[Judged] = field(default_factory=list)
    made: Made | None = None
    parent_sure: bool = True
    family: int = 0
    answers: int = 0
    answered_by: int = 0
    answered_in: int = 0
    round_trip_ns: int | None = None

    @property
    def forwarded(self) -> bool:
        """Whether it has come in by a device and left by one."""
        return self.end.how is Ended.LEFT and bool(self.hops) and self.hops[0].way is Way.IN
