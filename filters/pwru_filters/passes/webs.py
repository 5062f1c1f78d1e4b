# SPDX-License-Identifier: Apache-2.0
"""Pass 10: choose how the values of A and X are held.

A web is a set of writes of one cell together with all reads that they may reach: its values can
be held in another form, if every write can produce it and every read can use it.

- network order: A is what a 2 or 4 byte load put there, unswapped. It is compared with swapped
  constants, which saves a swap for each load.
- pointer: X is the address (frame struct + X), and a second register holds caplen - X, which
  saves the addition for each load and makes each bounds check one instruction.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final

from ..frame import FRAME_MAX
from ..front.cbpf import AluOp, JmpOp
from .ir import (
    CELL_A,
    CELL_X,
    ENTRY_SITE,
    AluK,
    Branch,
    Cell,
    Copy,
    Graph,
    LoadAbs,
    LoadInd,
    LoadMsh,
    Op,
    Site,
    Terminator,
    defines,
    predecessors,
    uses,
)
from .liveness import CellMask
from .ranges import MSH_RANGE, Range

_BITWISE: Final = (AluOp.AND, AluOp.OR, AluOp.XOR)


@dataclass(frozen=True, slots=True)
class Forms:
    """network: width in bytes of A at each site that reads or writes it in network order.
    pointers: sites that read or write X as a pointer.
    """

    network: dict[Site, int]
    pointers: frozenset[Site]


class _Webs:
    """Union-find over the writes of one cell, and for each read one write that reaches it."""

    def __init__(self, graph: Graph, live: list[CellMask], cell: Cell) -> None:
        self.parent: dict[Site, Site] = {ENTRY_SITE: ENTRY_SITE}
        self.read: dict[Site, Site] = {}
        before = predecessors(graph)
        after: list[Site] = []
        for index, block in enumerate(graph.blocks):
            current = ENTRY_SITE
            if live[index] & 1 << cell:
                current = self._merge(index, graph.entry, [after[p] for p in before[index]])
            for position, op in enumerate((*block.ops, block.term)):
                site = (index, position)
                if cell in uses(op):
                    self.read[site] = current
                if position < len(block.ops) and defines(block.ops[position]) == cell:
                    current = self.parent.setdefault(site, site)
            after.append(current)

    def _merge(self, index: int, entry: int, writes: list[Site]) -> Site:
        if index == entry:
            writes = [ENTRY_SITE]
        for site in writes[1:]:
            self.union(writes[0], site)
        return self.find(writes[0])

    def find(self, site: Site) -> Site:
        while self.parent[site] != site:
            self.parent[site] = self.parent[self.parent[site]]
            site = self.parent[site]
        return site

    def union(self, a: Site, b: Site) -> None:
        self.parent[self.find(a)] = self.find(b)


def choose_forms(
    graph: Graph, live: list[CellMask], ranges: dict[Site, Range], *, pointers: bool
) -> Forms:
    """Decide for every web. pointers: False where helper calls would destroy the registers."""
    network = _network_webs(graph, _Webs(graph, live, CELL_A))
    if not pointers:
        return Forms(network, frozenset())
    return Forms(network, _pointer_webs(graph, _Webs(graph, live, CELL_X), ranges))


def _places(graph: Graph) -> Iterable[tuple[Site, Op | Terminator]]:
    for index, block in enumerate(graph.blocks):
        for position, op in enumerate((*block.ops, block.term)):
            yield (index, position), op


def _network_webs(graph: Graph, webs: _Webs) -> dict[Site, int]:
    for site, op in _places(graph):
        if isinstance(op, AluK) and op.op in _BITWISE:
            webs.union(webs.read[site], site)
    widths: dict[Site, int] = {}
    refused = {webs.find(ENTRY_SITE)}
    largest: dict[Site, int] = {}
    for site, op in _places(graph):
        for web in {webs.find(s) for s in (webs.read.get(site), site) if s in webs.parent}:
            _judge(op, web, widths, largest, refused)
    refused |= {web for web, k in largest.items() if k >= 1 << 8 * widths.get(web, 0)}
    return {
        site: widths[web]
        for site, _ in _places(graph)
        if (web := webs.find(webs.read.get(site, site)) if _known(webs, site) else ENTRY_SITE)
        in widths
        and web not in refused
    }


def _known(webs: _Webs, site: Site) -> bool:
    return site in webs.read or site in webs.parent


def _judge(
    op: Op | Terminator,
    web: Site,
    widths: dict[Site, int],
    largest: dict[Site, int],
    refused: set[Site],
) -> None:
    match op:
        case LoadAbs(size, _) | LoadInd(size, _) if size > 1 and widths.get(web, size) == size:
            widths[web] = size
        case AluK(alu, k) if alu in _BITWISE:
            largest[web] = max(largest.get(web, 0), k)
        case Branch(JmpOp.JEQ | JmpOp.JSET, int(k), _, _):
            largest[web] = max(largest.get(web, 0), k)
        case _:
            refused.add(web)


def _pointer_webs(graph: Graph, webs: _Webs, ranges: dict[Site, Range]) -> frozenset[Site]:
    refused = {webs.find(ENTRY_SITE)}
    highest: dict[Site, int] = {}
    furthest: dict[Site, int] = {}
    for site, op in _places(graph):
        if site in webs.read:
            web = webs.find(webs.read[site])
            if isinstance(op, LoadInd):
                furthest[web] = max(furthest.get(web, 0), op.off + op.size)
            else:
                refused.add(web)
        if site in webs.parent:
            web = webs.find(site)
            written = MSH_RANGE if isinstance(op, LoadMsh) else ranges.get(site)
            if written is None or not written.seen or isinstance(op, LoadInd):
                refused.add(web)
            else:
                highest[web] = max(highest.get(web, 0), written.hi)
    accepted = {
        web
        for web in highest
        if web not in refused and highest[web] + furthest.get(web, 0) <= FRAME_MAX
    }
    return frozenset(
        site
        for site, op in _places(graph)
        if (site in webs.parent and webs.find(site) in accepted)
        or (site in webs.read and webs.find(webs.read[site]) in accepted)
    )


def is_tax(op: Op | Terminator) -> bool:
    """X = A."""
    return op == Copy(CELL_X, CELL_A)
