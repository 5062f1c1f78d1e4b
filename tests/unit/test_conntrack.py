# SPDX-License-Identifier: Apache-2.0
"""Conntrack's entries: where they have what, what of them an event has, and how that is shown."""

from __future__ import annotations

import struct
from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from pwru_py.attach import conntrack as attach
from pwru_py.attach.conntrack import ConntrackPrograms
from pwru_py.attach.kprobe_multi import KprobeMulti
from pwru_py.errors import AttachError, FeatureUnsupportedError
from pwru_py.facts.btf import Btf
from pwru_py.facts.conntrack import (
    CtState,
    EntryLayout,
    find_entry_layout,
    find_whys,
    status_names,
    tcp_state_name,
)
from pwru_py.kernel import system
from pwru_py.options.config import Config, Mark
from pwru_py.output.conntrack import format_conntrack, json_conntrack, short_conntrack
from pwru_py.programs import conntrack
from pwru_py.programs.choose import Choice
from pwru_py.record import contract
from pwru_py.record.conntrack import decode_conntrack
from pwru_py.record.event import Conntrack, Icmp, Tuple
from pwru_py.record.layout import ConntrackSettings

from .btf_builder import Builder
from .output.samples import event

OWN = Path("/sys/kernel/btf/vmlinux")
LAYOUT = EntryLayout(225, status=128, original=32, reply=88, tcp_state=224, mark=168, zone=12)
PLACES = {"ct_general": 0, "zone": 12, "tuplehash": 16, "status": 128, "mark": 168, "proto": 184}


def entries(tuple_bytes: int = 40, **changes: int) -> Btf:
    """struct nf_conn as in 6.18; ``changes``: where a member lies, -1: it is not there."""
    made = Builder()
    word = made.integer()

    def structure(name: str, size: int, places: dict[str, int]) -> None:
        members = [(member, word, 8 * at, 0) for member, at in places.items() if at >= 0]
        made.fields(name, size, members)

    structure("nf_conntrack_tuple", tuple_bytes, {"src": 0, "dst": 20})
    structure("nf_conntrack_tuple_hash", 56, {"hnnode": 0, "tuple": 16})
    structure("nf_conn", 248, PLACES | changes)
    structure("ip_ct_tcp", 60, {"seen": 0, "state": 40})
    return made.btf()


def test_where_an_entry_has_what() -> None:
    empty = Builder().btf()
    assert find_entry_layout([entries()]) == LAYOUT
    assert find_entry_layout([empty, entries()]) == LAYOUT, "of the module"
    assert find_entry_layout([empty]) is None


def test_kernels_without_marks_or_zones() -> None:
    assert find_entry_layout([entries(mark=-1, zone=-1)]) == replace(LAYOUT, mark=None, zone=None)


@pytest.mark.parametrize("other", [
    {"tuple_bytes": 52}, {"ct_general": 8}, {"status": -1}, {"tuplehash": -1}, {"proto": -1},
])  # fmt: skip
def test_an_entry_that_is_made_another_way_is_not_read(other: dict[str, int]) -> None:
    assert find_entry_layout([entries(**other)]) is None


@pytest.mark.skipif(not OWN.exists(), reason="this kernel carries no BTF")
def test_this_kernel_has_one() -> None:
    own = Btf(OWN.read_bytes())
    if not own.has_member("sk_buff", "_nfct"):
        pytest.skip("without conntrack")
    found = find_entry_layout([own])
    if found is not None:  # else it is in the module
        assert found.reply - found.original == 56
        assert found.bytes <= contract.ENTRY_MAX


def whys(first: int, second: int, *, split: bool = True) -> Btf:
    made = Builder()
    word = made.integer()
    for name, named in (("nf_ct_l4proto_log_invalid", first), ("nf_l4proto_log_invalid", second)):
        if named:
            made.func(name, *[word] * named, 0)
    made.struct_at("module", {"btf_data" if split else "name": 0}, word)
    return made.btf()


def test_which_argument_says_why() -> None:
    names = ("nf_ct_l4proto_log_invalid", "nf_l4proto_log_invalid")
    assert dict(find_whys([whys(4, 4)])) == dict.fromkeys(names, 4)
    assert dict(find_whys([whys(0, 0), whys(3, 5)])) == dict(zip(names, (3, 5), strict=True))
    assert find_whys([whys(0, 0)]) == {}, "its module tells, and is not loaded"
    assert dict(find_whys([whys(0, 0, split=False)])) == dict(zip(names, (3, 5), strict=True))


