# SPDX-License-Identifier: Apache-2.0
"""Pass 6: search a long list by halves.

`host A or host B or …` is a list of tests of the same few values, which an unwanted packet takes to
its end. They have no effect but their outcome, so that their order is free as soon as the frame is
known to be long enough for all their loads: the values are sorted, and each costs a logarithm.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import count
from typing import Final, NamedTuple

from ..frame import FRAME_MAX
from ..front.cbpf import JmpOp
from .blocks import number
from .ir import CELL_A, AluK, Block, Branch, Graph, LoadAbs, Op, Terminator, predecessors
from .liveness import CellMask, live_in
from .thread import without_copies

# No more are tested one after the other: a search needs more room, and a swap of the value.
SHORT: Final = 8

Source = tuple[Op, ...]
"""The operations that compute A from the packet alone; none: what A holds where the list begins."""


class _Part(NamedTuple):
    """Values of one source that may be tested in any order. reach: see Block."""

    source: Source
    values: set[int]
    reach: int


def search_lists(graph: Graph) -> Graph:
    """The same program with a search in place of each long list."""
    live = live_in(graph)
    ways = predecessors(graph)
    built = dict(enumerate(graph.blocks))
    fresh = count(len(built))
    seen: set[int] = set()
    found = False

    def add(block: Block) -> int:
        index = next(fresh)
        built[index] = block
        return index

    for index in range(len(graph.blocks)):
        if index in seen:
            continue
        run = _run(graph, live, ways, index)
        seen.update(run)
        parts = _parts([graph.blocks[member] for member in run])
        if any(len(part.values) > SHORT for part in parts) and _may_part(graph, live, run, parts):
            root = _search_all(graph.blocks[run[-1]].term, parts, add)
            for member in run:
                del built[member]
            built[index] = root
            found = True
    return without_copies(number(built, graph.entry)) if found else graph


def _run(graph: Graph, live: list[CellMask], ways: list[list[int]], index: int) -> list[int]:
    """The blocks from `index` on that lead to the same place, or else each to the next alone."""
    run: list[int] = []
    then = None
    while index >= 0 and (not run or ways[index] == [run[-1]]):
        block = graph.blocks[index]
        match block.term:
            case Branch(JmpOp.JEQ, int(), target, other) if then in (None, target):
                then = target
            case _:
                break
        if not _is_source(block.ops) or (then >= 0 and live[then] & 1 << CELL_A):
            break
        run.append(index)
        index = other
    return run


def _is_source(ops: Source) -> bool:
    match ops:
        case (LoadAbs(size, off), *rest):
            return off + size <= FRAME_MAX and all(isinstance(op, AluK) for op in rest)
        case _:
            return not ops


def _parts(blocks: Sequence[Block]) -> list[_Part]:
    """The tests of a run, in an order that is as good.

    A block that needs a longer frame than all before stays behind them: with a shorter one they
    may still match.
    """
    parts: list[_Part] = []
    free: dict[Source, _Part] = {}
    source: Source = ()
    reach = -1
    for block in blocks:
        source = block.ops or source
        if block.reach > reach:
            reach = block.reach
            free = {}
        if source not in free:
            free[source] = _Part(source, set(), block.reach)
            parts.append(free[source])
        free[source].values.add(_value(block.term))
    return parts


def _value(term: Terminator) -> int:
    assert isinstance(term, Branch)
    assert term.k is not None
    return term.k


def _may_part(
    graph: Graph, live: list[CellMask], run: Sequence[int], parts: Sequence[_Part]
) -> bool:
    """Whether A is the same behind the run as before, or not read there."""
    last = graph.blocks[run[-1]].term
    assert isinstance(last, Branch)
    if last.other < 0 or not live[last.other] & 1 << CELL_A:
        return True
    sources: list[Source] = [(), *(ops for index in run if (ops := graph.blocks[index].ops))]
    return parts[-1].source == sources[-1]


def _search_all(last: Terminator, parts: Sequence[_Part], add: Callable[[Block], int]) -> Block:
    """The first of the blocks that search part after part, and then go where the `last` led."""
    assert isinstance(last, Branch)
    other = last.other
    held: list[Source] = [(), *(part.source for part in parts)]
    blocks: list[Block] = []
    for part, before in zip(reversed(parts), reversed(held[:-1]), strict=True):
        if blocks:
            other = add(blocks.pop())
        ops = () if part.source == before else part.source
        term = _search(sorted(part.values), last.then, other, add)
        blocks.append(Block(ops, term, part.reach))
    return blocks.pop()


def _search(values: Sequence[int], then: int, other: int, add: Callable[[Block], int]) -> Branch:
    """To `then` if A is one of the sorted `values`."""
    if len(values) > SHORT:
        half = len(values) // 2
        low, high = (
            add(Block((), _search(some, then, other, add), 0))
            for some in (values[:half], values[half:])
        )
        return Branch(JmpOp.JGT, values[half - 1], high, low)
    for k in reversed(values[1:]):
        other = add(Block((), Branch(JmpOp.JEQ, k, then, other), 0))
    return Branch(JmpOp.JEQ, values[0], then, other)
