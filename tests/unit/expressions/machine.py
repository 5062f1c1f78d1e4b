# SPDX-License-Identifier: Apache-2.0
"""A strict eBPF machine for what expressions become, on memory that a test makes.

It faults on what the verifier refuses: registers and stack bytes that nobody wrote, jumps back or
to the middle of a wide instruction, instructions that nothing leads to, too much stack.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

from pwru_py.expressions.code import PROBE_READ_KERNEL, PROBE_READ_KERNEL_STR, STACK_MAX

SECTION, STACK_TOP = 0x5EC7_0000_0000, 0x57AC_0000_0000
_MASK = (1 << 64) - 1
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}
_GOTO, _CALL, _WIDE = 0x05, 0x85, 0x18


class Fault(Exception):
    """The program did something that the kernel would not let it do."""


@dataclass
class Memory:
    """Regions of the kernel by their first address; the rest cannot be read."""

    regions: dict[int, bytes] = field(default_factory=dict)

    def read(self, address: int, count: int) -> bytes | None:
        for base, data in self.regions.items():
            if base <= address and address + count <= base + len(data):
                return data[address - base : address - base + count]
        return None

    def string(self, address: int, most: int) -> bytes | None:
        """As strncpy_from_kernel_nofault(): up to the zero, which is always there."""
        out = b""
        while len(out) < most - 1:
            byte = self.read(address + len(out), 1)
            if byte is None:
                return None
            if byte == b"\0":
                break
            out += byte
        return out + b"\0"


def check(code: bytes) -> None:
    """The verifier's look at the ways through it: forward, and to every instruction."""
    insns = list(struct.iter_unpack("<BBhi", code))
    reached, at = {0}, 0
    while at < len(insns):
        if at not in reached:
            raise Fault(f"nothing leads to {at}")
        op, _registers, off, _imm = insns[at]
        wide = 2 if op == _WIDE else 1
        jumps = op & 7 in (5, 6) and op != _CALL
        if jumps:
            if off < 0 or at + 1 + off > len(insns):
                raise Fault(f"a jump by {off} at {at}")
            reached.add(at + 1 + off)
        if op != _GOTO:
            reached.add(at + wide)
        at += wide
    if len(insns) not in reached:
        raise Fault("nothing leads to the end")


class Machine:
    """Runs code with an sk_buff in r1 and a section in r2."""

    def __init__(self, memory: Memory, skb: int, section_bytes: int = 0) -> None:
        self._memory = memory
        self.section = bytearray(b"\xaa" * section_bytes)
        self._stack: dict[int, int] = {}
        self._registers: list[int | None] = [None] * 11
        self._registers[0], self._registers[1], self._registers[10] = 0, skb, STACK_TOP
        self._registers[2] = SECTION if section_bytes else None

    def run(self, code: bytes) -> int:
        """What is in r0 at the end."""
        check(code)
        insns = list(struct.iter_unpack("<BBhi", code))
        at = 0
        while at < len(insns):
            op, registers, off, imm = insns[at]
            dst, src = registers & 15, registers >> 4
            if op == _WIDE:
                self._registers[dst] = imm & 0xFFFFFFFF | (insns[at + 1][3] & 0xFFFFFFFF) << 32
                at += 2
                continue
            at += 1
            if op == _CALL:
                self._call(imm)
            elif op == _GOTO or (op & 7 == 5 and self._jumps(op, dst, src, imm)):
                at += off
            elif op & 7 == 1:
                data = self._bytes(self._get(src) + off, _SIZES[op & 0x18])
                self._registers[dst] = int.from_bytes(data, "little")
            elif op & 7 in (2, 3):
                value = imm if op & 7 == 2 else self._get(src)
                size = _SIZES[op & 0x18]
                self._write(self._get(dst) + off, (value & _MASK).to_bytes(8, "little")[:size])
            elif op & 7 in (4, 7):
                self._calculate(op, dst, src, imm)
        return self._get(0)

    def _get(self, register: int) -> int:
        value = self._registers[register]
        if value is None:
            raise Fault(f"r{register} holds nothing")
        return value

    def _bytes(self, address: int, count: int) -> bytes:
        if address >= SECTION:
            raise Fault("the section is read")
        at = address - STACK_TOP
        try:
            return bytes(self._stack[at + i] for i in range(count))
        except KeyError:
            raise Fault(f"the stack holds nothing at {at}") from None

    def _write(self, address: int, data: bytes) -> None:
        if address >= SECTION and address + len(data) <= SECTION + len(self.section):
            self.section[address - SECTION : address - SECTION + len(data)] = data
            return
        at = address - STACK_TOP
        if not -STACK_MAX <= at <= -len(data):
            raise Fault(f"{len(data)} bytes are written to {at} of the stack")
        self._stack.update({at + i: byte for i, byte in enumerate(data)})

    def _call(self, helper: int) -> None:
        to, count, address = (self._get(register) for register in (1, 2, 3))
        if helper == PROBE_READ_KERNEL:
            data = self._memory.read(address, count)
            self._registers[0] = 0 if data is not None else -14 & _MASK
            self._write(to, data if data is not None else bytes(count))
        elif helper == PROBE_READ_KERNEL_STR:
            data = self._memory.string(address, count)
            self._registers[0] = len(data) if data is not None else -14 & _MASK
            self._write(to, (data or b"").ljust(count, b"\x55"))
        else:
            raise Fault(f"helper {helper}")
        for register in range(1, 6):
            self._registers[register] = None

    def _jumps(self, op: int, dst: int, src: int, imm: int) -> bool:
        left = self._get(dst)
        right = self._get(src) if op & 8 else imm & _MASK
        kind = op & 0xF0
        if kind in (0x60, 0x70, 0xC0, 0xD0):
            left, right = (value - (value >> 63 << 64) for value in (left, right))
        return {
            0x10: left == right, 0x50: left != right,
            0x20: left > right, 0x60: left > right, 0x30: left >= right, 0x70: left >= right,
            0xA0: left < right, 0xC0: left < right, 0xB0: left <= right, 0xD0: left <= right,
        }[kind]  # fmt: skip

    def _calculate(self, op: int, dst: int, src: int, imm: int) -> None:
        kind = op & 0xF0
        if kind == 0xD0:
            data = (self._get(dst) & (1 << imm) - 1).to_bytes(imm // 8, "little")
            self._registers[dst] = int.from_bytes(data, "big")
            return
        if op & 7 == 4:
            raise Fault("arithmetic of 32 bits")
        right = self._get(src) if op & 8 else imm & _MASK
        left = 0 if kind == 0xB0 else self._get(dst)
        self._registers[dst] = {
            0x00: left + right, 0x10: left - right, 0x20: left * right, 0x40: left | right,
            0x50: left & right, 0x60: left << (right & 63), 0x70: left >> (right & 63),
            0xA0: left ^ right, 0xB0: right,
            0xC0: (left - (left >> 63 << 64)) >> (right & 63),
        }[kind] & _MASK  # fmt: skip
