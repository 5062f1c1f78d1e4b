# SPDX-License-Identifier: Apache-2.0
"""A cBPF interpreter with the meaning of libpcap's bpf_filter() (bpf_filter.c).

Shifts by a constant of 32 or more are undefined there; here they leave 0, as shifts by X do.

The kernel differs in two points (net/core/filter.c), and so does `kernel=True`:
- X + k wraps around at 2**32, so that a "negative" X reads before k (libpcap: verdict 0);
- shifts use X modulo 32 (libpcap: a shift by 32 or more leaves 0).
"""

from __future__ import annotations

from collections.abc import Sequence

from pwru_filters import CbpfInsn

U32 = 0xFFFFFFFF
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}


def run(
    program: Sequence[CbpfInsn], packet: bytes, length: int | None = None, *, kernel: bool = False
) -> int:
    """The value that the program returns; length: of the packet on the wire."""
    wire = len(packet) if length is None else length
    cells = [0] * 18  # A, X, M[0] .. M[15]
    pc = 0
    while True:
        insn = program[pc]
        pc += 1
        cls = insn.code & 7
        if cls == 5:
            pc += _jump(insn, cells[0], cells[1])
        elif cls == 6:
            return cells[0] if insn.code & 0x18 == 0x10 else insn.k
        elif cls in (2, 3):
            cells[2 + insn.k] = cells[cls - 2]
        else:
            value = _compute(insn, cells, packet, wire, kernel=kernel)
            if value is None:
                return 0
            target = cls if cls in (0, 1) else (1 if insn.code == 0x07 else 0)
            cells[target] = value & U32


def _compute(
    insn: CbpfInsn, cells: list[int], packet: bytes, wire: int, *, kernel: bool
) -> int | None:
    cls, mode, k = insn.code & 7, insn.code & 0xE0, insn.k
    if cls == 4:
        return _alu(insn, cells[0], cells[1], kernel=kernel)
    if cls == 7:
        return cells[1] if insn.code & 0x80 else cells[0]
    if mode == 0x00:
        return k
    if mode == 0x60:
        return cells[2 + k]
    if mode == 0x80:
        return wire
    start = k + (cells[1] if mode == 0x40 else 0)
    if kernel:
        start &= U32
    size = _SIZES[insn.code & 0x18]
    if start + size > len(packet):
        return None
    value = int.from_bytes(packet[start : start + size], "big")
    return (value & 15) << 2 if mode == 0xA0 else value


def _alu(insn: CbpfInsn, a: int, x: int, *, kernel: bool) -> int | None:
    b = x if insn.code & 8 else insn.k
    op = insn.code & 0xF0
    if op in (0x30, 0x90):
        if b == 0:
            return None
        return a // b if op == 0x30 else a % b
    if op in (0x60, 0x70):
        if kernel:
            b &= 31
        elif b > 31:
            return 0
        return a << b if op == 0x60 else a >> b
    return {
        0x00: a + b,
        0x10: a - b,
        0x20: a * b,
        0x40: a | b,
        0x50: a & b,
        0x80: -a,
        0xA0: a ^ b,
    }[op]


def _jump(insn: CbpfInsn, a: int, x: int) -> int:
    op = insn.code & 0xF0
    if op == 0x00:
        return insn.k
    b = x if insn.code & 8 else insn.k
    taken = {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: a & b != 0}[op]
    return insn.jt if taken else insn.jf
