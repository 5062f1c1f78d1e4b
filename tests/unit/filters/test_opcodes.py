# SPDX-License-Identifier: Apache-2.0
"""One test for every cBPF opcode, jump form and guard, against libpcap's own interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from pwru_filters import CbpfInsn, CompiledFilter, compile_cbpf
from pwru_filters.front.cbpf import ABS_SIZE, ALU_CODES, IND_SIZE, JMP_CODES, AluOp, JmpOp

from . import cbpf_interp, ebpf_interp
from .ebpf_interp import Packet
from .oracles import Libpcap

PACKET = bytes(range(1, 65))
VALUES = (0, 1, 2, 31, 32, 33, 255, 256, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFE, 0xFFFFFFFF)
MATCH, REJECT = CbpfInsn(0x06, 0, 0, 1), CbpfInsn(0x06, 0, 0, 0)
RET_A, TAX, TXA = CbpfInsn(0x16, 0, 0, 0), CbpfInsn(0x07, 0, 0, 0), CbpfInsn(0x87, 0, 0, 0)


def insn(code: int, k: int = 0, jt: int = 0, jf: int = 0) -> CbpfInsn:
    return CbpfInsn(code, jt, jf, k)


def lda(k: int) -> CbpfInsn:
    return insn(0x00, k)


def ldx(k: int) -> CbpfInsn:
    return insn(0x01, k)


def equals(k: int) -> tuple[CbpfInsn, ...]:
    """The end of a program that matches if A is k."""
    return (insn(0x15, k, 0, 1), MATCH, REJECT)


def agree(
    libpcap: Libpcap,
    program: Sequence[CbpfInsn],
    packet: bytes = PACKET,
    length: int | None = None,
) -> bool:
    """The verdict, after all three interpreters gave the same."""
    assert libpcap.validate(program)
    compiled = compile_cbpf("", tuple(program))
    ebpf_interp.check_structure(compiled.ebpf)
    wire = len(packet) if length is None else length
    expected = libpcap.run(program, packet, wire)
    assert cbpf_interp.run(program, packet, wire) == expected
    verdict, _ = ebpf_interp.run(compiled, Packet(packet, wire))
    assert verdict == (expected != 0)
    return verdict


def result(libpcap: Libpcap, program: Sequence[CbpfInsn], packet: bytes = PACKET) -> int:
    """The value of A after `program`, or 0 where it rejects; the compiled program has it too."""
    value = libpcap.run([*program, RET_A], packet)
    agree(libpcap, [*program, RET_A], packet)
    if value:
        assert agree(libpcap, [*program, *equals(value)], packet)
    assert not agree(libpcap, [*program, *equals(value ^ 0x80000001)], packet)
    return value


@pytest.mark.parametrize("code", sorted(ABS_SIZE))
@pytest.mark.parametrize("off", [0, 11, 12, 17, 59, 60, 61, 62, 63, 64, 255, 70000])
def test_absolute_load(libpcap: Libpcap, code: int, off: int) -> None:
    value = result(libpcap, [insn(code, off)])
    inside = off + ABS_SIZE[code] <= len(PACKET)
    assert value == (int.from_bytes(PACKET[off : off + ABS_SIZE[code]], "big") if inside else 0)


@pytest.mark.parametrize("code", sorted(ABS_SIZE))
@pytest.mark.parametrize("off", [251, 252, 253, 254, 255, 256, 300])
def test_absolute_load_around_the_end_of_the_copy(libpcap: Libpcap, code: int, off: int) -> None:
    packet = PACKET * 5
    for end in (off + ABS_SIZE[code] - 1, off + ABS_SIZE[code], len(packet)):
        result(libpcap, [insn(code, off)], packet[:end])


@pytest.mark.parametrize("code", sorted(IND_SIZE))
@pytest.mark.parametrize("x", [0, 4, 31, 60, 61, 62, 63, 64, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFFC])
@pytest.mark.parametrize("off", [0, 3, 4, 64, 0x7FFFFFF0, 0x80000000, 0xFFFFFFFF])
def test_indexed_load(libpcap: Libpcap, code: int, x: int, off: int) -> None:
    result(libpcap, [ldx(x), insn(code, off)])
    result(libpcap, [lda(x), TAX, insn(code, off)])
    stored = [lda(x), insn(0x02, 3), insn(0x61, 3), insn(code, off)]
    result(libpcap, stored)


@pytest.mark.parametrize("code", sorted(IND_SIZE))
def test_indexed_load_by_packet_bytes(libpcap: Libpcap, code: int) -> None:
    """X = 0 .. 255 + 100: from inside the copy to beyond it, and beyond the packet."""
    for x in (0, 17, 18, 150, 151, 152, 153, 154, 155, 156, 252, 255):
        for length in (30, 156 + x, 157 + x, 158 + x, 159 + x, 160 + x, 600):
            packet = (bytes([x]) * 20 + bytes(i & 255 for i in range(1, 600)))[:length]
            result(libpcap, [insn(0x30, 15), TAX, insn(code, 156)], packet)


@pytest.mark.parametrize("code", sorted(IND_SIZE))
@pytest.mark.parametrize("nibble", [0, 5, 15])
def test_indexed_load_by_header_length(libpcap: Libpcap, code: int, nibble: int) -> None:
    packet = bytes(14) + bytes([0x40 | nibble]) + bytes(range(1, 150))
    for length in (14, 15, 4 * nibble + 17, 4 * nibble + 18, 4 * nibble + 20, 160):
        result(libpcap, [insn(0xB1, 14), insn(code, 16)], packet[:length])


def test_two_indexed_loads_share_one_check(libpcap: Libpcap) -> None:
    program = [insn(0xB1, 14), insn(0x48, 14), insn(0x15, 53, 2, 0), insn(0x48, 16), *equals(80)]
    for length in range(80):
        packet = (bytes(14) + b"\x45" + bytes(19) + b"\x00\x35\x00\x50" + bytes(50))[:length]
        assert agree(libpcap, program, packet) == (length >= 36)


@pytest.mark.parametrize("off", [0, 14, 63, 64, 255, 256, 299, 300])
def test_msh(libpcap: Libpcap, off: int) -> None:
    packet = bytes(i * 7 & 255 for i in range(300))
    expected = (packet[off] & 15) << 2 if off < len(packet) else 0
    assert result(libpcap, [lda(7), insn(0xB1, off), TXA], packet) == expected
    if off < len(packet):  # A outlives a load of X that calls a helper
        assert result(libpcap, [lda(7), insn(0xB1, off)], packet) == 7


def test_immediate_length_and_moves(libpcap: Libpcap) -> None:
    for k in VALUES:
        assert result(libpcap, [lda(k)]) == k
        assert result(libpcap, [ldx(k), TXA]) == k
        assert result(libpcap, [lda(k), TAX, lda(1), TXA]) == k
    assert result(libpcap, [insn(0x80)]) == len(PACKET)
    assert result(libpcap, [insn(0x81), TXA]) == len(PACKET)


def test_length_is_that_on_the_wire(libpcap: Libpcap) -> None:
    for code in (0x80, 0x81):
        program = [insn(code), *([TXA] if code == 0x81 else []), *equals(1500)]
        assert agree(libpcap, program, PACKET, 1500)
        assert not agree(libpcap, program, PACKET, 64)


@pytest.mark.parametrize("slot", range(16))
def test_memory(libpcap: Libpcap, slot: int) -> None:
    assert result(libpcap, [lda(77), insn(0x02, slot), lda(1), insn(0x60, slot)]) == 77
    assert result(libpcap, [ldx(78), insn(0x03, slot), insn(0x60, slot)]) == 78
    assert result(libpcap, [lda(79), insn(0x02, slot), insn(0x61, slot), TXA]) == 79


def test_a_x_and_memory_start_as_zero() -> None:
    for program in ([RET_A], [TXA, RET_A], [insn(0x60, 5), RET_A], [insn(0x61, 15), TXA, RET_A]):
        compiled = compile_cbpf("", tuple(program))
        assert not ebpf_interp.run(compiled, Packet(PACKET, 64))[0]
        program[-1:] = equals(0)
        assert ebpf_interp.run(compile_cbpf("", tuple(program)), Packet(PACKET, 64))[0]


@pytest.mark.parametrize("code", sorted(ALU_CODES))
def test_alu(libpcap: Libpcap, code: int) -> None:
    op, by_x = AluOp(code & 0xF0), bool(code & 8)
    for a in VALUES:
        for b in VALUES:
            if by_x:
                result(libpcap, [lda(a), ldx(b), insn(code)])
            elif not (op in (AluOp.DIV, AluOp.MOD) and b == 0) and not (
                op in (AluOp.LSH, AluOp.RSH) and b > 31
            ):
                result(libpcap, [lda(a), insn(code, b)])


def test_negation(libpcap: Libpcap) -> None:
    for a in VALUES:
        assert result(libpcap, [lda(a), insn(0x84)]) == -a & 0xFFFFFFFF


@pytest.mark.parametrize("code", [0x3C, 0x9C])
def test_division_by_x_of_zero_rejects(libpcap: Libpcap, code: int) -> None:
    assert not agree(libpcap, [lda(5), ldx(0), insn(code), MATCH])
    assert agree(libpcap, [lda(5), ldx(1), insn(code), MATCH])


@pytest.mark.parametrize("code", [0x64, 0x74])
@pytest.mark.parametrize("k", [32, 33, 64, 0xFFFFFFFF])
def test_constant_shift_of_32_and_more_leaves_zero(code: int, k: int) -> None:
    """Undefined in C, and refused by libpcap's parser; only a hand-made program has it."""
    compiled = compile_cbpf("", (insn(0x30, 0), insn(code, k), *equals(0)))
    assert ebpf_interp.run(compiled, Packet(PACKET, 64))[0]