def test_words() -> None:
    assert status_names(0) == ()
    assert status_names(0x2E) == ("seen-reply", "assured", "confirmed", "dnat")
    assert status_names(1 << 15 | 1 << 20) == ("hw-offload", "bit 20")
    assert [tcp_state_name(n) for n in (1, 3, 9, 77)] == [
        "SYN_SENT", "ESTABLISHED", "SYN_SENT2", "77",
    ]  # fmt: skip
    for state in CtState:
        assert getattr(contract, f"CT_{state.name}") > 0


def packed(saddr: bytes, sport: bytes, daddr: bytes, dport: bytes, proto: int, way: int) -> bytes:
    """struct nf_conntrack_tuple."""
    family = 2 if len(saddr) == 4 else 10
    source = saddr.ljust(16, b"\0") + sport + struct.pack("=H", family)
    return source + daddr.ljust(16, b"\0") + dport + bytes([proto, way])


A, V, B = bytes([10, 0, 0, 1]), bytes([10, 0, 0, 9]), bytes([10, 0, 0, 2])
P, Q, R = (port.to_bytes(2, "big") for port in (4000, 80, 8080))


def raw(proto: int = 6, status: int = 0x2A, original: bytes = b"", answer: bytes = b"") -> bytes:
    entry = bytearray(225)
    struct.pack_into("=H", entry, 12, 5)
    entry[32:72] = original or packed(A, P, V, Q, proto, 0)
    entry[88:128] = answer or packed(B, R, A, P, proto, 1)
    struct.pack_into("=Q", entry, 128, status)
    struct.pack_into("=I", entry, 168, 0x17)
    entry[224] = 2
    return bytes(entry)


def decode(
    state: int, entry: bytes = b"", why: bytes = b"", reply: bool = False, **changes: Any
) -> Conntrack | None:
    return decode_conntrack(replace(LAYOUT, **changes), state, why, entry, reply=reply)


def test_an_entry() -> None:
    found = decode(contract.CT_ESTABLISHED, raw(), reply=True)
    original = Tuple("10.0.0.1", "10.0.0.9", 4000, 80, 6, True)
    answer = Tuple("10.0.0.2", "10.0.0.1", 8080, 4000, 6, True)
    assert found == Conntrack(
        CtState.ESTABLISHED, True, ("seen-reply", "confirmed", "dnat"), 0x17, 5, "SYN_RECV",
        original, answer,
    )  # fmt: skip
    shown = event(conntrack=found)
    assert format_conntrack(shown) == (
        "established reply tcp SYN_RECV dnat 10.0.0.9:80->10.0.0.2:8080 mark 0x17 zone 5"
    )
    assert short_conntrack(shown) == "established reply dnat"
    told = json_conntrack(found)
    assert told is not None
    assert (told["state"], told["direction"], told["tcp_state"]) == (
        "established", "reply", "SYN_RECV",
    )  # fmt: skip
    assert (told["original"]["daddr"], told["answer"]["sport"]) == ("10.0.0.9", 8080)


def test_a_kernel_that_has_no_marks_shows_none() -> None:
    found = decode(contract.CT_NEW, raw(), mark=None, zone=None)
    assert found is not None
    assert (found.mark, found.zone) == (None, None)


def test_what_is_no_tcp_has_no_state_of_it() -> None:
    found = decode(contract.CT_NEW, raw(17, 0))
    assert found is not None
    assert (found.tcp_state, found.status) == ("", ())
    assert format_conntrack(event(conntrack=found)) == "new mark 0x17 zone 5"


def test_icmp_of_both_families() -> None:
    """Identifier, type and code stand where ports do."""
    six, id_, echo = bytes(15) + b"\1", b"\0\7", b"\x80\0"
    entry = raw(58, 0, packed(six, id_, six, echo, 58, 0), packed(six, id_, six, b"\x81\0", 58, 1))
    found = decode(contract.CT_RELATED, entry)
    assert found is not None
    assert found.original == Tuple("::1", "::1", 0, 0, 58, False, Icmp(128, 7))
    assert found.answer == Tuple("::1", "::1", 0, 0, 58, False, Icmp(129, 7))
    four = decode(contract.CT_NEW, raw(1, 0, packed(A, id_, B, b"\x08\0", 1, 0)))
    assert four is not None
    assert four.original == Tuple("10.0.0.1", "10.0.0.2", 0, 0, 1, False, Icmp(8, 7))
    told = json_conntrack(four)
    assert told is not None
    assert told["original"]["icmp"] == {"type": 8, "name": "echo request", "id": 7, "seq": None}


