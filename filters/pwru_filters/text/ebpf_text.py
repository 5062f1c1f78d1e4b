# SPDX-License-Identifier: Apache-2.0
"""eBPF in the style of the kernel verifier's log (kernel/bpf/disasm.c)."""

from __future__ import annotations

from typing import Final

from ..back import ebpf
from ..back.ebpf import EbpfInsn
from ..frame import (
    BYTES_OFFSET,
    CAPLEN_OFFSET,
    ETHERTYPE,
    FRAME_MAX,
    LEN_OFFSET,
    NEAR,
    NEAR_OFFSET,
    PACKET,
    PROBE_READ_KERNEL,
    VIEW_BYTES,
)
from ..front.cbpf import CLASS_MASK, OP_MASK, SRC_X, AluOp
from ..passes.lowering import Lowering

_ALU: Final = {
    AluOp.ADD: "+=",
    AluOp.SUB: "-=",
    AluOp.MUL: "*=",
    AluOp.DIV: "/=",
    AluOp.OR: "|=",
    AluOp.AND: "&=",
    AluOp.LSH: "<<=",
    AluOp.RSH: ">>=",
    AluOp.MOD: "%=",
    AluOp.XOR: "^=",
    ebpf.MOV: "=",
}
_JUMP: Final = {
    ebpf.JEQ: "==",
    ebpf.JGT: ">",
    ebpf.JGE: ">=",
    ebpf.JSET: "&",
    ebpf.JNE: "!=",
    ebpf.JLT: "<",
    ebpf.JLE: "<=",
    ebpf.JSLT: "s<",
}
_SIZE: Final = {0x00: "u32", 0x08: "u16", 0x10: "u8", 0x18: "u64"}
_HELPERS: Final = {PROBE_READ_KERNEL: "bpf_probe_read_kernel"}


def ebpf_lines(program: tuple[EbpfInsn, ...]) -> list[str]:
    """One line for each instruction, for example `2: (55) if r2 != 0x8 goto pc+3`."""
    return [f"{index}: ({insn.code:02x}) {text(insn)}" for index, insn in enumerate(program)]


def frame_line(lowering: Lowering) -> str:
    """Where the fields of struct frame are that the program reads."""
    start = f"frame in r1: base u64 @0, caplen u32 @{CAPLEN_OFFSET}, len u32 @{LEN_OFFSET}, "
    if lowering.cast is None:
        return f"{start}bytes[{FRAME_MAX}] @{BYTES_OFFSET}"
    return (
        f"{start}near u64 @{NEAR_OFFSET}, bytes[{VIEW_BYTES}] @{BYTES_OFFSET}\n"
        f"near in r{NEAR}, as a pointer in r{PACKET}, frame[12:2] in r{ETHERTYPE}"
    )


def text(insn: EbpfInsn) -> str:
    """One instruction; only those that this compiler emits."""
    cls = insn.code & CLASS_MASK
    if cls in (ebpf.ALU32_CLASS, ebpf.ALU64_CLASS):
        return _alu_text(insn, "w" if cls == ebpf.ALU32_CLASS else "r")
    if cls in (ebpf.JMP_CLASS, ebpf.JMP32_CLASS):
        return _jump_text(insn, "w" if cls == ebpf.JMP32_CLASS else "r")
    size = _SIZE[insn.code & 0x18]
    if cls == ebpf.LDX_CLASS:
        return f"r{insn.dst} = *({size} *)(r{insn.src} {insn.off:+d})"
    value = f"r{insn.src}" if cls == ebpf.STX_CLASS else str(insn.imm)
    return f"*({size} *)(r{insn.dst} {insn.off:+d}) = {value}"


def _alu_text(insn: EbpfInsn, width: str) -> str:
    dst = f"{width}{insn.dst}"
    op = insn.code & OP_MASK
    if op == ebpf.END:
        return f"r{insn.dst} = be{insn.imm} r{insn.dst}"
    if op == AluOp.NEG:
        return f"{dst} = -{dst}"
    value = f"{width}{insn.src}" if insn.code & SRC_X else str(insn.imm)
    return f"{dst} {_ALU[op]} {value}"


def _jump_text(insn: EbpfInsn, width: str) -> str:
    op = insn.code & OP_MASK
    if op == ebpf.CALL:
        name = _HELPERS[insn.imm] if insn.src == 0 else "bpf_rdonly_cast"
        return f"call {name}#{insn.imm}"
    if op == ebpf.JA:
        return f"goto pc{insn.off:+d}"
    value = f"{width}{insn.src}" if insn.code & SRC_X else f"{insn.imm & 0xFFFFFFFF:#x}"
    return f"if {width}{insn.dst} {_JUMP[op]} {value} goto pc{insn.off:+d}"
