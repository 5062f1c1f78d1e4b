# SPDX-License-Identifier: Apache-2.0
"""What a namespace tells of its traffic: devices, routes, connections. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple


class DeviceCount(NamedTuple):
    """Packets that a device took in and sent. ``xdp``: the program in its driver, or 0."""

    ifname: str
    received: int
    sent: int
    xdp: int = 0


class Routed(NamedTuple):
    """The way to an address. ``refused``: why there is none, '' where there is one."""

    address: str
    refused: str
    ifname: str = ""
    local: bool = False


class Translated(NamedTuple):
    """What NAT makes of an address in a connection: the other one. Ports are 0 where none are."""

    address: str
    other: str
    port: int = 0
    other_port: int = 0


def rise(before: int, after: int) -> int:
    """How much a counter rose; all of it where it began anew."""
    return after - before if after >= before else after


def parse_conntrack(
    lines: Iterable[str], hosts: Sequence[str], most: int
) -> tuple[Translated, ...]:
    """/proc/net/nf_conntrack, ``most`` lines of it: what becomes of ``hosts``, each pair once.

    A connection has two tuples: of the first packet, and of the answer as it arrives.
    """
    found: dict[Translated, None] = {}
    for line in islice(lines, most):
        pairs = [word.partition("=") for word in line.split() if "=" in word]
        both = [dict[str, str](), dict[str, str]()]
        for name, _, value in pairs:
            which = both[0] if name not in both[0] else both[1]
            which.setdefault(name, value)
        for host, mine, other, theirs in (("dst", "dport", "src", "sport"),
                                          ("src", "sport", "dst", "dport")):  # fmt: skip
            was, now = both[0].get(host, ""), both[1].get(other, "")
            if was and now and was != now:
                port, new_port = both[0].get(mine, "0"), both[1].get(theirs, "0")
                if was in hosts:
                    found[Translated(was, now, int(port), int(new_port))] = None
                if now in hosts:
                    found[Translated(now, was, int(new_port), int(port))] = None
    return tuple(found)
