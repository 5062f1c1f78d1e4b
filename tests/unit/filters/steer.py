# SPDX-License-Identifier: Apache-2.0
"""Packets that take the rare ways through a given program.

A cBPF run on a packet that is changed on the way: at a test of loaded bytes the wanted outcome
is drawn, and the bytes are set for it where that is simple. What comes out is only a packet; if
an earlier test reads the same bytes, it went elsewhere, which is fine.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from pwru_filters import CbpfInsn

_SIZES = {0x00: 4, 0x08: 2, 0x10: 1}
_RET, _JMP = 6, 5


@dataclass(slots=True)
class _Loaded:
    """Where A came from: `size` bytes at `start`, masked; size 0 = not from the packet."""

    start: int = 0
    size: int = 0
    mask: int = 0xFFFFFFFF


def steered(
    program: Sequence[CbpfInsn], bases: Sequence[bytes], count: int, seed: str
) -> Iterator[bytes]:
    """`count` packets, always the same for the same arguments."""
    rng = random.Random(seed)
    for _ in range(count):
        packet = bytearray(rng.choice(bases))
        if rng.random() < 0.3:
            packet += rng.randbytes(rng.choice((40, 300, 1500)))
        eager = rng.choice((0.5, 0.9))
        _steer(program, packet, rng, eager)
        yield bytes(packet)


def _steer(
    program: Sequence[CbpfInsn], packet: bytearray, rng: random.Random, eager: float
) -> None:
    """eager: how often a test shall succeed."""
    a, x, origin, pc = 0, 0, _Loaded(), 0
    while program[pc].code & 7 != _RET:
        insn = program[pc]
        pc += 1
        if insn.code & 7 == _JMP:
            if insn.code == 0x05:
                pc += insn.k
                continue
            if not insn.code & 8 and origin.size:
                a = _set(packet, origin, insn, rng, rng.random() < eager)
            taken = _taken(insn, a, x)
            pc += insn.jt if taken else insn.jf
        elif insn.code in (0x20, 0x28, 0x30, 0x40, 0x48, 0x50):
            start = insn.k + (x if insn.code & 0x40 else 0)
            origin = _Loaded(start, _SIZES[insn.code & 0x18])
            if start + origin.size > len(packet):
                return
            a = int.from_bytes(packet[start : start + origin.size], "big")
        elif insn.code == 0xB1:
            if insn.k >= len(packet):
                return
            x = (packet[insn.k] & 15) << 2
        elif insn.code == 0x54:
            origin.mask &= insn.k
            a &= insn.k
        elif insn.code == 0x07:
            x = a
        elif insn.code & 7 in (0, 4, 7):
            origin, a = _Loaded(), 0


def _taken(insn: CbpfInsn, a: int, x: int) -> bool:
    b = x if insn.code & 8 else insn.k
    return {0x10: a == b, 0x20: a > b, 0x30: a >= b, 0x40: a & b != 0}[insn.code & 0xF0]


def _set(
    packet: bytearray, origin: _Loaded, insn: CbpfInsn, rng: random.Random, wanted: bool
) -> int:
    """Change the loaded bytes so that the test comes out as wanted; the new value of A."""
    place = slice(origin.start, origin.start + origin.size)
    old = int.from_bytes(packet[place], "big")
    if _taken(insn, old & origin.mask, 0) == wanted:
        return old & origin.mask
    value = insn.k
    if insn.code & 0xF0 == 0x20:
        value = insn.k + 1 if wanted else insn.k
    elif insn.code & 0xF0 == 0x30:
        value = insn.k if wanted else insn.k - 1
    elif not wanted:
        value = rng.getrandbits(32) & ~insn.k
    new = (old & ~origin.mask | value & origin.mask) & (1 << 8 * origin.size) - 1
    packet[place] = new.to_bytes(origin.size, "big")
    return new & origin.mask
