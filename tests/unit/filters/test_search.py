# SPDX-License-Identifier: Apache-2.0
"""Long lists of values: searched, and they mean the same on every packet, of every length."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st
from pwru_filters import CbpfInsn, compile_cbpf, compile_filter

from . import ebpf_interp
from .ebpf_interp import Packet
from .oracles import Libpcap
from .test_api import long_list
from .test_merge import AND, END, JEQ, JSET, LOAD
from .test_opcodes import MATCH, PACKET, REJECT, RET_A, agree, insn

FIELDS = {"source": (4, 26), "target": (4, 30), "port": (2, 34), "protocol": (1, 23)}
MASK = 0xFFFFFF00
JGT, JGE = 0x25, 0x35


@dataclass(frozen=True)
class Comparison:
    """A is loaded from the field, or is as it was; is it what the packet has, plus `off`?

    turned: if so, the verdict is the other one.
    """

    field: str | None
    masked: bool
    off: int
    turned: bool

    def code(self) -> list[CbpfInsn]:
        """All before the jump."""
        if self.field is None:
            return []
        size, off = FIELDS[self.field]
        return [insn(LOAD[size], off), *([insn(AND, MASK)] if self.masked else [])]

    def value(self, field: str, masked: bool) -> int:
        size, off = FIELDS[field]
        value = int.from_bytes(PACKET[off : off + size], "big")
        return ((value & MASK if masked else value) + self.off) % (1 << 32)


def comparisons(fields: tuple[str | None, ...]) -> st.SearchStrategy[Comparison]:
    # Near the packet's, as what is near is sorted near; rarely its own, which would end the list.
    offs = st.integers(-20, 20) | st.integers(1, 20)
    rarely = st.sampled_from((False,) * 15 + (True,))
    return st.builds(Comparison, st.sampled_from(fields), rarely, offs, rarely)


def lists() -> st.SearchStrategy[list[Comparison]]:
    """Of one field or several, in turns or one after the other."""
    names = st.lists(st.sampled_from(tuple(FIELDS)), min_size=1, max_size=3)
    return names.flatmap(
        lambda found: st.lists(comparisons((*found, *found, None)), min_size=10, max_size=60)
    )


BEHIND = {
    "reject": [REJECT],
    "match": [MATCH],
    "a is read": [insn(AND, 8), RET_A],
    "a shorter frame goes on": [insn(LOAD[1], 8), insn(JEQ, PACKET[8], 0, 1), MATCH, REJECT],
}


def program(
    found: list[Comparison], then: CbpfInsn, behind: list[CbpfInsn], way_in: int
) -> list[CbpfInsn]:
    """The tests, each with a jump to `then` at the end; a second way leads to the `way_in`-th."""
    turned = REJECT if then == MATCH else MATCH
    field, masked = "source", False
    code: list[CbpfInsn] = [insn(LOAD[4], 26)]
    starts: list[int] = []
    jumps: dict[int, bool] = {}
    for test in found:
        if test.field is not None:
            field, masked = test.field, test.masked
        starts.append(len(code))
        code += test.code()
        jumps[len(code)] = test.turned
        code.append(insn(JEQ, test.value(field, masked)))
    code += behind
    for at, other in jumps.items():
        code[at] = insn(JEQ, code[at].k, len(code) - at - 1 + other, 0)
    ahead = [insn(LOAD[1], 9), insn(JSET, 0x40, starts[way_in % len(starts)], 0)]
    return [*ahead, *code, then, turned]


@settings(max_examples=300)
@given(
    lists(), st.sampled_from((MATCH, REJECT)), st.sampled_from(sorted(BEHIND)), st.integers(0, 9)
)
def test_they_mean_the_same(
    libpcap: Libpcap, found: list[Comparison], then: CbpfInsn, behind: str, way_in: int
) -> None:
    code = program(found, then, BEHIND[behind], way_in)
    for length in (END, 8, 9, *range(23, 37)):
        agree(libpcap, code, PACKET[:length])
    for at in (8, 9, 23, 27, 29, 33, 35):
        for flip in (1, 2, 0x45):
            packet = bytearray(PACKET[:END])
            packet[at] ^= flip
            agree(libpcap, code, bytes(packet))


def steps(expression: str, frame: bytes) -> tuple[bool, int]:
    """The verdict, and how many instructions it took."""
    matches, machine = ebpf_interp.run(compile_filter(expression), Packet(frame, len(frame)))
    return matches, machine.executed


def udp(source: int, target: int) -> bytes:
    addresses = source.to_bytes(4, "big") + target.to_bytes(4, "big")
    return bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x11\0\0" + addresses + bytes(20)


def test_a_thousand_hosts_take_a_few_steps() -> None:
    for source, target, matches in (
        (0x0A000001, 1, True), (1, 0x0A03E701, True), (1, 2, False), (1, 0x0A03E702, False),
    ):  # fmt: skip
        verdict, taken = steps(long_list("host", 1000), udp(source, target))
        assert verdict == matches
        assert taken < 60
    short = steps(long_list("host", 5), udp(1, 2))[1]
    assert short < 20


def test_nets_of_one_width_and_ports_are_lists_too() -> None:
    nets = " or ".join(f"src net 10.{n}.0.0/16" for n in range(200))
    ports = "udp and (" + " or ".join(f"dst port {n}" for n in range(100, 300)) + ")"
    for expression in (nets, ports):
        verdict, taken = steps(expression, udp(0x0B000001, 2))
        assert not verdict
        assert taken < 45


def test_short_lists_are_left_in_network_order() -> None:
    for count, swapped in ((8, False), (9, True)):
        code = [insn(LOAD[4], 30)]
        code += [insn(JEQ, n * 7, count - n, 0) for n in range(count)]
        listing = compile_cbpf("", (*code, REJECT, MATCH)).listing()
        assert ("if A > " in listing) == swapped, listing


def in_turns(
    found: list[tuple[str, int]], behind: list[CbpfInsn], then: tuple[CbpfInsn, ...] = (MATCH,)
) -> list[CbpfInsn]:
    """To `then` where one of the fields has its value; "": the field before."""
    code: list[CbpfInsn] = []
    for field, k in found:
        if field:
            size, off = FIELDS[field]
            code.append(insn(LOAD[size], off))
        code.append(insn(JEQ, k))
    code += behind
    for at, one in enumerate(code[: -len(behind)]):
        if one.code == JEQ:
            code[at] = insn(JEQ, one.k, len(code) - at - 1, 0)
    return [*code, *then]


def test_a_frame_too_short_for_a_test_before_reaches_none_behind_it(libpcap: Libpcap) -> None:
    value = int.from_bytes(PACKET[26:30], "big")
    found = [("source", 7), ("target", 7), *(("source", value - n) for n in range(12))]
    for length in range(28, END):
        assert agree(libpcap, in_turns(found, [REJECT]), PACKET[:length]) == (length >= 34)


def test_what_is_read_behind_a_list_is_what_it_loaded_last(libpcap: Libpcap) -> None:
    found = [(field, 7 * n) for n in range(12) for field in ("source", "protocol")]
    for last in ([], [("source", 1)], [("port", 1)]):
        for bit in range(8):
            agree(libpcap, in_turns([*found, *last], [insn(AND, 1 << bit), RET_A]), PACKET)


def test_what_is_read_after_a_hit_is_what_was_hit_first(libpcap: Libpcap) -> None:
    target, protocol = int.from_bytes(PACKET[30:34], "big"), PACKET[23]
    found = [("target", 1), ("protocol", protocol), ("target", target)]
    found += [("target", 7 * n) for n in range(12)]
    for bit in range(8):
        agree(libpcap, in_turns(found, [REJECT], (insn(AND, 1 << bit), RET_A)), PACKET)


def test_what_is_not_loaded_again_is_what_was_loaded_last(libpcap: Libpcap) -> None:
    value = int.from_bytes(PACKET[26:30], "big")
    found = [("source", 7), ("target", 7), ("", 9), *(("target", 7 * n) for n in range(12))]
    assert agree(libpcap, in_turns([*found, ("source", 8), ("", value)], [REJECT]), PACKET)
    assert not agree(libpcap, in_turns([*found, ("source", 8), ("", 11)], [REJECT]), PACKET)


def test_each_value_is_found_and_none_beside_them(libpcap: Libpcap) -> None:
    for count in (9, 17, 40):
        code = in_turns([("target", 5 * n) for n in range(count)], [REJECT])
        for value in (*range(5 * count + 2), 0xFFFFFFFF):
            packet = PACKET[:30] + value.to_bytes(4, "big")
            assert agree(libpcap, code, packet) == (value % 5 == 0 and value < 5 * count)


def within(low: int, high: int, field: str | None) -> list[CbpfInsn]:
    """Skips the next instruction unless A is in the interval; loads the field first, if any."""
    load = [insn(LOAD[FIELDS[field][0]], FIELDS[field][1])] if field else []
    if low == high:
        return [*load, insn(JEQ, low, 0, 1)]
    return [*load, insn(JGE, low, 0, 2), insn(JGT, high, 1, 0)]


def intervals() -> st.SearchStrategy[list[tuple[int, int, str | None]]]:
    low, width = st.integers(0, 400), st.sampled_from((0, 0, 1, 5, 40))
    field = st.sampled_from((None, None, None, "port", "target"))
    one = st.tuples(low, width, field).map(lambda t: (t[0], t[0] + t[1], t[2]))
    return st.lists(one, min_size=10, max_size=40)


@settings(max_examples=60)
@given(intervals(), st.booleans(), st.data())
def test_intervals_mean_the_same(
    libpcap: Libpcap, found: list[tuple[int, int, str | None]], read: bool, data: st.DataObject
) -> None:
    behind = [insn(AND, 4), RET_A] if read else [REJECT]
    code = [insn(LOAD[2], 34)]
    for low, high, field in found:
        code += [*within(low, high, field), MATCH]
    edges = {edge + by for low, high, _ in found for edge in (low, high) for by in (0, 1)}
    values = data.draw(st.lists(st.sampled_from(sorted(edges)), min_size=3, max_size=3))
    packets = [PACKET[:30] + bytes((0, 0, 9, 9)) + value.to_bytes(2, "big") for value in values]
    packets += [PACKET[:30] + values[0].to_bytes(4, "big") + bytes((9, 9)), packets[0][:35]]
    for packet in (*packets, packets[0][:33]):
        agree(libpcap, [*code, *behind], packet)


def test_intervals_are_searched() -> None:
    code = [insn(LOAD[2], 34)]
    for n in range(100):
        code += [*within(10 * n, 10 * n + 4, None), MATCH]
    compiled = compile_cbpf("", (*code, REJECT))
    for value in range(0, 1100, 3):
        packet = PACKET[:34] + value.to_bytes(2, "big")
        matches, machine = ebpf_interp.run(compiled, Packet(packet, len(packet)))
        assert matches == (value < 1000 and value % 10 < 5)
        assert machine.executed < 30


def test_neighbours_are_one_interval() -> None:
    code = [insn(LOAD[2], 34)]
    for n in (7, 3, 1, 2, 9, 8, 4, 5, 6, 10, 12):
        code += [insn(JEQ, n, 0, 1), MATCH]
    listing = compile_cbpf("", (*code, REJECT)).listing()
    assert [line.split(" goto")[0].strip() for line in listing.splitlines() if "if A" in line] == [
        "if A >= 0x1", "if A > 0xa", "if A == 0xc",
    ]  # fmt: skip
