# SPDX-License-Identifier: Apache-2.0
"""Pass 3: validated cBPF -> `Graph` of reachable basic blocks."""

from __future__ import annotations

from ..front import cbpf
from ..front.cbpf import CbpfInsn, CbpfProgram, JmpOp
from .ir import (
    CELL_X,
    MATCH,
    REJECT,
    Block,
    Branch,
    Goto,
    Graph,
    LoadAbs,
    LoadMsh,
    Op,
    ReturnA,
    Terminator,
    defines,
    successors,
)
from .operations import always_fails, operation

_ENDS_BLOCK = (cbpf.JMP, cbpf.RET)


def build(program: CbpfProgram) -> Graph:
    """Split a validated program into blocks, last block first.

    While it goes backwards every target is known already, so that jumps to a plain return and
    blocks that can only reject are replaced by the verdict at once.
    """
    starts = sorted(_leaders(program))
    places: dict[int, int] = {}
    built: dict[int, Block] = {}
    ends = [*starts[1:], len(program)]
    for start, end in zip(reversed(starts), reversed(ends), strict=True):
        block = _block(program, start, end, places)
        if isinstance(block.term, Goto) and (block.term.target == REJECT or _is_empty(block)):
            places[start] = block.term.target
        else:
            places[start] = start
            built[start] = block
    return number(built, places[0])


def _is_empty(block: Block) -> bool:
    return not block.ops and not block.reach


def _leaders(program: CbpfProgram) -> set[int]:
    leaders = {0}
    for index, insn in enumerate(program):
        cls = insn.code & cbpf.CLASS_MASK
        if cls == cbpf.JMP:
            leaders.update(_jump_targets(index, insn))
        elif cls != cbpf.RET and defines(operation(insn)) == CELL_X:
            leaders.add(index)
        if cls in _ENDS_BLOCK and index + 1 < len(program):
            leaders.add(index + 1)
    return leaders


def _jump_targets(index: int, insn: CbpfInsn) -> tuple[int, int]:
    if insn.code == cbpf.JMP_JA:
        return index + 1 + insn.k, index + 1 + insn.k
    return index + 1 + insn.jt, index + 1 + insn.jf


def _block(program: CbpfProgram, start: int, end: int, places: dict[int, int]) -> Block:
    ops: list[Op] = []
    reach = 0
    for insn in program[start:end]:
        if insn.code & cbpf.CLASS_MASK in _ENDS_BLOCK:
            break
        op = operation(insn)
        if always_fails(op):
            return Block(tuple(ops), Goto(REJECT), reach)
        reach = max(reach, _reach(op))
        ops.append(op)
    return Block(tuple(ops), _terminator(program, end - 1, places), reach)


def _reach(op: Op) -> int:
    if isinstance(op, LoadAbs):
        return op.off + op.size
    return op.off + 1 if isinstance(op, LoadMsh) else 0


def _terminator(program: CbpfProgram, last: int, places: dict[int, int]) -> Terminator:
    insn = program[last]
    if insn.code == cbpf.RET_A:
        return ReturnA()
    if insn.code == cbpf.RET_K:
        return Goto(MATCH if insn.k else REJECT)
    if insn.code & cbpf.CLASS_MASK != cbpf.JMP:
        return Goto(places[last + 1])
    then, other = (places[target] for target in _jump_targets(last, insn))
    k = None if insn.code & cbpf.SRC_X else insn.k
    return branch(JmpOp(insn.code & cbpf.OP_MASK), k, then, other)


def branch(op: JmpOp, k: int | None, then: int, other: int) -> Terminator:
    """A branch, or a plain jump where both ways lead to the same place."""
    if then == other:
        return Goto(then)
    return Branch(op, k, then, other)


def retarget(term: Terminator, places: dict[int, int]) -> Terminator:
    """The terminator with its block targets looked up in `places`."""
    match term:
        case Goto(target):
            return Goto(places.get(target, target))
        case Branch(op, k, then, other):
            return branch(op, k, places.get(then, then), places.get(other, other))
        case ReturnA():
            return term


def number(built: dict[int, Block], entry: int) -> Graph:
    """A Graph of the blocks that `entry` reaches, each as close behind its cause as possible.

    The order is the reverse of that in which a walk leaves the blocks, which puts every block
    before its targets, and the one that was walked last (`other`) next to it.
    """
    left: list[int] = []
    seen: set[int] = set()
    pending = [(entry, False)]
    while pending:
        key, leaving = pending.pop()
        if leaving:
            left.append(key)
        elif key >= 0 and key not in seen:
            seen.add(key)
            pending.append((key, True))
            pending.extend((target, False) for target in reversed(successors(built[key].term)))
    left.reverse()
    places = {key: index for index, key in enumerate(left)}
    blocks = tuple(
        Block(built[key].ops, retarget(built[key].term, places), built[key].reach) for key in left
    )
    return Graph(blocks, places.get(entry, entry))
