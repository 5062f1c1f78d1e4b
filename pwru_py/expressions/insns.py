# SPDX-License-Identifier: Apache-2.0
"""eBPF instructions (RFC 9669), and labels that jumps forward go to."""

from __future__ import annotations

import struct
from dataclasses import dataclass

_WIRE = struct.Struct("<BBhi")
_LDX, _ST, _STX, _JMP, _ALU64, _ALU = 0x61, 0x62, 0x63, 0x05, 0x07, 0x04
_SIZES = {1: 0x10, 2: 0x08, 4: 0x00, 8: 0x18}
_REGISTER, _GOTO, _CALL, _WIDE, _TO_BE, _END = 0x08, 0x05, 0x85, 0x18, 0x08, 0xD0

R0, R1, R2, R3, R6, R7, R8, R10 = 0, 1, 2, 3, 6, 7, 8, 10
OPERATIONS = {
    "+": 0x00, "-": 0x10, "*": 0x20, "|": 0x40, "&": 0x50, "<<": 0x60, ">>": 0x70, "^": 0xA0,
    "=": 0xB0, ">>>": 0xC0,
}  # fmt: skip
"""``>>>`` keeps the sign; ``=`` is a move."""
JUMPS = {
    "==": 0x10, ">": 0x20, ">=": 0x30, "!=": 0x50, "<": 0xA0, "<=": 0xB0,
    "s>": 0x60, "s>=": 0x70, "s<": 0xC0, "s<=": 0xD0,
}  # fmt: skip
"""With ``s``: by sign."""


class Label:
    """A place further on."""


@dataclass(slots=True)
class _Insn:
    code: int
    registers: int
    off: int
    imm: int
    to: Label | None = None


def fits(value: int) -> bool:
    """Whether an instruction can hold it, which extends its sign."""
    return -(1 << 31) <= value < 1 << 31


class Program:
    """Instructions in their order."""

    def __init__(self) -> None:
        self._insns: list[_Insn] = []
        self._places: dict[Label, int] = {}

    def _add(self, code: int, dst: int, src: int = 0, off: int = 0, imm: int = 0) -> None:
        self._insns.append(_Insn(code, src << 4 | dst, off, imm))

    def load(self, size: int, dst: int, base: int, off: int) -> None:
        """dst = *(size *)(base + off), zero-extended."""
        self._add(_LDX | _SIZES[size], dst, base, off)

    def store(self, size: int, base: int, off: int, src: int) -> None:
        """*(size *)(base + off) = src."""
        self._add(_STX | _SIZES[size], base, src, off)

    def store_number(self, size: int, base: int, off: int, number: int) -> None:
        """*(size *)(base + off) = number, of 32 bits."""
        self._add(_ST | _SIZES[size], base, 0, off, number)

    def set(self, dst: int, value: int) -> None:
        """dst = value, of which 64 bits count."""
        value = (value & (1 << 64) - 1 ^ 1 << 63) - (1 << 63)
        if fits(value):
            self._add(_ALU64 | OPERATIONS["="], dst, imm=value)
            return
        low, high = struct.unpack("<ii", struct.pack("<q", value))
        self._add(_WIDE, dst, imm=low)
        self._add(0, 0, imm=high)

    def calculate(self, operation: str, dst: int, src: int) -> None:
        """dst = dst operation src."""
        self._add(_ALU64 | _REGISTER | OPERATIONS[operation], dst, src)

    def calculate_number(self, operation: str, dst: int, number: int) -> None:
        """The same with a number that ``fits``."""
        self._add(_ALU64 | OPERATIONS[operation], dst, imm=number)

    def swap(self, dst: int, bits: int) -> None:
        """Between network and host order; clears what stands above."""
        self._add(_ALU | _END | _TO_BE, dst, imm=bits)

    def call(self, helper: int) -> None:
        """r0 = helper(r1, r2, r3); r1 to r5 hold nothing then."""
        self._add(_CALL, 0, imm=helper)

    def jump(self, condition: str, dst: int, src: int, to: Label) -> None:
        """If dst condition src."""
        self._add(_JMP & 7 | _REGISTER | JUMPS[condition], dst, src)
        self._insns[-1].to = to

    def jump_number(self, condition: str, dst: int, number: int, to: Label) -> None:
        """The same with a number that ``fits``."""
        self._add(_JMP & 7 | JUMPS[condition], dst, imm=number)
        self._insns[-1].to = to

    def go(self, to: Label) -> None:
        """Always."""
        self._add(_GOTO, 0)
        self._insns[-1].to = to

    def here(self, label: Label) -> None:
        """The label's place. A jump right in front of it that leads to it is taken out."""
        at = len(self._insns)
        last = self._insns[-1] if self._insns else None
        if last and last.to is label and last.code == _GOTO and at not in self._places.values():
            self._insns.pop()
            at -= 1
        self._places[label] = at

    def __len__(self) -> int:
        return len(self._insns)

    def code(self) -> bytes:
        """The bytes; every label has its place."""
        for at, insn in enumerate(self._insns):
            if insn.to is not None:
                insn.off = self._places[insn.to] - at - 1
        return b"".join(
            _WIRE.pack(insn.code, insn.registers, insn.off, insn.imm) for insn in self._insns
        )
