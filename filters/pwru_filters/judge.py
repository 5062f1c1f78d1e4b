# SPDX-License-Identifier: Apache-2.0
"""An expression on frames in user space: cBPF as libpcap's bpf_filter() runs it, and a third
verdict where the frame does not hold what decides."""

from __future__ import annotations

from typing import Final, NamedTuple

from .front.cbpf import (
    ABS_SIZE,
    ALU,
    CLASS_MASK,
    IND_SIZE,
    JMP,
    JMP_JA,
    LD_IMM,
    LD_LEN,
    LD_MEM,
    LDX,
    LDX_IMM,
    LDX_LEN,
    LDX_MEM,
    LDX_MSH,
    MISC,
    MISC_TXA,
    OP_MASK,
    RET,
    RET_A,
    RET_K,
    SRC_X,
    ST,
    STX,
    U32_MAX,
    AluOp,
    CbpfInsn,
    JmpOp,
)
from .front.libpcap import compile_expression
from .front.validate import validate

_JSET_K: Final = JMP | JmpOp.JSET
# The bits of a that an instruction looks at, where these are not all.
_USES_A: Final = dict.fromkeys(
    (*ABS_SIZE, *IND_SIZE, LD_IMM, LD_MEM, LD_LEN, LDX_IMM, LDX_MEM, LDX_LEN, LDX_MSH, STX, RET_K,
     JMP_JA, MISC_TXA),
    0,
)  # fmt: skip
_ADDRESSES: Final = 12  # bytes of link addresses, which a frame here does not have


class _UndecidedError(Exception):
    """The frame does not tell."""


class _CutError(Exception):
    """A load behind the end of the frame: verdict 0."""


class Judge:
    """One expression. Raises as ``compile_filter`` does."""

    def __init__(self, expression: str) -> None:
        self.expression = expression
        self._program = compile_expression(expression)
        validate(self._program)

    def verdict(self, frame: bytes, *, whole: bool, known: bytes = b"") -> bool | None:
        """Whether it matches; None where link addresses, the length, or what is not in ``frame``
        decides. ``frame``: an Ethernet frame; ``whole``: it is all of it. ``known``: the bits of it
        that are known, where not all are.
        """
        try:
            return _run(self._program, _Frame(frame, whole, known)) != 0
        except _UndecidedError:
            return None
        except _CutError:
            return False


class _Frame(NamedTuple):
    """See ``Judge.verdict``."""

    data: bytes
    whole: bool
    known: bytes


def _run(program: tuple[CbpfInsn, ...], frame: _Frame) -> int:
    """The value that the program returns. An opcode switch, hence long."""
    a = x = dim = 0  # dim: the bits of a that are not known
    cells = [0] * 16
    at = 0
    while True:
        insn = program[at]
        at += 1
        code, k = insn.code, insn.k
        kind = code & CLASS_MASK
        if dim & (k if code == _JSET_K else _USES_A.get(code, U32_MAX)):
            raise _UndecidedError
        if kind == JMP:
            at += _jump(insn, a, x)
        elif kind == RET:
            return a if code == RET_A else k
        elif kind == ST:
            cells[k] = a
        elif kind == STX:
            cells[k] = x
        elif kind == ALU:
            a = _compute(code, a, x if code & SRC_X else k)
        elif kind == MISC:
            a, x, dim = (x, x, 0) if code == MISC_TXA else (a, a, 0)
        elif kind == LDX:
            x, _ = _load(code, k, x, cells, frame)
        else:
            a, dim = _load(code, k, x, cells, frame)


def _load(code: int, k: int, x: int, cells: list[int], frame: _Frame) -> tuple[int, int]:
    """The value, and the bits of it that are not known."""
    if code in (LD_IMM, LDX_IMM):
        return k, 0
    if code in (LD_MEM, LDX_MEM):
        return cells[k], 0
    if code in (LD_LEN, LDX_LEN):
        raise _UndecidedError
    if code == LDX_MSH:
        value, dim = _bytes(frame, k, 1)
        if dim & 15:
            raise _UndecidedError
        return (value & 15) << 2, 0
    if code in ABS_SIZE:
        return _bytes(frame, k, ABS_SIZE[code])
    return _bytes(frame, x + k, IND_SIZE[code])


def _bytes(frame: _Frame, start: int, size: int) -> tuple[int, int]:
    if start < _ADDRESSES:
        raise _UndecidedError
    if start + size > len(frame.data):
        raise _CutError if frame.whole else _UndecidedError
    part = slice(start, start + size)
    value = int.from_bytes(frame.data[part], "big")
    if not frame.known:
        return value, 0
    return value, ~int.from_bytes(frame.known[part], "big") & ((1 << 8 * size) - 1)


def _jump(insn: CbpfInsn, a: int, x: int) -> int:
    if insn.code == JMP_JA:
        return insn.k
    b, op = x if insn.code & SRC_X else insn.k, insn.code & OP_MASK
    if op == JmpOp.JEQ:
        taken = a == b
    elif op == JmpOp.JGT:
        taken = a > b
    elif op == JmpOp.JGE:
        taken = a >= b
    else:
        taken = a & b != 0
    return insn.jt if taken else insn.jf


def _compute(code: int, a: int, b: int) -> int:
    op = code & OP_MASK
    if op in (AluOp.DIV, AluOp.MOD):
        if not b:
            raise _CutError
        return a // b if op == AluOp.DIV else a % b
    if op in (AluOp.LSH, AluOp.RSH):
        if b > 31:
            return 0
        return a << b & U32_MAX if op == AluOp.LSH else a >> b
    value = {
        AluOp.ADD: a + b,
        AluOp.SUB: a - b,
        AluOp.MUL: a * b,
        AluOp.OR: a | b,
        AluOp.AND: a & b,
        AluOp.NEG: -a,
        AluOp.XOR: a ^ b,
    }[AluOp(op)]
    return value & U32_MAX
