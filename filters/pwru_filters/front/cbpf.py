# SPDX-License-Identifier: Apache-2.0
"""Classic BPF as libpcap emits it (`struct bpf_insn`, pcap/bpf.h): opcodes and instruction."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntEnum
from typing import Final

MEMWORDS: Final = 16
U32_MAX: Final = 0xFFFFFFFF

# Instruction classes, the low three bits of the code.
CLASS_MASK: Final = 0x07
LD: Final = 0x00
LDX: Final = 0x01
ST: Final = 0x02
STX: Final = 0x03
ALU: Final = 0x04
JMP: Final = 0x05
RET: Final = 0x06
MISC: Final = 0x07

# Operation and operand of ALU and JMP.
OP_MASK: Final = 0xF0
SRC_X: Final = 0x08


class AluOp(IntEnum):
    """Operation bits of a BPF_ALU code; the same numbers in eBPF."""

    ADD = 0x00
    SUB = 0x10
    MUL = 0x20
    DIV = 0x30
    OR = 0x40
    AND = 0x50
    LSH = 0x60
    RSH = 0x70
    NEG = 0x80
    MOD = 0x90
    XOR = 0xA0


class JmpOp(IntEnum):
    """Operation bits of a BPF_JMP code; the same numbers in eBPF."""

    JA = 0x00
    JEQ = 0x10
    JGT = 0x20
    JGE = 0x30
    JSET = 0x40


# Complete codes of the other classes.
LD_W_ABS: Final = 0x20
LD_H_ABS: Final = 0x28
LD_B_ABS: Final = 0x30
LD_W_IND: Final = 0x40
LD_H_IND: Final = 0x48
LD_B_IND: Final = 0x50
LD_IMM: Final = 0x00
LD_MEM: Final = 0x60
LD_LEN: Final = 0x80
LDX_IMM: Final = 0x01
LDX_MEM: Final = 0x61
LDX_LEN: Final = 0x81
LDX_MSH: Final = 0xB1
RET_K: Final = 0x06
RET_A: Final = 0x16
MISC_TAX: Final = 0x07
MISC_TXA: Final = 0x87

ABS_SIZE: Final = {LD_W_ABS: 4, LD_H_ABS: 2, LD_B_ABS: 1}
IND_SIZE: Final = {LD_W_IND: 4, LD_H_IND: 2, LD_B_IND: 1}
MEMORY_CODES: Final = (LD_MEM, LDX_MEM, ST, STX)

# `ja` and the jumps by jt/jf with either operand, the arithmetic with either operand.
JMP_CODES: Final = frozenset(
    JMP | op | src for op in JmpOp if op is not JmpOp.JA for src in (0, SRC_X)
)
JMP_JA: Final = JMP | JmpOp.JA
ALU_NEG: Final = ALU | AluOp.NEG
ALU_CODES: Final = frozenset(
    ALU | op | src for op in AluOp if op is not AluOp.NEG for src in (0, SRC_X)
)


@dataclass(frozen=True, slots=True)
class CbpfInsn:
    """One `struct bpf_insn`. jt, jf: instructions to skip. k: unsigned, 0 .. 2**32 - 1."""

    code: int
    jt: int
    jf: int
    k: int


CbpfProgram = tuple[CbpfInsn, ...]
