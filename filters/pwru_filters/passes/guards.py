# SPDX-License-Identifier: Apache-2.0
"""Pass 11: where to compare the captured length with what loads need.

A failing load ends the program with verdict 0, and loads have no side effects. So a block that
loads checks once, at its start, for its largest offset, and also for what all ways out of it
need that do not end in verdict 0 anyway: with a shorter frame the verdict is 0 on each of them,
now or later. A check is left out where every way into the block made one that is large enough.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .ir import CELL_X, REJECT, Graph, LoadInd, Terminator, defines, predecessors, successors
from .webs import Forms

_NEVER: Final = 1 << 32  # more than any frame has


@dataclass(frozen=True, slots=True)
class Guards:
    """For each block the check to emit, in bytes; 0 = none.

    caplen: at the start of the block, `caplen >= n`.
    beyond_x: after the write of X with which the block starts (or at the start, if it does not
    write X), `caplen - X >= n`; only for loads whose X is held as a pointer.
    """

    caplen: tuple[int, ...]
    beyond_x: tuple[int, ...]


def no_guards(graph: Graph) -> Guards:
    """For programs whose checks wait for the verdict, see deferred.py."""
    none = (0,) * len(graph.blocks)
    return Guards(none, none)


def place_guards(graph: Graph, forms: Forms) -> Guards:
    """Guards for all loads whose bounds are known before the block runs."""
    none = [False] * len(graph.blocks)
    caplen = _place(graph, [block.reach for block in graph.blocks], none)
    resets = [bool(block.ops) and defines(block.ops[0]) == CELL_X for block in graph.blocks]
    return Guards(caplen, _place(graph, _pointer_reach(graph, forms), resets))


def _pointer_reach(graph: Graph, forms: Forms) -> list[int]:
    return [
        max(
            (
                op.off + op.size
                for position, op in enumerate(block.ops)
                if isinstance(op, LoadInd) and (index, position) in forms.pointers
            ),
            default=0,
        )
        for index, block in enumerate(graph.blocks)
    ]


def _place(graph: Graph, needs: list[int], resets: list[bool]) -> tuple[int, ...]:
    """needs: what each block itself needs. resets: the block makes a new bound (writes X)."""
    demand = _demands(graph, needs, resets)
    before = predecessors(graph)
    ensured: list[int] = []
    placed: list[int] = []
    for index, wanted in enumerate(demand):
        known = min((ensured[p] for p in before[index]), default=0)
        if resets[index] or index == graph.entry:
            known = 0
        checks = needs[index] > known
        placed.append(wanted if checks else 0)
        ensured.append(wanted if checks else known)
    return tuple(placed)


def _demands(graph: Graph, needs: list[int], resets: list[bool]) -> list[int]:
    demand = [0] * len(graph.blocks)
    for index in reversed(range(len(graph.blocks))):
        ahead = _ahead(graph.blocks[index].term, demand, resets)
        demand[index] = max(needs[index], 0 if ahead == _NEVER else ahead)
    return demand


def _ahead(term: Terminator, demand: list[int], resets: list[bool]) -> int:
    ways = [
        _NEVER if target == REJECT else 0 if target < 0 or resets[target] else demand[target]
        for target in successors(term)
    ]
    return min(ways, default=0)
