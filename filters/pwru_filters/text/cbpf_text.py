# SPDX-License-Identifier: Apache-2.0
"""cBPF in the format of `tcpdump -d` (libpcap, bpf_image.c)."""

from __future__ import annotations

from typing import Final

from ..back.ebpf import signed32
from ..front import cbpf
from ..front.cbpf import AluOp, CbpfInsn, CbpfProgram, JmpOp

_LOADS: Final = {
    cbpf.LD_W_ABS: ("ld", "[{}]"),
    cbpf.LD_H_ABS: ("ldh", "[{}]"),
    cbpf.LD_B_ABS: ("ldb", "[{}]"),
    cbpf.LD_W_IND: ("ld", "[x + {}]"),
    cbpf.LD_H_IND: ("ldh", "[x + {}]"),
    cbpf.LD_B_IND: ("ldb", "[x + {}]"),
    cbpf.LDX_MSH: ("ldxb", "4*([{}]&0xf)"),
    cbpf.LD_MEM: ("ld", "M[{}]"),
    cbpf.LDX_MEM: ("ldx", "M[{}]"),
    cbpf.ST: ("st", "M[{}]"),
    cbpf.STX: ("stx", "M[{}]"),
    cbpf.RET_K: ("ret", "#{}"),
    cbpf.RET_A: ("ret", ""),
    cbpf.LD_LEN: ("ld", "#pktlen"),
    cbpf.LDX_LEN: ("ldx", "#pktlen"),
    cbpf.ALU_NEG: ("neg", ""),
    cbpf.MISC_TAX: ("tax", ""),
    cbpf.MISC_TXA: ("txa", ""),
}
_HEX_CONSTANTS: Final = {cbpf.LD_IMM: "ld", cbpf.LDX_IMM: "ldx"}
_HEX_ALU: Final = (AluOp.AND, AluOp.OR, AluOp.XOR)


def cbpf_lines(program: CbpfProgram) -> list[str]:
    """One line for each instruction, for example `(001) jeq      #0x800           jt 2\\tjf 5`."""
    return [_line(index, insn) for index, insn in enumerate(program)]


def _line(index: int, insn: CbpfInsn) -> str:
    op, operand = _image(index, insn)
    if insn.code in cbpf.JMP_CODES:
        then, other = index + 1 + insn.jt, index + 1 + insn.jf
        return f"({index:03d}) {op:<8} {operand:<16} jt {then}\tjf {other}"
    return f"({index:03d}) {op:<8} {operand}"


def _image(index: int, insn: CbpfInsn) -> tuple[str, str]:
    code, k = insn.code, insn.k
    if code in _LOADS:
        op, operand = _LOADS[code]
        return op, operand.format(signed32(k))
    if code in _HEX_CONSTANTS:
        return _HEX_CONSTANTS[code], f"#{k:#x}"
    if code == cbpf.JMP_JA:
        return "ja", str(signed32(index + 1 + k))
    if code in cbpf.JMP_CODES:
        name = JmpOp(code & cbpf.OP_MASK).name.lower()
        return name, "x" if code & cbpf.SRC_X else f"#{k:#x}"
    if code in cbpf.ALU_CODES:
        return _alu_image(code, k)
    return "unimp", f"{code:#x}"


def _alu_image(code: int, k: int) -> tuple[str, str]:
    op = AluOp(code & cbpf.OP_MASK)
    if code & cbpf.SRC_X:
        return op.name.lower(), "x"
    return op.name.lower(), f"#{k:#x}" if op in _HEX_ALU else f"#{signed32(k)}"
