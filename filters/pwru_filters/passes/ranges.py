# SPDX-License-Identifier: Apache-2.0
"""Pass 8: which values a cell can hold, so that bounds which always hold cost no instruction."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..front.cbpf import U32_MAX, AluOp
from .ir import (
    CELL_A,
    CELL_X,
    AluK,
    AluX,
    Cell,
    Copy,
    Graph,
    LoadAbs,
    LoadConst,
    LoadInd,
    LoadLen,
    LoadMsh,
    Op,
    Site,
    defines,
    successors,
)


@dataclass(frozen=True, slots=True)
class Range:
    """lo <= value <= hi, both u32.

    seen: the kernel's verifier (5.10 and later) derives hi from the emitted instructions too.
    It follows constants, byte loads, AND and shifts by constants and additions in registers; it
    loses the value at a byte swap, and may lose it on the stack.
    """

    lo: int
    hi: int
    seen: bool


ANY: Final = Range(0, U32_MAX, seen=False)
ZERO: Final = Range(0, 0, seen=True)
MSH_RANGE: Final = Range(0, 60, seen=True)
_State = dict[Cell, Range]


def index_ranges(graph: Graph) -> dict[Site, Range]:
    """The range of X before each indexed load, and of A before each copy from A to X."""
    entry: list[_State | None] = [None] * len(graph.blocks)
    if graph.entry >= 0:
        entry[graph.entry] = {}
    found: dict[Site, Range] = {}
    for index, block in enumerate(graph.blocks):
        state = dict(entry[index] or {})
        for position, op in enumerate(block.ops):
            if isinstance(op, LoadInd):
                found[index, position] = state.get(CELL_X, ZERO)
            elif op == Copy(CELL_X, CELL_A):
                found[index, position] = state.get(CELL_A, ZERO)
            state[defines(op)] = _result(op, state)
        for target in successors(block.term):
            if target >= 0:
                entry[target] = _join(entry[target], state)
    return found


def _join(old: _State | None, new: _State) -> _State:
    if old is None:
        return dict(new)
    return {
        cell: _union(old.get(cell, ZERO), new.get(cell, ZERO)) for cell in old.keys() | new.keys()
    }


def _union(a: Range, b: Range) -> Range:
    return Range(min(a.lo, b.lo), max(a.hi, b.hi), a.seen and b.seen)


def _result(op: Op, state: _State) -> Range:
    a = state.get(CELL_A, ZERO)
    match op:
        case LoadAbs(size, _) | LoadInd(size, _):
            return Range(0, (1 << 8 * size) - 1, seen=size == 1)
        case LoadMsh():
            return MSH_RANGE
        case LoadConst(_, value):
            return Range(value, value, seen=True)
        case LoadLen():
            return ANY
        case Copy(dst, src):
            copied = state.get(src, ZERO)
            in_registers = dst in (CELL_A, CELL_X) and src in (CELL_A, CELL_X)
            return Range(copied.lo, copied.hi, copied.seen and in_registers)
        case AluK(alu, k):
            return _alu(alu, a, Range(k, k, seen=True))
        case AluX(alu):
            return _alu(alu, a, state.get(CELL_X, ZERO))
        case _:
            return ANY


def _alu(op: AluOp, a: Range, b: Range) -> Range:
    both = a.seen and b.seen
    if op is AluOp.AND:
        # An AND with a constant bounds the result whatever was known before it.
        return Range(0, min(a.hi, b.hi), both or (b.seen and b.lo == b.hi <= a.hi))
    if op is AluOp.ADD and a.hi + b.hi <= U32_MAX:
        return Range(a.lo + b.lo, a.hi + b.hi, both)
    if op is AluOp.LSH and b.lo == b.hi < 32 and a.hi << b.hi <= U32_MAX:
        return Range(a.lo << b.hi, a.hi << b.hi, both)
    if op is AluOp.RSH and b.lo == b.hi < 32:
        return Range(a.lo >> b.hi, a.hi >> b.hi, both)
    if op is AluOp.MUL and a.hi * b.hi <= U32_MAX:
        return Range(a.lo * b.lo, a.hi * b.hi, seen=False)
    if op is AluOp.MOD and b.lo > 0:
        return Range(0, min(a.hi, b.hi - 1), seen=False)
    if op is AluOp.DIV and b.lo > 0:
        return Range(a.lo // b.hi, a.hi // b.lo, seen=False)
    return ANY
