# SPDX-License-Identifier: Apache-2.0
"""A strict eBPF interpreter for the fragments that the filter compiler emits.

It knows pointers from numbers, and faults on whatever the kernel's verifier or good sense would
refuse: registers and stack bytes that were never written, frame bytes that the kernel side did
not provide, accesses outside a region, comparisons and 32-bit arithmetic on pointers.

`run` takes a filter for copied frames and runs what the compiler makes of it for viewed ones, too.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from functools import lru_cache

from pwru_filters import Cast, CbpfInsn, CompiledFilter, EbpfInsn, compile_cbpf
from pwru_filters.frame import (
    BASE_VALID_FROM,
    BYTES_OFFSET,
    ETHERTYPE,
    FRAME_MAX,
    MAC_BYTES,
    NEAR,
    NEAR_OFFSET,
    NEAR_VALID_FROM,
    PACKET,
    PROBE_READ_KERNEL,
    VIEW_BYTES,
)

U32 = 0xFFFFFFFF
U64 = 0xFFFFFFFFFFFFFFFF
KERNEL_BASE = 0xFFFF_8880_0000_1000
NEAR_BASE = 0xFFFF_8880_7000_2000
CAST = Cast(func=98765, type=4321)
STACK_LIMIT = 128
EFAULT = -14
_SIZES = {0x00: 4, 0x08: 2, 0x10: 1, 0x18: 8}


class Fault(Exception):
    """The program did something that it must not."""


@dataclass(frozen=True, slots=True)
class Pointer:
    """region: "frame", "stack" or "packet". off: from the start of struct frame, from r10, from
    the frame's first byte."""

    region: str
    off: int


Value = int | Pointer


@dataclass(slots=True)
class Packet:
    """A frame as the kernel side sees it. length: on the wire. fail: helper reads fail."""

    present: bytes
    length: int
    fail: bool = False


@dataclass(slots=True)
class Machine:
    """Registers, stack and frame of one run; executed: instructions so far.

    fresh: the bytes of struct frame that hold what they should. near: what is there, of a viewed
    frame. deferred: what lies past the captured bytes may be looked at. flat: the
    frame is on the stack.
    """

    program: tuple[EbpfInsn, ...]
    packet: Packet
    frame: bytes
    fresh: frozenset[int]
    near: bytes
    registers: list[Value | None] = field(default_factory=lambda: [None] * 11)
    stack: dict[int, int] = field(default_factory=dict)
    deferred: bool = False
    flat: bool = False
    executed: int = 0
    helper_calls: int = 0


def check_structure(program: tuple[EbpfInsn, ...]) -> None:
    """The verifier's CFG check, and more: jumps go forward, none is a filler, there is no exit."""
    reachable = {0}
    for index, insn in enumerate(program):
        if index not in reachable:
            raise Fault(f"unreachable insn {index}")
        assert -(1 << 31) <= insn.imm < 1 << 31
        assert 0 <= insn.dst <= 10
        assert 0 <= insn.src <= 10
        jumps = insn.code & 7 in (5, 6) and insn.code & 0xF0 != 0x80
        if insn.code & 7 in (5, 6) and insn.code & 0xF0 == 0x90:
            raise Fault(f"exit at {index}")
        if jumps:
            if not 0 < insn.off < 1 << 15 or index + 1 + insn.off > len(program):
                raise Fault(f"jump by {insn.off} at {index}")
            reachable.add(index + 1 + insn.off)
        if not jumps or insn.code != 0x05:
            reachable.add(index + 1)
    if len(program) not in reachable:
        raise Fault("the end is not reachable")


def run(compiled: CompiledFilter, packet: Packet) -> tuple[bool, Machine]:
    """Whether the filter matches, and the machine as it was at the end."""
    verdict, machine = _run(compiled, packet)
    viewed = _viewed(compiled.expression, compiled.cbpf)
    if _run(viewed, packet)[0] != verdict:
        raise Fault(f"the viewed frame's verdict is {not verdict}")
    return verdict, machine


@lru_cache(maxsize=2048)
def _viewed(expression: str, cbpf: tuple[CbpfInsn, ...]) -> CompiledFilter:
    compiled = compile_cbpf(expression, cbpf, cast=CAST)
    check_structure(compiled.ebpf)
    return compiled


def _run(compiled: CompiledFilter, packet: Packet) -> tuple[bool, Machine]:
    program = compiled.ebpf
    machine = _view(compiled, packet) if compiled.cast else _copy(compiled, packet)
    if compiled.needs_frame:
        machine.registers[1] = Pointer("frame", 0)
    machine.registers[0] = 0
    machine.registers[10] = Pointer("stack", 0)
    pc = 0
    while pc < len(program):
        pc = _step(machine, program[pc], pc)
    verdict = machine.registers[0]
    if not isinstance(verdict, int):
        raise Fault("r0 holds no number at the end")
    return 0 < verdict <= len(packet.present) + 1, machine


