# SPDX-License-Identifier: Apache-2.0
"""Pass 9: which frame bytes the kernel side copies, and which loads need a helper call."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..frame import BASE_VALID_FROM, FRAME_MAX, FRAME_MIN, MAC_BYTES, NEAR_VALID_FROM
from ..front.cbpf import JmpOp
from .ir import (
    Block,
    Branch,
    Graph,
    LoadAbs,
    LoadInd,
    LoadLen,
    LoadMsh,
    Site,
    predecessors,
    sites,
)
from .ranges import MSH_RANGE, Range

_FRAGMENT: Final = 44  # IPPROTO_FRAGMENT, RFC 8200
_IP: Final = 20
_HEADERS: Final = 14 + _IP + 20
_IPV6_LOADS: Final = frozenset(
    (size, off + tags) for tags in (0, 4, 8) for size, off in ((2, 54), (2, 56), (1, 54))
)


@dataclass(frozen=True, slots=True)
class CopyExtent:
    """frame_bytes: bytes to copy, 0 or FRAME_MIN .. FRAME_MAX.
    needs_mac: a load may touch the link addresses, frame bytes 0 .. 11.
    needs_link: a load may touch other bytes below NEAR_VALID_FROM than just the EtherType.
    needs_length: the length of the whole frame is asked for.
    needs_payload: a load may lie behind the headers, which are in linear memory.
    slow: loads that may lie outside the copy, and read the kernel's memory then.

    Invariant: a load of s bytes that does not end within frame_bytes starts at BASE_VALID_FROM
    or later, where `base` is valid.
    """

    frame_bytes: int
    needs_mac: bool
    needs_link: bool
    needs_length: bool
    needs_payload: bool
    slow: frozenset[Site]


def copy_extent(
    graph: Graph, ranges: dict[Site, Range], rare: frozenset[Site] = frozenset()
) -> CopyExtent:
    """Copy all that is certain to lie within FRAME_MAX; leave the rest, and `rare`, to calls."""
    wanted = 0
    lowest = FRAME_MAX
    needs_link = needs_payload = False
    slow: set[Site] = set()
    for site, op in sites(graph):
        match op:
            case LoadAbs(size, off):
                low = high = off
            case LoadInd(size, off):
                low, high = ranges[site].lo + off, ranges[site].hi + off
            case LoadMsh(off):
                low, high, size = off, off, 1
            case _:
                continue
        lowest = min(lowest, low)
        if low < NEAR_VALID_FROM and not MAC_BYTES <= low <= high + size <= NEAR_VALID_FROM:
            needs_link = True
        needs_payload |= _is_payload(op, ranges.get(site))
        if high + size > FRAME_MAX or site in rare:
            slow.add(site)
            high = BASE_VALID_FROM - 1
        wanted = max(wanted, high + size)
    frame_bytes = max(wanted, FRAME_MIN) if wanted else 0
    return CopyExtent(
        frame_bytes=frame_bytes,
        needs_mac=lowest < MAC_BYTES,
        needs_link=needs_link,
        needs_length=any(isinstance(op, LoadLen) for _, op in sites(graph)),
        needs_payload=needs_payload or bool(slow - rare),
        slow=frozenset(slow),
    )


def fragment_loads(graph: Graph) -> frozenset[Site]:
    """Loads far behind in the frame that only packets get to of which a value was _FRAGMENT.

    IPv6 fragments are rare, and `tcp or icmp` would have twice as much copied, just for them.
    """
    before = predecessors(graph)
    rare = set[int]()
    for index, ways in enumerate(before):
        if ways and all(p in rare or _asks_for_fragment(graph.blocks[p], index) for p in ways):
            rare.add(index)
    return frozenset(
        (index, position)
        for (index, position), op in sites(graph)
        if index in rare and isinstance(op, LoadAbs) and op.off >= _HEADERS
    )


def _asks_for_fragment(block: Block, then: int) -> bool:
    """Whether `then` follows the block where A is _FRAGMENT."""
    term = block.term
    return isinstance(term, Branch) and (term.op, term.k, term.then) == (
        JmpOp.JEQ,
        _FRAGMENT,
        then,
    )


def _is_payload(op: LoadAbs | LoadInd | LoadMsh, x: Range | None) -> bool:
    """Whether a load can lie behind an IP and a TCP header without options.

    What libpcap itself loads there are ports of TCP and UDP over IPv6, and protocols in a
    fragment header, also behind VLAN tags: these count as headers.
    """
    match op:
        case LoadAbs(size, off):
            return off + size > _HEADERS and (size, off) not in _IPV6_LOADS
        case LoadInd(size, off):
            return off + size > _HEADERS - _IP or x is None or x.hi > MSH_RANGE.hi
        case LoadMsh():
            return False
