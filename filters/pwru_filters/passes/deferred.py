# SPDX-License-Identifier: Apache-2.0
"""Pass 11: checks that wait for the verdict.

A load from the copy, or through a cast pointer, cannot do harm, so loads need no check before them.
A load past the captured bytes ends a cBPF program with verdict 0: then the check may follow the
verdict, and only a match pays for it. What it takes is that each way to a match is known to have
looked at the frame up to one certain byte, or up to one behind X.
"""

from __future__ import annotations

from typing import NamedTuple

from .ir import CELL_A, CELL_X, MATCH, Block, Graph, LoadInd, ReturnA, defines, successors
from .liveness import CellMask
from .webs import Forms

_WAYS_MAX = 8


class Need(NamedTuple):
    """Bytes that a frame must have: `reach`, and X + `beyond_x` if that is not 0."""

    reach: int
    beyond_x: int


def match_needs(graph: Graph, live: list[CellMask], forms: Forms) -> dict[int, Need] | None:
    """For each block that can end in a match, what all loads on the way there need.

    None when the checks must come first: ways of different needs meet before a match, X is written
    twice on a way or while A lives (the one register that survives the cast holds X), or the
    verdict is A. All indexed loads must go through pointers.
    """
    before: list[set[Need]] = [set() for _ in graph.blocks]
    if graph.entry >= 0:
        before[graph.entry].add(Need(0, 0))
    needs: dict[int, Need] = {}
    for index, block in enumerate(graph.blocks):
        writes_x = bool(block.ops) and defines(block.ops[0]) == CELL_X and bool(forms.pointers)
        if isinstance(block.term, ReturnA) or (writes_x and live[index] & 1 << CELL_A):
            return None
        if writes_x and any(need.beyond_x for need in before[index]):
            return None
        after = {_after(block, index, forms, need) for need in before[index]}
        targets = successors(block.term)
        if len(after) > (1 if MATCH in targets else _WAYS_MAX):
            return None
        if MATCH in targets:
            (needs[index],) = after
        for target in targets:
            if target >= 0:
                before[target] |= after
    return needs


def _after(block: Block, index: int, forms: Forms, need: Need) -> Need:
    beyond_x = max(
        (
            op.off + op.size
            for position, op in enumerate(block.ops)
            if isinstance(op, LoadInd) and (index, position) in forms.pointers
        ),
        default=0,
    )
    return Need(max(need.reach, block.reach), max(need.beyond_x, beyond_x))