@pytest.mark.parametrize("code", sorted(JMP_CODES))
def test_conditional_jump(libpcap: Libpcap, code: int) -> None:
    """All layouts: either way next, neither next, both the same; with constants of all kinds."""
    for a in (*VALUES, 0x0102, 0x01020304):
        for b in (*VALUES, 0x0102, 0x01020304, 0x0201):
            load = [lda(a), ldx(b)]
            ways = ((0, 1), (1, 0), (1, 2), (1, 1))
            for test in (insn(code, b, *way) for way in ways):
                agree(libpcap, [*load, test, MATCH, REJECT, MATCH])
                agree(libpcap, [*load, test, REJECT, MATCH, REJECT])


@pytest.mark.parametrize("load", [insn(0x20, 0), insn(0x28, 0), insn(0x30, 0)])
@pytest.mark.parametrize("op", [op for op in JmpOp if op is not JmpOp.JA])
def test_jump_on_loaded_value(libpcap: Libpcap, load: CbpfInsn, op: JmpOp) -> None:
    """The byte order of A does not show."""
    for k in (0, 1, 0x0102, 0x0201, 0x01020304, 0x04030201, 0x01020000, 0xFFFFFFFF):
        for mask in (0xFFFFFFFF, 0xFF, 0xFF00, 0xFFFF0000, 0x01020304):
            masked = [load, insn(0x54, mask)]
            agree(libpcap, [load, insn(0x05 | op, k, 0, 1), MATCH, REJECT])
            agree(libpcap, [*masked, insn(0x05 | op, k & mask, 0, 1), MATCH, REJECT])
            agree(libpcap, [*masked, insn(0x44, k), insn(0xA4, 0x0102), *equals(k & mask)])


