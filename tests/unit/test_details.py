# SPDX-License-Identifier: Apache-2.0
"""Sections of a record that a session asks for, to the last fields of its events."""

from __future__ import annotations

import struct
from typing import Any

import pytest

from pwru_py.facts.structures import Compound, Member, Number
from pwru_py.packets.identity import Identity
from pwru_py.record import contract
from pwru_py.record.decode import Decoder, DropRules, Names
from pwru_py.record.details import Details, Shapes, behind_tracepoint
from pwru_py.record.event import Event, Frame, Tuple
from pwru_py.record.layout import RecordLayout

from .test_record import TARGETS, packed_tuple, record

SYMBOLS = {
    0x10: "ip_rcv",
    0x20: "arch_rethook_trampoline",
    0x30: "bpf_prog_7df0_tracepoint_1",
    0x40: "bpf_trace_run1",
    0x50: "__bpf_trace_net_dev_template",
    0x60: "netif_rx",
    0x70: "loopback_xmit",
}
SHAPES = Shapes(
    Compound("struct sk_buff", 12, (Member("len", 32, Number("unsigned int", 32)),)),
    Compound("struct skb_shared_info", 4, (Member("nr_frags", 16, Number("__u8", 8)),)),
)
ALL = (contract.SECTION_CALLER, contract.SECTION_TUNNEL, contract.SECTION_CB)


def frame(addr: int, innermost: bool = False) -> Frame:
    return Frame(addr, SYMBOLS.get(addr, ""), 0 if innermost else 5, "")


def decode(callers: tuple[int, ...] = (), inner: bytes = bytes(40), **changes: Any) -> Event:
    """One event with every section."""
    layout = RecordLayout.of(*ALL, skb_bytes=12, shared_bytes=4)
    sections = struct.pack("=12Q", *callers, *[0] * (12 - len(callers)))
    sections += inner + bytes([0x12]) + bytes(7) + struct.pack("=12I", *range(12))
    sections += struct.pack("=4xI4x4x", 99) + b"\0\0\3\0" + bytes(4)
    raw = record(**changes) + sections
    assert len(raw) == layout.bytes
    names = Names(lambda addr: None, str, lambda value: False, frame, frame)
    decoder = Decoder(
        TARGETS, names, DropRules(True, True), Identity(), stride=len(raw), record=layout,
        shapes=SHAPES,
    )  # fmt: skip
    (event,) = decoder.decode(raw, 0)
    return event


def test_every_section() -> None:
    event = decode((0x10,), packed_tuple("10.77.0.1", "10.77.0.2", 1, 2))
    assert event.caller == Frame(0x10, "ip_rcv", 5, "")
    assert event.tunnel == Tuple("10.77.0.1", "10.77.0.2", 1, 2, 6, True)
    assert event.tunnel_flags == 0x12
    assert event.cb == tuple(range(12))
    assert event.sk_buff is not None
    assert event.sk_buff.values() == {"len": 99}
    assert event.shared_info is not None
    assert event.shared_info.values() == {"nr_frags": 3}
    assert event.tuple is not None
    assert event.tuple.saddr == "10.0.0.2"


def test_nothing_is_made_up() -> None:
    event = decode()
    assert event.caller is None
    assert event.tunnel is None


@pytest.mark.parametrize("symbol", [
    "return_to_handler", "arch_rethook_trampoline", "__kretprobe_trampoline",
    "kretprobe_trampoline", "bpf_trampoline_6442534321",
])  # fmt: skip
def test_a_tracer_of_returns_hides_the_caller(symbol: str, monkeypatch: Any) -> None:
    monkeypatch.setitem(SYMBOLS, 0x20, symbol)
    assert decode((0x20,)).caller is None


def test_the_first_byte_of_a_trampoline_is_its_own() -> None:
    """A return address is looked up one byte lower, where another function may end."""
    symbols = {(0x20, True): "arch_rethook_trampoline", (0x20, False): "trace_clock_x86_tsc"}
    layout = RecordLayout.of(contract.SECTION_CALLER)
    details = Details(
        layout, Shapes(), lambda addr, innermost: Frame(addr, symbols[addr, innermost], 0, ""),
        lambda packed: None,
    )  # fmt: skip
    assert details.read((0x20, *[0] * 11), 0, "ip_rcv", None)[0] is None


def test_an_unknown_address_is_shown() -> None:
    assert decode((0x999,)).caller == Frame(0x999, "", 5, "")


def test_a_drop_has_its_location() -> None:
    event = decode((0x70,), target=0, func=0x60, flags=contract.EVENT_DROP)
    assert event.caller == event.location == Frame(0x60, "netif_rx", 5, "")


@pytest.mark.parametrize("programs", [(0x30,), (0x999, 0x30), (0x999, 0x999), ()])
def test_the_caller_of_a_tracepoint(programs: tuple[int, ...]) -> None:
    """Of the function that it is in. Programs may have no names."""
    stack = (*programs, 0x40, 0x50, 0x60, 0x70, 0x10)
    event = decode(stack, func=0, flags=contract.EVENT_TRACEPOINT)
    assert event.caller == Frame(0x70, "loopback_xmit", 5, "")
    event = decode(stack, func=0x10, flags=contract.EVENT_TRACEPOINT)
    assert event.caller == frame(0x10), "the kernel told"


def test_a_stack_that_ends_early_has_no_caller() -> None:
    for stack in ((0x30, 0x40, 0x50, 0x60), (0x30, 0x40), ()):
        assert decode(stack, func=0, flags=contract.EVENT_TRACEPOINT).caller is None


def test_the_end_of_a_packet_has_no_shared_info() -> None:
    """skb_release_data() has freed it before kfree_skbmem() (net/core/skbuff.c)."""
    (number,) = [n for n, t in enumerate(ENDING, 1) if t.name == "kfree_skbmem"]
    layout = RecordLayout.of(shared_bytes=4)
    names = Names(lambda addr: None, str, lambda value: False, frame, frame)
    decoder = Decoder(
        ENDING, names, DropRules(True, True), Identity(), stride=layout.bytes, record=layout,
        shapes=SHAPES,
    )  # fmt: skip
    raw = b"".join(record(target=n) + bytes(8) for n in (1, number))
    assert [event.shared_info is None for event in decoder.decode(raw, 0)] == [False, True]


ENDING = (TARGETS[0], TARGETS[0]._replace(name="kfree_skbmem"))


def test_behind_a_tracepoint_without_its_marks() -> None:
    stack = [frame(0x30), frame(0x60), frame(0x70)]
    assert [f.symbol for f in behind_tracepoint(stack)] == ["netif_rx", "loopback_xmit"]