def test_an_unknown_family_has_no_addresses() -> None:
    entry = bytearray(raw())
    struct.pack_into("=H", entry, 32 + 18, 77)
    found = decode(contract.CT_NEW, bytes(entry))
    assert found is not None
    assert found.original is None
    assert format_conntrack(event(conntrack=found)).split()[-5:] == [
        "dnat", "mark", "0x17", "zone", "5",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("state", "why", "text"),
    [
        (contract.CT_NONE, b"", "none"),
        (contract.CT_UNTRACKED, b"", "untracked"),
        (contract.CT_INVALID, b"", "invalid"),
        (contract.CT_INVALID, b"bad checksum\0left over", "invalid: bad checksum"),
        (
            contract.CT_INVALID,
            b"SEQ is over upper bound %u (over the window of the receiver)",
            "invalid: SEQ is over upper bound (over the window of the receiver)",
        ),
        (
            contract.CT_INVALID,
            b"packet (index %d) in dir %hhu, state %s ",
            "invalid: packet (index) in dir, state",
        ),
        (contract.CT_INVALID, b"\x1b[31m", "invalid: \\x1b[31m"),
        (contract.CT_UNTOLD, b"", ""),
    ],
)
def test_packets_without_an_entry(state: int, why: bytes, text: str) -> None:
    found = decode(state, why=why)
    assert format_conntrack(event(conntrack=found)) == text
    assert short_conntrack(event(conntrack=found)) == text.partition(":")[0]
    told = json_conntrack(found)
    assert (told is None) == (state == contract.CT_UNTOLD)
    if told is not None:
        absent = ("direction", "mark", "zone", "tcp_state", "original", "answer")
        assert {told[name] for name in absent} == {None}
        assert told["status"] == []


def test_a_template_is_no_connection() -> None:
    found = decode(contract.CT_TEMPLATE, raw(status=1 << 11))
    assert found == Conntrack(CtState.TEMPLATE, None, ("template",), 0x17, 5)


def types(own: bool = True, conntrack: bool = True, judge: bool = True, mark: int = 168) -> Any:
    """A kernel's types, as ``KernelTypes`` has them."""
    made = Builder()
    word = made.integer()
    made.fields("sk_buff", 232, [("_nfct", word, 0, 0)] if conntrack else [("len", word, 0, 0)])
    if judge:
        made.func("nf_conntrack_in", word, word)
    btf = made.btf()
    module = entries(mark=mark)
    return SimpleNamespace(btf=btf, own=own, module=module)


CHOICE = Choice(KprobeMulti, typed=True)


@pytest.fixture(autouse=True)
def system_here(monkeypatch: pytest.MonkeyPatch) -> None:
    """Kprobes, the module loaded with BTF of its own."""
    monkeypatch.setattr(system, "kprobe_pmu", lambda: 8)
    monkeypatch.setattr(system, "ftrace_disabled", lambda: False)
    monkeypatch.setattr(system, "loaded_modules", lambda: {"nf_conntrack"})
    monkeypatch.setattr(conntrack, "conntrack_btfs", lambda kernel: [kernel.btf, kernel.module])


def settings(config: Config, why: str = "", **kernel: Any) -> tuple[ConntrackSettings, list[str]]:
    warnings: list[str] = []
    return conntrack.conntrack_settings(config, types(**kernel), why, warnings), warnings


def test_what_the_program_is_told() -> None:
    both = (CtState.NEW, CtState.DNAT, CtState.NEW)
    config = Config(filter_ct_state=both, filter_ct_mark=Mark(0x1F, 0xF))
    bits = 1 << contract.CT_NEW | 1 << contract.CT_DNAT
    assert settings(config) == (ConntrackSettings(225, 128, 168, bits, 0xF, 0xF, False), [])
    shown = ConntrackSettings(225, 128, 168, judges=True)
    assert settings(Config(output_conntrack=True)) == (shown, [])
    assert settings(Config(), conntrack=False) == (ConntrackSettings(), [])