def test_value_used_in_both_byte_orders(libpcap: Libpcap) -> None:
    for k in (0x0102, 0x0201, 0x0100):
        program = [insn(0x28, 0), insn(0x15, k, 2, 0), insn(0x25, 0x0101, 1, 0), REJECT, MATCH]
        agree(libpcap, program)
        joined = [insn(0x30, 5), insn(0x15, 6, 0, 1), insn(0x28, 0), *equals(k)]
        agree(libpcap, joined)


def test_unconditional_jump(libpcap: Libpcap) -> None:
    assert agree(libpcap, [insn(0x05, 1), REJECT, MATCH])
    assert not agree(libpcap, [insn(0x05, 0), REJECT])
    assert agree(libpcap, [lda(1), insn(0x05, 2), REJECT, REJECT, insn(0x05, 0), RET_A])


def test_unreachable_code_is_left_out(libpcap: Libpcap) -> None:
    program = [MATCH, insn(0x20, 5), insn(0x15, 1, 0, 1), MATCH, REJECT]
    assert agree(libpcap, program)
    assert len(compile_cbpf("", tuple(program)).ebpf) == 1


def returns(value: int) -> list[CbpfInsn]:
    """The verdict is A where it is `value`."""
    return [insn(0x15, value, 0, 1), RET_A, REJECT]


