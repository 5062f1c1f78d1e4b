# SPDX-License-Identifier: Apache-2.0
"""Pass 2: refuse what cannot be translated, and decode one instruction into one operation."""

from __future__ import annotations

from typing import Final

from . import cbpf
from .cbpf import AluOp, CbpfInsn, CbpfProgram
from .errors import FilterUnsupportedError
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

S32_LIMIT: Final = 1 << 31
FRAME_LENGTH_LIMIT: Final = 1 << 28  # no skb comes near it
SKF_LL_OFF: Final = 0xFFE00000  # -0x200000, include/uapi/linux/filter.h
SKF_AD_OFF: Final = 0xFFFFF000  # -0x1000
_MEMORY_CODES: Final = (cbpf.LD_MEM, cbpf.LDX_MEM, cbpf.ST, cbpf.STX)

_FIXED: Final[dict[int, Op]] = {
    cbpf.LD_LEN: LoadLen(CELL_A),
    cbpf.LDX_LEN: LoadLen(CELL_X),
    cbpf.MISC_TAX: Copy(CELL_X, CELL_A),
    cbpf.MISC_TXA: Copy(CELL_A, CELL_X),
    cbpf.ALU_NEG: Neg(),
}


def validate(program: CbpfProgram) -> None:
    """Check the rules of libpcap's bpf_validate() and those of this compiler.

    Afterwards: every code is known, every jump goes forward to an instruction of the program,
    M[] slots exist, no constant divisor is 0, no absolute load is outside 0 .. 2**31 - 1, and
    the last instruction returns. Raises FilterUnsupportedError.
    """
    if not program or program[-1].code & cbpf.CLASS_MASK != cbpf.RET:
        raise _malformed("a cBPF program that does not end in ret")
    for index, insn in enumerate(program):
        _validate_insn(insn, len(program) - index - 1)


def _malformed(what: str) -> FilterUnsupportedError:
    return FilterUnsupportedError(
        what, "it is no valid classic BPF", "please report the expression"
    )


def _validate_insn(insn: CbpfInsn, following: int) -> None:
    code = insn.code
    if code == cbpf.JMP_JA:
        _validate_ja(insn, following)
    elif code in cbpf.JMP_CODES:
        if max(insn.jt, insn.jf) >= following:
            raise _malformed("a jump past the end of the cBPF program")
    elif code in cbpf.ABS_SIZE or code == cbpf.LDX_MSH:
        if insn.k + cbpf.ABS_SIZE.get(code, 1) > S32_LIMIT:
            raise _negative_load(insn.k)
    elif code in _MEMORY_CODES:
        if insn.k >= cbpf.MEMWORDS:
            raise _malformed(f"scratch memory M[{insn.k}]")
    elif code in (cbpf.ALU | AluOp.DIV, cbpf.ALU | AluOp.MOD):
        if insn.k == 0:
            raise _malformed("division by the constant 0")
    elif not _is_known(code):
        raise _malformed(f"cBPF opcode {code:#06x}")


def _is_known(code: int) -> bool:
    simple = (cbpf.LD_IMM, cbpf.LDX_IMM, cbpf.RET_K, cbpf.RET_A)
    return code in cbpf.ALU_CODES or code in cbpf.IND_SIZE or code in _FIXED or code in simple


def _validate_ja(insn: CbpfInsn, following: int) -> None:
    if insn.k >= S32_LIMIT:
        raise FilterUnsupportedError(
            "protochain",
            "it walks the header chain in a loop, which a bounded program cannot",
            "test the next header itself, for example 'ip6[6] = 6' or 'ip6 proto 6'",
        )
    if insn.k >= following:
        raise _malformed("a jump past the end of the cBPF program")


def _negative_load(offset: int) -> FilterUnsupportedError:
    if offset >= SKF_AD_OFF:
        return FilterUnsupportedError(
            "link-layer metadata (inbound, outbound, ifindex)",
            "it is no part of the packet",
            "choose the interface or the functions to trace with their own options",
        )
    return FilterUnsupportedError(
        f"a load at offset {offset - (1 << 32)}",
        "it lies before the start of the frame",
        "use an offset of 0 or more",
    )


def decode(insn: CbpfInsn) -> Op:
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
    if code in _MEMORY_CODES:
        return _decode_memory(code, k)
    return _decode_alu(code, k)


def _decode_memory(code: int, slot: int) -> Op:
    register = CELL_A if code in (cbpf.LD_MEM, cbpf.ST) else CELL_X
    if code in (cbpf.ST, cbpf.STX):
        return Copy(memory_cell(slot), register)
    return Copy(register, memory_cell(slot))


def _decode_alu(code: int, k: int) -> Op:
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
