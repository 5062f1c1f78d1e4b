# SPDX-License-Identifier: Apache-2.0
"""Pass 2: refuse cBPF that is malformed, or that has no meaning for a tracer."""

from __future__ import annotations

from typing import Final

from ..errors import FilterUnsupportedError
from . import cbpf
from .cbpf import AluOp, CbpfInsn, CbpfProgram

S32_LIMIT: Final = 1 << 31
SKF_AD_OFF: Final = 0xFFFFF000  # -0x1000, include/uapi/linux/filter.h
_SIMPLE_CODES: Final = frozenset(
    (
        cbpf.LD_IMM,
        cbpf.LDX_IMM,
        cbpf.LD_LEN,
        cbpf.LDX_LEN,
        cbpf.MISC_TAX,
        cbpf.MISC_TXA,
        cbpf.ALU_NEG,
        cbpf.RET_K,
        cbpf.RET_A,
    )
)


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
    elif code in cbpf.MEMORY_CODES:
        if insn.k >= cbpf.MEMWORDS:
            raise _malformed(f"scratch memory M[{insn.k}]")
    elif code in (cbpf.ALU | AluOp.DIV, cbpf.ALU | AluOp.MOD):
        if insn.k == 0:
            raise _malformed("division by the constant 0")
    elif not _is_known(code):
        raise _malformed(f"cBPF opcode {code:#06x}")


def _is_known(code: int) -> bool:
    return code in cbpf.ALU_CODES or code in cbpf.IND_SIZE or code in _SIMPLE_CODES


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
