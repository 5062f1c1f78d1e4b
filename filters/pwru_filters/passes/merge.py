# SPDX-License-Identifier: Apache-2.0
"""Pass 7: make one test of two that look at neighbouring bytes and both must hold.

Nearly every filter asks for the IP protocol, byte 23, and then that the fragment offset, bytes 20
and 21, is 0. A load from a viewed frame costs eight instructions of the processor, and one of four
bytes costs no more than one of a single byte.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..frame import NEAR_VALID_FROM
from ..front.cbpf import AluOp, JmpOp
from .blocks import number
from .ir import CELL_A, REJECT, AluK, Block, Branch, Graph, LoadAbs, predecessors
from .liveness import CellMask, live_in

_WIDTH: Final = 4  # of the load that replaces two


@dataclass(frozen=True, slots=True)
class _Test:
    """Goes to `then` if the `_WIDTH` frame bytes before `end`, big-endian, & mask are `value`."""

    end: int
    first: int
    mask: int
    value: int
    then: int
    other: int

    def before(self, end: int) -> tuple[int, int]:
        """mask and value for the bytes before a later `end`."""
        bits = 8 * (end - self.end)
        return self.mask << bits, self.value << bits


def merge_tests(graph: Graph) -> Graph:
    """The same program with fewer loads; each block merges with at most the next."""
    live = live_in(graph)
    ways = predecessors(graph)
    built = dict(enumerate(graph.blocks))
    for index, block in enumerate(graph.blocks):
        if index not in built:
            continue
        first = _test(block, live)
        if first is None or first.then < 0 or ways[first.then] != [index]:
            continue
        following = graph.blocks[first.then]
        second = _test(following, live)
        if second is None or second.other != first.other:
            continue
        merged = _merged(first, second)
        # A frame that ends between the two must not reach `other` any more where it did before.
        shorter = following.reach > block.reach and first.other != REJECT
        if merged is None or shorter:
            continue
        ops, term = merged
        built[index] = Block(ops, term, max(block.reach, following.reach))
        del built[first.then]
    return number(built, graph.entry)


def _test(block: Block, live: list[CellMask]) -> _Test | None:
    """What the block tests, if that is all it does."""
    match block.ops, block.term:
        case (LoadAbs() as load,), Branch(JmpOp.JEQ, int(k), then, other):
            mask = (1 << 8 * load.size) - 1
        case (LoadAbs() as load, AluK(AluOp.AND, mask)), Branch(JmpOp.JEQ, int(k), then, other):
            pass
        case (LoadAbs() as load,), Branch(JmpOp.JSET, int(mask), other, then):
            k = 0
        case _:
            return None
    if mask >= 1 << 8 * load.size or k & ~mask:
        return None
    if any(target >= 0 and live[target] & 1 << CELL_A for target in (then, other)):
        return None
    return _Test(load.off + load.size, load.off, mask, k, then, other)


def _merged(first: _Test, second: _Test) -> tuple[tuple[LoadAbs, AluK], Branch] | None:
    end = max(first.end, second.end)
    start = end - _WIDTH
    if start < NEAR_VALID_FROM or min(first.first, second.first) < start:
        return None
    (mask, value), (more, wanted) = first.before(end), second.before(end)
    if mask & more:
        return None
    ops = (LoadAbs(_WIDTH, start), AluK(AluOp.AND, mask | more))
    return ops, Branch(JmpOp.JEQ, value | wanted, second.then, second.other)
