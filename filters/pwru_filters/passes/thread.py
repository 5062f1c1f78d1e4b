# SPDX-License-Identifier: Apache-2.0
"""Pass 4: lead jumps past tests whose outcome is known, drop loads of what A holds already, and
keep one of several equal blocks.

libpcap's optimiser does this too, but its time grows with the cube of the expression: 8 minutes
for 2000 hosts. This pass visits each block twice, so that very long expressions are compiled
without libpcap's optimiser; for others it finds little that libpcap left.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from ..front.cbpf import AluOp, JmpOp
from .blocks import branch, number, retarget
from .ir import (
    CELL_A,
    AluK,
    Block,
    Branch,
    Goto,
    Graph,
    LoadAbs,
    Op,
    ReturnA,
    Terminator,
    defines,
)
from .liveness import live_in

# Facts of the form "is not k" kept for one value: enough for EtherTypes and IP protocols, and few
# enough that a list of 2000 addresses costs no square.
MOST_EXCLUDED: Final = 8
# Blocks that are skipped, for each block of the program: few are, as ways that know the same are
# followed once. `src host A or … and not (src host B or …)` would take the product of both lists.
MOST_STEPS: Final = 32

# What A holds, as the operations that compute it from the packet alone, a load first.
Value = tuple[Op, ...]


@dataclass(frozen=True, slots=True)
class Known:
    """A value is `equal`, or (where that is None) none of `excluded`."""

    equal: int | None = None
    excluded: frozenset[int] = frozenset()

    def decides(self, k: int) -> bool | None:
        """Whether the value is k; None where it may or may not be."""
        if self.equal is not None:
            return self.equal == k
        return False if k in self.excluded else None


@dataclass(frozen=True, slots=True)
class State:
    """What holds on all ways to a place.

    facts: of values. held: the value in A, None where unknown. reach: bytes that the frame has.
    """

    facts: Mapping[Value, Known] = field(default_factory=dict)
    held: Value | None = None
    reach: int = 0


def thread_jumps(graph: Graph) -> Graph:
    """The same program with fewer tests and loads."""
    if graph.entry < 0:
        return graph
    walk = _Walk(graph)
    kept: dict[int, Block] = {}
    for index, block in enumerate(graph.blocks):
        if index in walk.states:
            ops, state = _without_known_loads(block, walk.states[index])
            kept[index] = Block(ops, walk.threaded(block.term, state), block.reach)
    return without_copies(number(kept, graph.entry))


def without_copies(graph: Graph) -> Graph:
    """Of blocks that do the same and go the same way keep the last."""
    places: dict[int, int] = {}
    first: dict[Block, int] = {}
    kept: dict[int, Block] = {}
    for index in reversed(range(len(graph.blocks))):
        old = graph.blocks[index]
        block = Block(old.ops, retarget(old.term, places), old.reach)
        places[index] = first.setdefault(block, index)
        if places[index] == index:
            kept[index] = block
    return number(kept, places.get(graph.entry, graph.entry))


class _Walk:
    """From block to block, each before those that it leads to.

    states: what holds where a block begins, on all ways that were walked.
    """

    def __init__(self, graph: Graph) -> None:
        self.states: dict[int, State] = {graph.entry: State()}
        self._graph = graph
        self._live = live_in(graph)
        self._last_loaded = {
            op: index for index, block in enumerate(graph.blocks) for op in block.ops
        }
        self._ends: dict[tuple[object, ...], int] = {}
        self._steps = MOST_STEPS * len(graph.blocks)

    def threaded(self, term: Terminator, state: State) -> Terminator:
        """The terminator with the blocks that really follow."""
        match term:
            case Goto(target):
                return Goto(self._arrive(target, state))
            case Branch(op, k, then, other):
                taken = self._arrive(then, _learn(state, op, k, outcome=True))
                passed = self._arrive(other, _learn(state, op, k, outcome=False))
                return branch(op, k, taken, passed)
            case ReturnA():
                return term

    def _arrive(self, target: int, state: State) -> int:
        """The block that really follows; it learns what holds on this way."""
        if target < 0:
            return target
        facts = self._useful(target, state)
        way = (target, frozenset(facts.items()), state.held, state.reach)
        if way not in self._ends:
            self._ends[way] = self._follow(target, State(facts, state.held, state.reach))
        end = self._ends[way]
        if end >= 0:
            self.states[end] = _meet(self.states[end], state) if end in self.states else state
        return end

    def _useful(self, target: int, state: State) -> Mapping[Value, Known]:
        """The facts about what is loaded from `target` on, or is in A and read there."""
        held = state.held if self._live[target] & 1 << CELL_A else None
        return {
            value: known
            for value, known in state.facts.items()
            if self._last_loaded[value[0]] >= target or (held and value[0] == held[0])
        }

    def _follow(self, target: int, state: State) -> int:
        """The first block from `target` on that must run."""
        while target >= 0 and self._steps > 0:
            self._steps -= 1
            block = self._graph.blocks[target]
            following = _skip(block, state)
            if following is None:
                break
            if following >= 0 and block.ops and self._live[following] & 1 << CELL_A:
                break
            target = following
        return target


def _without_known_loads(block: Block, state: State) -> tuple[tuple[Op, ...], State]:
    """The operations that are needed, and the state after them."""
    ops, held = block.ops, state.held
    if held and ops[: len(held)] == held:
        ops = ops[len(held) :]
    for op in ops:
        held = _value_after(op, held)
    return ops, State(state.facts, held, max(state.reach, block.reach))


def _value_after(op: Op, held: Value | None) -> Value | None:
    if isinstance(op, LoadAbs):
        return (op,)
    if isinstance(op, AluK):
        return (*held, op) if held else None
    return None if defines(op) == CELL_A else held


def _learn(state: State, op: JmpOp, k: int | None, *, outcome: bool) -> State:
    """The state on one way out of a test."""
    if k is None or not state.held or op not in (JmpOp.JEQ, JmpOp.JSET):
        return state
    value, tested, equal = state.held, k, outcome
    if op is JmpOp.JSET:
        value, tested, equal = (*value, AluK(AluOp.AND, k)), 0, not outcome
    old = state.facts.get(value, Known())
    if equal:
        new = Known(tested)
    elif old.equal is not None or len(old.excluded) >= MOST_EXCLUDED:
        return state
    else:
        new = Known(None, old.excluded | {tested})
    return State({**state.facts, value: new}, state.held, state.reach)


def _skip(block: Block, state: State) -> int | None:
    """Where the block leads, if it only tests what is known; None if it must run."""
    if block.reach > state.reach or any(not isinstance(op, LoadAbs | AluK) for op in block.ops):
        return None
    held = state.held
    for op in block.ops:
        held = _value_after(op, held)
    match block.term:
        case Goto(target):
            return target
        case Branch(test, int(k), then, other) if held:
            outcome = _outcome(state.facts, test, k, held)
            return None if outcome is None else then if outcome else other
        case _:
            return None


def _outcome(facts: Mapping[Value, Known], op: JmpOp, k: int, held: Value) -> bool | None:
    if op is JmpOp.JEQ:
        return facts.get(held, Known()).decides(k)
    if op is JmpOp.JSET:
        zero = facts.get((*held, AluK(AluOp.AND, k)), Known()).decides(0)
        return None if zero is None else not zero
    known = facts.get(held, Known()).equal
    if known is None:
        return None
    return known > k if op is JmpOp.JGT else known >= k


def _meet(a: State, b: State) -> State:
    facts = {}
    for value in a.facts.keys() & b.facts.keys():
        known = _common(a.facts[value], b.facts[value])
        if known != Known():
            facts[value] = known
    return State(facts, a.held if a.held == b.held else None, min(a.reach, b.reach))


def _common(a: Known, b: Known) -> Known:
    if a == b:
        return a
    if a.equal is not None and b.equal is not None:
        return Known()
    if b.equal is not None:
        a, b = b, a
    if a.equal is not None:
        return Known(None, b.excluded - {a.equal})
    return Known(None, a.excluded & b.excluded)
