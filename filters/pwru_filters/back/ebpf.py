# SPDX-License-Identifier: Apache-2.0
"""eBPF instructions (RFC 9669, `struct bpf_insn` of include/uapi/linux/bpf.h) and constructors.

Names: `w` = 32-bit operation, which clears the upper half; `r` = 64-bit operation.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from ..front.cbpf import SRC_X, U32_MAX, AluOp

LDX_CLASS: Final = 0x01
ST_CLASS: Final = 0x02
STX_CLASS: Final = 0x03
ALU32_CLASS: Final = 0x04
JMP_CLASS: Final = 0x05
JMP32_CLASS: Final = 0x06
ALU64_CLASS: Final = 0x07
MEM_MODE: Final = 0x60
SIZE_BITS: Final = {4: 0x00, 2: 0x08, 1: 0x10, 8: 0x18}

MOV: Final = 0xB0
END: Final = 0xD0
JA: Final = 0x00
JEQ: Final = 0x10
JGT: Final = 0x20
JGE: Final = 0x30
JSET: Final = 0x40
JNE: Final = 0x50
CALL: Final = 0x80
JLT: Final = 0xA0
JLE: Final = 0xB0
JSLT: Final = 0xC0

INVERSE_JUMP: Final = {JEQ: JNE, JGT: JLE, JGE: JLT}
R0: Final = 0
R10: Final = 10

_WIRE: Final = struct.Struct("<BBhi")


@dataclass(frozen=True, slots=True)
class EbpfInsn:
    """One instruction. off: s16, in instructions for jumps. imm: s32."""

    code: int
    dst: int
    src: int
    off: int
    imm: int

    def to_bytes(self) -> bytes:
        """Eight bytes, little-endian host order."""
        return _WIRE.pack(self.code, self.src << 4 | self.dst, self.off, self.imm)


def signed32(value: int) -> int:
    """The s32 with the same bits as an unsigned 32-bit value."""
    return (value & U32_MAX ^ 0x80000000) - 0x80000000


def load(size: int, dst: int, base: int, off: int) -> EbpfInsn:
    """dst = *(size *)(base + off), zero-extended."""
    return EbpfInsn(LDX_CLASS | MEM_MODE | SIZE_BITS[size], dst, base, off, 0)


def store_w(base: int, off: int, src: int) -> EbpfInsn:
    """*(u32 *)(base + off) = src."""
    return EbpfInsn(STX_CLASS | MEM_MODE, base, src, off, 0)


def store_w_imm(base: int, off: int, imm: int) -> EbpfInsn:
    """*(u32 *)(base + off) = imm."""
    return EbpfInsn(ST_CLASS | MEM_MODE, base, 0, off, imm)


def to_be(size: int, reg: int) -> EbpfInsn:
    """Convert between network and host order in place; clears the bits above `size` bytes."""
    return EbpfInsn(ALU32_CLASS | END | SRC_X, reg, 0, 0, size * 8)


def mov_w_imm(dst: int, imm: int) -> EbpfInsn:
    """32-bit dst = imm."""
    return EbpfInsn(ALU32_CLASS | MOV, dst, 0, 0, signed32(imm))


def mov_w(dst: int, src: int) -> EbpfInsn:
    """32-bit dst = src."""
    return EbpfInsn(ALU32_CLASS | MOV | SRC_X, dst, src, 0, 0)


def mov_r(dst: int, src: int) -> EbpfInsn:
    """64-bit dst = src."""
    return EbpfInsn(ALU64_CLASS | MOV | SRC_X, dst, src, 0, 0)


def mov_r_imm(dst: int, imm: int) -> EbpfInsn:
    """64-bit dst = sign-extended imm."""
    return EbpfInsn(ALU64_CLASS | MOV, dst, 0, 0, imm)


def alu_w_imm(op: AluOp, dst: int, imm: int) -> EbpfInsn:
    """32-bit dst = dst op imm."""
    return EbpfInsn(ALU32_CLASS | op, dst, 0, 0, signed32(imm))


def alu_w(op: AluOp, dst: int, src: int) -> EbpfInsn:
    """32-bit dst = dst op src."""
    return EbpfInsn(ALU32_CLASS | op | SRC_X, dst, src, 0, 0)


def alu_r_imm(op: AluOp, dst: int, imm: int) -> EbpfInsn:
    """64-bit dst = dst op sign-extended imm."""
    return EbpfInsn(ALU64_CLASS | op, dst, 0, 0, imm)


def alu_r(op: AluOp, dst: int, src: int) -> EbpfInsn:
    """64-bit dst = dst op src."""
    return EbpfInsn(ALU64_CLASS | op | SRC_X, dst, src, 0, 0)


def goto() -> EbpfInsn:
    """An unconditional jump; the assembler fills the offset."""
    return EbpfInsn(JMP_CLASS | JA, 0, 0, 0, 0)


def jump_w_imm(op: int, dst: int, imm: int) -> EbpfInsn:
    """Compare the low 32 bits of dst with imm; the assembler fills the offset."""
    return EbpfInsn(JMP32_CLASS | op, dst, 0, 0, signed32(imm))


def jump_w(op: int, dst: int, src: int) -> EbpfInsn:
    """Compare the low 32 bits of dst and src; the assembler fills the offset."""
    return EbpfInsn(JMP32_CLASS | op | SRC_X, dst, src, 0, 0)


def jump_r_imm(op: int, dst: int, imm: int) -> EbpfInsn:
    """Compare 64 bits of dst with sign-extended imm; the assembler fills the offset."""
    return EbpfInsn(JMP_CLASS | op, dst, 0, 0, imm)


def jump_r(op: int, dst: int, src: int) -> EbpfInsn:
    """Compare 64 bits of dst and src; the assembler fills the offset."""
    return EbpfInsn(JMP_CLASS | op | SRC_X, dst, src, 0, 0)


def call_kfunc(btf_id: int) -> EbpfInsn:
    """Call a function of the kernel by its BTF id (BPF_PSEUDO_KFUNC_CALL); as `call` otherwise."""
    return EbpfInsn(JMP_CLASS | CALL, 0, 2, 0, btf_id)


def call(helper_id: int) -> EbpfInsn:
    """Call a kernel helper: r1-r5 are its arguments and are lost, r0 is its answer."""
    return EbpfInsn(JMP_CLASS | CALL, 0, 0, 0, helper_id)
