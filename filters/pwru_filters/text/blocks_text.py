# SPDX-License-Identifier: Apache-2.0
"""Blocks and guards in text, for the listing of `-d`."""

from __future__ import annotations

from ..front.cbpf import AluOp
from ..passes.deferred import Need
from ..passes.ir import (
    CELL_A,
    CELL_X,
    MATCH,
    REJECT,
    AluK,
    AluX,
    Branch,
    Cell,
    Copy,
    Goto,
    LoadAbs,
    LoadConst,
    LoadInd,
    LoadLen,
    LoadMsh,
    Neg,
    Op,
    ReturnA,
    Terminator,
    defines,
)
from ..passes.lowering import Lowering

_ALU = {
    AluOp.ADD: "+",
    AluOp.SUB: "-",
    AluOp.MUL: "*",
    AluOp.DIV: "/",
    AluOp.OR: "|",
    AluOp.AND: "&",
    AluOp.LSH: "<<",
    AluOp.RSH: ">>",
    AluOp.MOD: "%",
    AluOp.XOR: "^",
}
_JUMP = {0x10: "==", 0x20: ">", 0x30: ">=", 0x40: "&"}


def block_lines(lowering: Lowering) -> list[str]:
    """Each block: its label, guards, operations and where it goes."""
    if not lowering.graph.blocks:
        return [_target(lowering, 0, lowering.graph.entry)]
    lines: list[str] = []
    for index, block in enumerate(lowering.graph.blocks):
        lines.append(f"b{index}:")
        if need := lowering.guards.caplen[index]:
            lines.append(f"    check caplen >= {need}")
        beyond = lowering.guards.beyond_x[index]
        place = int(bool(block.ops) and defines(block.ops[0]) == CELL_X)
        texts = [f"    {_op(op)}{_form(lowering, index, n)}" for n, op in enumerate(block.ops)]
        if beyond:
            texts.insert(place, f"    check caplen - X >= {beyond}")
        lines += texts
        swapped = _form(lowering, index, len(block.ops))
        lines.append(f"    {_terminator(lowering, index, block.term)}{swapped}")
    return lines


def _form(lowering: Lowering, index: int, position: int) -> str:
    notes = []
    if (index, position) in lowering.forms.network:
        notes.append("network order")
    if (index, position) in lowering.forms.pointers:
        notes.append("X as pointer")
    if (index, position) in lowering.extent.slow:
        notes.append("may call bpf_probe_read_kernel")
    return f"    ; {', '.join(notes)}" if notes else ""


def _target(lowering: Lowering, index: int, target: int) -> str:
    if target == MATCH and lowering.deferred and index in lowering.deferred:
        return f"match({_need(lowering.deferred[index])})"
    return {MATCH: "match", REJECT: "reject"}.get(target, f"b{target}")


def _need(need: Need) -> str:
    bounds = [f"caplen >= {need.reach}"]
    if need.beyond_x:
        bounds.append(f"caplen - X >= {need.beyond_x}")
    return ", ".join(bounds)


def _cell(cell: Cell) -> str:
    return {CELL_A: "A", CELL_X: "X"}.get(cell, f"M[{cell - 2}]")


def _op(op: Op) -> str:
    match op:
        case LoadAbs(size, off):
            return f"A = frame[{off}:{size}]"
        case LoadInd(size, off):
            return f"A = frame[X + {off}:{size}]"
        case LoadMsh(off):
            return f"X = 4 * (frame[{off}] & 0xf)"
        case LoadConst(cell, value):
            return f"{_cell(cell)} = {value:#x}"
        case LoadLen(cell):
            return f"{_cell(cell)} = len"
        case Copy(dst, src):
            return f"{_cell(dst)} = {_cell(src)}"
        case AluK(alu, k):
            return f"A = A {_ALU[alu]} {k:#x}"
        case AluX(alu):
            return f"A = A {_ALU[alu]} X"
        case Neg():
            return "A = -A"


def _terminator(lowering: Lowering, index: int, term: Terminator) -> str:
    match term:
        case Goto(target):
            return f"goto {_target(lowering, index, target)}"
        case Branch(op, k, then, other):
            value = "X" if k is None else f"{k:#x}"
            yes, no = (_target(lowering, index, target) for target in (then, other))
            return f"if A {_JUMP[op]} {value} goto {yes} else {no}"
        case ReturnA():
            return "return A"
