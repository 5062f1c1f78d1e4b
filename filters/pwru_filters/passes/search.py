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
from ..front.intervals import Interval, union
from .blocks import number
from .ir import CELL_A, AluK, Block, Branch, Graph, LoadAbs, Op, predecessors
from .liveness import CellMask, live_in
from .thread import without_copies

# No more are tested one after the other: a search needs more room, and a swap of the value.
SHORT: Final = 8

Source = tuple[Op, ...]
"""The operations that compute A from the packet alone; none: what A holds where the list begins."""


class _Test(NamedTuple):
    """To `then` if the source is in the interval. blocks: one or two, the first with the source."""

    blocks: tuple[int, ...]
    interval: Interval
    then: int
    other: int


class _Part(NamedTuple):
    """Intervals of one source that may be tested in any order. reach: see Block."""

    source: Source
    intervals: list[Interval]
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
        seen.update(block for test in run for block in test.blocks)
        parts = _parts(graph, run)
        if all(len(part.intervals) <= SHORT for part in parts):
            continue
        if not _reads_a(live, run[-1].other) or _a_is_kept(graph, run, parts):
            root = _search_all(run[-1], parts, add)
            for test in run:
                for block in test.blocks:
                    del built[block]
            built[index] = root
            found = True
    return without_copies(number(built, graph.entry)) if found else graph


def _run(graph: Graph, live: list[CellMask], ways: list[list[int]], index: int) -> list[_Test]:
    """The tests from `index` on that lead to the same place, or else each to the next alone."""
    run: list[_Test] = []
    while index >= 0 and (not run or ways[index] == list(run[-1].blocks)):
        test = _test(graph, ways, index)
        if test is None or (run and test.then != run[0].then):
            break
        if not _is_source(graph.blocks[index].ops) or _reads_a(live, test.then):
            break
        run.append(test)
        index = test.other
    return run


def _test(graph: Graph, ways: list[list[int]], index: int) -> _Test | None:
    """What the block tests, perhaps with the next one."""
    match graph.blocks[index].term:
        case Branch(JmpOp.JEQ, int(k), then, other):
            return _Test((index,), (k, k), then, other)
        case Branch(JmpOp.JGE, int(low), second, below) if second >= 0 and ways[second] == [index]:
            match graph.blocks[second]:
                case Block((), Branch(JmpOp.JGT, int(high), above, then), reach) if (
                    above == below and reach <= graph.blocks[index].reach
                ):
                    return _Test((index, second), (low, high), then, below)
    return None


def _reads_a(live: list[CellMask], target: int) -> bool:
    return target >= 0 and bool(live[target] & 1 << CELL_A)


def _is_source(ops: Source) -> bool:
    match ops:
        case (LoadAbs(size, off), *rest):
            return off + size <= FRAME_MAX and all(isinstance(op, AluK) for op in rest)
        case _:
            return not ops


def _parts(graph: Graph, run: Sequence[_Test]) -> list[_Part]:
    """The tests of a run, in an order that is as good.

    A block that needs a longer frame than all before stays behind them: with a shorter one they
    may still match.
    """
    parts: list[_Part] = []
    free: dict[Source, _Part] = {}
    source: Source = ()
    reach = -1
    for test in run:
        block = graph.blocks[test.blocks[0]]
        source = block.ops or source
        if block.reach > reach:
            reach = block.reach
            free = {}
        if source not in free:
            free[source] = _Part(source, [], block.reach)
            parts.append(free[source])
        free[source].intervals.append(test.interval)
    return parts


def _a_is_kept(graph: Graph, run: Sequence[_Test], parts: Sequence[_Part]) -> bool:
    """Whether A is the same behind the run as before."""
    loads = (graph.blocks[test.blocks[0]].ops for test in run)
    sources: list[Source] = [(), *filter(None, loads)]
    return parts[-1].source == sources[-1]


def _search_all(last: _Test, parts: Sequence[_Part], add: Callable[[Block], int]) -> Block:
    """The first of the blocks that search part after part, and then go where the `last` led."""
    other = last.other
    held: list[Source] = [(), *(part.source for part in parts)]
    blocks: list[Block] = []
    for part, before in zip(reversed(parts), reversed(held[:-1]), strict=True):
        if blocks:
            other = add(blocks.pop())
        ops = () if part.source == before else part.source
        term = _search(union(part.intervals), last.then, other, add)
        blocks.append(Block(ops, term, part.reach))
    return blocks.pop()


def _search(
    intervals: Sequence[Interval], then: int, other: int, add: Callable[[Block], int]
) -> Branch:
    """To `then` if A is in one of the sorted `intervals`."""
    if len(intervals) > SHORT:
        half = len(intervals) // 2
        low, high = (
            add(Block((), _search(some, then, other, add), 0))
            for some in (intervals[:half], intervals[half:])
        )
        return Branch(JmpOp.JGT, intervals[half - 1][1], high, low)
    for interval in reversed(intervals[1:]):
        other = add(Block((), _within(interval, then, other, add), 0))
    return _within(intervals[0], then, other, add)


def _within(interval: Interval, then: int, other: int, add: Callable[[Block], int]) -> Branch:
    low, high = interval
    if low == high:
        return Branch(JmpOp.JEQ, low, then, other)
    return Branch(JmpOp.JGE, low, add(Block((), Branch(JmpOp.JGT, high, other, then), 0)), other)