def _header(compiled: CompiledFilter, packet: Packet, near: int) -> tuple[bytes, set[int]]:
    """The fields before bytes, and which of them are set."""
    fresh = set(range(24 if near else 16))
    if not compiled.needs_length:
        fresh -= set(range(12, 16))
    if compiled._lowering.deferred is not None:
        fresh -= set(range(8, 12))
    fields = (KERNEL_BASE, 8), (len(packet.present), 4), (packet.length, 4), (near, 8)
    return b"".join(value.to_bytes(size, "little") for value, size in fields), fresh


def _copy(compiled: CompiledFilter, packet: Packet) -> Machine:
    header, fresh = _header(compiled, packet, 0)
    copied = min(compiled.frame_bytes, len(packet.present))
    stale = random.Random(len(packet.present)).randbytes(FRAME_MAX - copied)
    deferred = compiled._lowering.deferred is not None
    first = 0 if compiled.needs_link else MAC_BYTES
    fresh.update(range(BYTES_OFFSET + first, BYTES_OFFSET + copied))
    if deferred:
        fresh.update(range(BYTES_OFFSET + copied, BYTES_OFFSET + compiled.frame_bytes))
    frame = header + packet.present[:copied] + stale
    return Machine(
        compiled.ebpf, packet, frame, frozenset(fresh), b"", deferred=deferred, flat=compiled.flat
    )


def _write_near(machine: Machine, start: int, data: bytes) -> None:
    """Into the field near, which a copied frame does not use."""
    if machine.near or start != NEAR_OFFSET or len(data) > BYTES_OFFSET - NEAR_OFFSET:
        raise Fault(f"helper writes to struct frame, off {start} size {len(data)}")
    machine.frame = machine.frame[:start] + data + machine.frame[start + len(data) :]
    machine.fresh |= set(range(start, start + len(data)))


def _view(compiled: CompiledFilter, packet: Packet) -> Machine:
    """Bytes that the packet does not have are set, but not to anything in particular."""
    header, fresh = _header(compiled, packet, NEAR_BASE)
    noise = random.Random(len(packet.present)).randbytes(VIEW_BYTES)
    bytes_ = packet.present[:VIEW_BYTES] + noise[len(packet.present) :]
    known = range(VIEW_BYTES) if compiled.needs_link else range(MAC_BYTES, NEAR_VALID_FROM)
    fresh.update(BYTES_OFFSET + place for place in known)
    near = packet.present[: compiled.frame_bytes]
    if compiled._lowering.deferred is not None:  # it may look at what is not the packet's
        near += random.Random(len(near)).randbytes(compiled.frame_bytes - len(near))
    machine = Machine(compiled.ebpf, packet, header + bytes_, frozenset(fresh), near)
    machine.registers[NEAR] = NEAR_BASE
    machine.registers[PACKET] = Pointer("packet", 0)
    machine.registers[ETHERTYPE] = int.from_bytes(bytes_[MAC_BYTES:NEAR_VALID_FROM], "little")
    return machine


def _step(machine: Machine, insn: EbpfInsn, pc: int) -> int:
    machine.executed += 1
    cls = insn.code & 7
    if cls in (4, 7):
        _alu(machine, insn, wide=cls == 7)
    elif cls in (5, 6):
        return _jump(machine, insn, pc, wide=cls == 5)
    elif cls == 1:
        size = _SIZES[insn.code & 0x18]
        _write(machine, insn.dst, _load(machine, _read(machine, insn.src), insn.off, size))
    else:
        value = _number(machine, insn.src) if cls == 3 else insn.imm
        _store(machine, _read(machine, insn.dst), insn.off, _SIZES[insn.code & 0x18], value)
    return pc + 1


def _read(machine: Machine, register: int) -> Value:
    value = machine.registers[register]
    if value is None:
        raise Fault(f"R{register} !read_ok")
    return value


def _number(machine: Machine, register: int) -> int:
    value = _read(machine, register)
    if isinstance(value, Pointer):
        raise Fault(f"R{register} is a pointer")
    return value


def _write(machine: Machine, register: int, value: Value) -> None:
    if register == 10:
        raise Fault("frame pointer is read only")
    machine.registers[register] = value


def _load(machine: Machine, base: Value, off: int, size: int) -> int:
    if not isinstance(base, Pointer):
        raise Fault("load through a number")
    start = base.off + off
    if base.region == "stack":
        places = range(start, start + size)
        if not all(place in machine.stack for place in places):
            raise Fault(f"invalid read from stack off {start}")
        return int.from_bytes(bytes(machine.stack[place] for place in places), "little")
    if base.region == "packet":
        if not NEAR_VALID_FROM <= start <= start + size <= len(machine.near):
            raise Fault(f"near bytes {start} .. {start + size - 1} of {len(machine.near)}")
        return int.from_bytes(machine.near[start : start + size], "little")
    if start < 0 or start + size > len(machine.frame):
        raise Fault(f"invalid access to struct frame, off {start} size {size}")
    if machine.flat and start % size:
        raise Fault(f"misaligned stack access off {start} size {size}")
    if not machine.fresh.issuperset(range(start, start + size)):
        raise Fault(f"frame bytes {start - BYTES_OFFSET} .. +{size} are stale")
    return int.from_bytes(machine.frame[start : start + size], "little")


