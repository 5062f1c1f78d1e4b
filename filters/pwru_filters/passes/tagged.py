# SPDX-License-Identifier: Apache-2.0
"""Whether a frame with a VLAN tag can match at all: for most filters it cannot.

The kernel keeps an outer tag in the metadata of a packet. A filter that no tagged frame matches
need not look there before it has found a match.
"""

from __future__ import annotations

from typing import Final

from ..frame import MAC_BYTES
from ..front.cbpf import JmpOp
from .ir import (
    CELL_A,
    MATCH,
    Block,
    Branch,
    Goto,
    Graph,
    LoadAbs,
    ReturnA,
    Terminator,
    defines,
    successors,
)

# vlan_proto is one of these (include/uapi/linux/if_ether.h: ETH_P_8021Q, ETH_P_8021AD).
_TAGS: Final = (0x8100, 0x88A8)


def can_match_tagged(graph: Graph) -> bool:
    """Follows every way that a frame with such an EtherType may take. May say yes wrongly."""
    return any(_can_match(graph, tag) for tag in _TAGS)


def _can_match(graph: Graph, tag: int) -> bool:
    if graph.entry < 0:
        return graph.entry == MATCH
    # What A may hold where a block begins: the EtherType, or anything (None).
    before: list[set[int | None]] = [set() for _ in graph.blocks]
    before[graph.entry].add(None)
    for index, block in enumerate(graph.blocks):
        for a in before[index]:
            value = _after(block, a, tag)
            for target in _targets(block.term, value):
                if target == MATCH:
                    return True
                if target >= 0:
                    before[target].add(value)
    return False


def _after(block: Block, a: int | None, tag: int) -> int | None:
    for op in block.ops:
        if op == LoadAbs(2, MAC_BYTES):
            a = tag
        elif defines(op) == CELL_A:
            a = None
    return a


def _targets(term: Terminator, a: int | None) -> tuple[int, ...]:
    match term:
        case ReturnA():
            return (MATCH,)
        case Branch(op, k, then, other) if a is not None and k is not None:
            return (then if _holds(op, a, k) else other,)
        case Branch() | Goto():
            return successors(term)


def _holds(op: JmpOp, a: int, k: int) -> bool:
    match op:
        case JmpOp.JEQ:
            return a == k
        case JmpOp.JGT:
            return a > k
        case JmpOp.JGE:
            return a >= k
        case _:
            return a & k != 0