def lengths_read(compiled: CompiledFilter) -> list[str]:
    """Of a program that returns A: there checks do not wait for the verdict."""
    return [line for line in compiled.listing().splitlines() if "check caplen" in line]


def test_one_check_for_a_block_and_none_below_it() -> None:
    program = (insn(0x20, 30), insn(0x02, 0), insn(0x30, 5), insn(0x15, 1, 0, 3), insn(0x28, 20),
               *returns(2), REJECT)  # fmt: skip
    assert lengths_read(compile_cbpf("", program)) == ["    check caplen >= 34"]


def test_check_includes_what_every_way_to_a_match_needs() -> None:
    program = (insn(0x28, 12), insn(0x15, 0x800, 0, 3), insn(0x20, 26), *returns(7))
    assert lengths_read(compile_cbpf("", program)) == ["    check caplen >= 30"]


def test_check_is_made_again_where_one_way_lacks_it() -> None:
    program = (insn(0x30, 0), insn(0x15, 1, 0, 1), MATCH, insn(0x30, 9), insn(0x15, 1, 0, 1), MATCH,
               insn(0x30, 40), *returns(7))  # fmt: skip
    assert lengths_read(compile_cbpf("", program)) == [
        "    check caplen >= 1",
        "    check caplen >= 10",
        "    check caplen >= 41",
    ]


def test_known_test_keeps_the_checks_of_its_block(libpcap: Libpcap) -> None:
    """The second test is decided by the first, but its block also needs byte 50."""
    known = [insn(0x30, 50), insn(0x30, 0), insn(0x15, 1, 0, 1), MATCH, REJECT]
    program = [insn(0x30, 0), insn(0x15, 1, 0, 5), *known, REJECT]
    assert agree(libpcap, program, PACKET[:51])
    assert not agree(libpcap, program, PACKET[:50])


def test_verifier_gets_a_bound_where_it_cannot_see_one() -> None:
    """A remainder is below 50 for us, anything for the verifier; a masked value is plain to it."""
    bound = "if r2 > 0x40 goto"
    remainder = (insn(0x28, 14), insn(0x94, 50), TAX, insn(0x50, 14), RET_A)
    assert bound in compile_cbpf("", remainder).listing()
    stored = (insn(0x30, 14), insn(0x54, 49), insn(0x02, 0), insn(0x61, 0), insn(0x50, 14), RET_A)
    assert bound in compile_cbpf("", stored).listing()
    masked = (insn(0x28, 14), insn(0x54, 49), TAX, insn(0x50, 14), RET_A)
    assert bound not in compile_cbpf("", masked).listing()


def test_removed_load_keeps_its_check(libpcap: Libpcap) -> None:
    program = [insn(0x30, 50), lda(1), RET_A]
    assert agree(libpcap, program, bytes(51))
    assert not agree(libpcap, program, bytes(50))
    assert compile_cbpf("", tuple(program)).frame_bytes == 0


def test_indexed_load_stays_as_a_check(libpcap: Libpcap) -> None:
    program = [insn(0xB1, 0), insn(0x50, 4), lda(1), RET_A]
    assert agree(libpcap, program, b"\x4f" + bytes(64))
    assert not agree(libpcap, program, b"\x4f" + bytes(63))


def test_failing_helper_rejects() -> None:
    for program in ([insn(0x30, 300), MATCH], [insn(0xB1, 300), MATCH],
                    [insn(0x30, 0), TAX, insn(0x50, 200), MATCH]):  # fmt: skip
        compiled = compile_cbpf("", tuple(program))
        packet = b"\xff" * 600
        assert ebpf_interp.run(compiled, Packet(packet, 600))[0]
        verdict, machine = ebpf_interp.run(compiled, Packet(packet, 600, fail=True))
        assert not verdict
        assert machine.helper_calls == 1
