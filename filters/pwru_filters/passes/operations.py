# SPDX-License-Identifier: Apache-2.0
"""Part of pass 3: one cBPF instruction -> one operation."""

from __future__ import annotations

from typing import Final

from ..front import cbpf
from ..front.cbpf import AluOp, CbpfInsn
from .ir import (
    CELL_A,
    CELL_X,
    AluK,
    AluX,
    Copy,
    LoadAbs,
    LoadConst,
    LoadInd,
    LoadLen,
    LoadMsh,
    Neg,
    Op,
    memory_cell,
)

FRAME_LENGTH_LIMIT: Final = 1 << 28  # no skb comes near it

_FIXED: Final[dict[int, Op]] = {
    cbpf.LD_LEN: LoadLen(CELL_A),
    cbpf.LDX_LEN: LoadLen(CELL_X),
    cbpf.MISC_TAX: Copy(CELL_X, CELL_A),
    cbpf.MISC_TXA: Copy(CELL_A, CELL_X),
    cbpf.ALU_NEG: Neg(),
}


def operation(insn: CbpfInsn) -> Op:
    """The operation of a validated instruction that is neither jump nor return."""
    code, k = insn.code, insn.k
    if code in _FIXED:
        return _FIXED[code]
    if code in cbpf.ABS_SIZE:
        return LoadAbs(cbpf.ABS_SIZE[code], k)
    if code in cbpf.IND_SIZE:
        return LoadInd(cbpf.IND_SIZE[code], k)
    if code == cbpf.LDX_MSH:
        return LoadMsh(k)
    if code in (cbpf.LD_IMM, cbpf.LDX_IMM):
        return LoadConst(CELL_A if code == cbpf.LD_IMM else CELL_X, k)
    if code in cbpf.MEMORY_CODES:
        return _memory_operation(code, k)
    return _alu_operation(code, k)


def _memory_operation(code: int, slot: int) -> Op:
    register = CELL_A if code in (cbpf.LD_MEM, cbpf.ST) else CELL_X
    if code in (cbpf.ST, cbpf.STX):
        return Copy(memory_cell(slot), register)
    return Copy(register, memory_cell(slot))


def _alu_operation(code: int, k: int) -> Op:
    op = AluOp(code & cbpf.OP_MASK)
    if code & cbpf.SRC_X:
        return AluX(op)
    if op in (AluOp.LSH, AluOp.RSH) and k >= 32:
        # Undefined in libpcap (its parser refuses it); here as the shift by X: nothing is left.
        return LoadConst(CELL_A, 0)
    return AluK(op, k)


def always_fails(op: Op) -> bool:
    """An indexed load that no frame is long enough for.

    The verifier refuses to add 2**29 or more to a pointer, even on a way that is never taken.
    """
    return isinstance(op, LoadInd) and op.off + op.size > FRAME_LENGTH_LIMIT