def _store(machine: Machine, base: Value, off: int, size: int, value: int) -> None:
    if not isinstance(base, Pointer) or base.region != "stack":
        raise Fault("store outside the stack")
    start = base.off + off
    if not -STACK_LIMIT <= start <= -size or start % size:
        raise Fault(f"invalid stack off {start} size {size}")
    data = (value & U64).to_bytes(8, "little")[:size]
    machine.stack.update(zip(range(start, start + size), data, strict=True))


def _alu(machine: Machine, insn: EbpfInsn, *, wide: bool) -> None:
    op = insn.code & 0xF0
    if op == 0xD0:
        low = _number(machine, insn.dst) & (1 << insn.imm) - 1
        data = low.to_bytes(insn.imm // 8, "little")
        return _write(machine, insn.dst, int.from_bytes(data, "big"))
    source = _read(machine, insn.src) if insn.code & 8 else insn.imm & U64
    if op == 0xB0:
        if not wide and isinstance(source, Pointer):
            raise Fault("32-bit move of a pointer")
        return _write(machine, insn.dst, source if wide else _int(source) & U32)
    target = _read(machine, insn.dst)
    if isinstance(target, Pointer) or isinstance(source, Pointer):
        return _write(machine, insn.dst, _pointer_alu(op, target, source, wide=wide))
    mask = U64 if wide else U32
    result = _arithmetic(op, target & mask, source & mask, 63 if wide else 31)
    return _write(machine, insn.dst, result & mask)


def _int(value: Value) -> int:
    if isinstance(value, Pointer):
        raise Fault("a pointer where a number is needed")
    return value


def _pointer_alu(op: int, target: Value, source: Value, *, wide: bool) -> Pointer:
    if not wide or op != 0x00:
        raise Fault("arithmetic on a pointer")
    if isinstance(target, Pointer):
        return Pointer(target.region, target.off + _signed(_int(source), 64))
    assert isinstance(source, Pointer)
    return Pointer(source.region, source.off + _signed(target, 64))


def _signed(value: int, bits: int) -> int:
    return value - (1 << bits) if value >> bits - 1 else value


def _arithmetic(op: int, a: int, b: int, shift_mask: int) -> int:
    if op in (0x30, 0x90) and b == 0:
        raise Fault("division by zero")
    results = {
        0x00: lambda: a + b,
        0x10: lambda: a - b,
        0x20: lambda: a * b,
        0x30: lambda: a // b,
        0x40: lambda: a | b,
        0x50: lambda: a & b,
        0x60: lambda: a << (b & shift_mask),
        0x70: lambda: a >> (b & shift_mask),
        0x80: lambda: -a,
        0x90: lambda: a % b,
        0xA0: lambda: a ^ b,
    }
    return results[op]()


def _jump(machine: Machine, insn: EbpfInsn, pc: int, *, wide: bool) -> int:
    op = insn.code & 0xF0
    if op == 0x80:
        if insn.src:
            _call_kfunc(machine, insn)
        else:
            _call(machine, insn.imm)
        return pc + 1
    if op == 0x00:
        return pc + 1 + insn.off
    bits = 64 if wide else 32
    mask = (1 << bits) - 1
    a = _number(machine, insn.dst) & mask
    b = (_number(machine, insn.src) if insn.code & 8 else insn.imm) & mask
    taken = {
        0x10: a == b,
        0x20: a > b,
        0x30: a >= b,
        0x40: a & b != 0,
        0x50: a != b,
        0xA0: a < b,
        0xB0: a <= b,
        0xC0: _signed(a, bits) < _signed(b, bits),
    }[op]
    return pc + 1 + (insn.off if taken else 0)


def _call_kfunc(machine: Machine, insn: EbpfInsn) -> None:
    if (insn.src, insn.off, insn.imm) != (2, 0, CAST.func) or _number(machine, 2) != CAST.type:
        raise Fault(f"unknown kfunc {insn}")
    pointer = Pointer("packet", _number(machine, 1) - NEAR_BASE)
    machine.registers[:6] = [pointer, *[None] * 5]


def _call(machine: Machine, helper: int) -> None:
    if helper != PROBE_READ_KERNEL:
        raise Fault(f"unknown helper {helper}")
    machine.helper_calls += 1
    destination, size = _read(machine, 1), _number(machine, 2)
    start = _number(machine, 3) - KERNEL_BASE
    present = machine.packet.present
    readable = start >= BASE_VALID_FROM and (machine.deferred or start + size <= len(present))
    if not readable:
        raise Fault(f"helper reads frame bytes {start} .. {start + size - 1}")
    data = bytes(size) if machine.packet.fail else present[start : start + size]
    data += random.Random(start).randbytes(size - len(data))
    if isinstance(destination, Pointer) and destination.region == "frame":
        _write_near(machine, destination.off, data)
    else:
        for place, byte in enumerate(data):
            _store(machine, destination, place, 1, byte)
    machine.registers[:6] = [EFAULT & U64 if machine.packet.fail else 0, *[None] * 5]