def test_invalid_where_nothing_tells() -> None:
    """Shown as none, and said so; a filter for it is refused."""
    found, warnings = settings(Config(output_conntrack=True), "functions cannot be probed here")
    assert not found.judges
    assert warnings == [
        "packets that conntrack finds invalid show as none, as functions cannot be probed here"
    ]
    with pytest.raises(FeatureUnsupportedError, match="`invalid` out of `filter_ct_state`"):
        settings(Config(filter_ct_state=(CtState.INVALID,)), "it is not loaded")


def test_kernels_that_lack_something() -> None:
    with pytest.raises(FeatureUnsupportedError, match=r"no conntrack .* `output_conntrack` out"):
        settings(Config(output_conntrack=True), conntrack=False)
    with pytest.raises(FeatureUnsupportedError, match="no mark in this kernel"):
        settings(Config(filter_ct_mark=Mark(7)), mark=-1)
    assert settings(Config(filter_ct_state=(CtState.NEW,)), mark=-1)[0].states


def test_an_entry_of_which_no_btf_tells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(conntrack, "conntrack_btfs", lambda kernel: [kernel.btf])
    with pytest.raises(FeatureUnsupportedError, match=r"struct nf_conn.*load nf_conntrack"):
        settings(Config(output_conntrack=True))


def test_why_nothing_tells_what_is_invalid(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = Config(output_conntrack=True)
    ask = conntrack.unjudged
    assert ask(asked, types(), CHOICE) == ""
    assert ask(Config(filter_ct_state=(CtState.NEW,)), types(own=False), CHOICE) == ""
    assert "begin" in ask(asked, types(own=False), CHOICE)
    assert "begin" in ask(asked, types(), replace(CHOICE, follows=False))
    monkeypatch.setattr(system, "loaded_modules", set)
    assert ask(asked, types(), CHOICE) == "", "it is part of the kernel"
    assert ask(asked, types(judge=False), CHOICE) == "nf_conntrack is not loaded"
    monkeypatch.setattr(system, "ftrace_disabled", lambda: True)
    assert ask(asked, types(), CHOICE) == "functions cannot be probed here"


class Attaching:
    """The kernel, which refuses some functions."""

    def __init__(self, *refused: str) -> None:
        self.refused = refused
        self.done: list[tuple[object, str, bool]] = []

    def __call__(self, program: object, function: str, *, leaves: bool) -> Callable[[], None]:
        if function in self.refused:
            raise AttachError("no such file or directory", 2)
        self.done.append((program, function, leaves))
        return lambda: self.done.remove((program, function, leaves))


PROGRAMS = ConntrackPrograms("enter", "leave", "why 3", "why 4", "why 5")  # type: ignore[arg-type]
WHYS = {"nf_ct_l4proto_log_invalid": 3, "nf_l4proto_log_invalid": 5, "of_another_kernel": 2}


def test_what_runs_where(monkeypatch: pytest.MonkeyPatch) -> None:
    """A packet that enters meets both ends; what the session made goes with it."""
    kernel = Attaching()
    monkeypatch.setattr(attach, "attach_named_kprobe", kernel)
    with ExitStack() as release:
        assert attach.attach_conntrack(PROGRAMS, WHYS, release) == []
        assert kernel.done == [
            ("leave", "nf_conntrack_in", True),
            ("enter", "nf_conntrack_in", False),
            ("why 3", "nf_ct_l4proto_log_invalid", False),
            ("why 5", "nf_l4proto_log_invalid", False),
        ]
    assert kernel.done == []


def test_what_the_kernel_refuses_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(attach, "attach_named_kprobe", Attaching("nf_conntrack_in"))
    with ExitStack() as release:
        (line,) = attach.attach_conntrack(PROGRAMS, WHYS, release)
    assert line.startswith("packets that conntrack finds invalid show as none")
    monkeypatch.setattr(attach, "attach_named_kprobe", Attaching("nf_l4proto_log_invalid"))
    with ExitStack() as release:
        (line,) = attach.attach_conntrack(PROGRAMS, WHYS, release)
    assert line == (
        "why conntrack finds packets invalid is not known: nf_l4proto_log_invalid: no such file "
        "or directory"
    )
