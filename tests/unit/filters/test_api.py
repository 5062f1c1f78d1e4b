# SPDX-License-Identifier: Apache-2.0
"""The public functions: results, errors, limits, listing."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest
from pwru_filters import (
    CbpfInsn,
    FilterError,
    FilterSyntaxError,
    FilterTooLargeError,
    FilterUnsupportedError,
    compile_cbpf,
    compile_filter,
)
from pwru_filters.back.ebpf import EbpfInsn
from pwru_filters.front.cbpf import ABS_SIZE, LDX_LEN
from pwru_filters.text.cbpf_text import cbpf_lines
from pwru_filters.text.ebpf_text import text

from . import ebpf_interp
from .ebpf_interp import Packet
from .oracles import Libpcap

DEFAULT_CAPACITY = 8192


@pytest.mark.parametrize("expression", ["", "  ", "\t\n", "1 = 1"])
def test_expression_that_matches_everything(expression: str) -> None:
    compiled = compile_filter(expression)
    assert [text(insn) for insn in compiled.ebpf] == ["w0 = 1"]
    assert compiled.frame_bytes == 0
    assert not compiled.needs_mac
    assert ebpf_interp.run(compiled, Packet(b"", 0))[0]


@pytest.mark.parametrize(
    ("expression", "words"),
    [
        ("foo bar", "syntax error"),
        ("tcp port 99999", "illegal port number 99999 > 65535"),
        ("ip[1/0] = 1", "division by zero"),
        ("ip[0] << 33 = 1", "shift by more than 31 bits"),
        ("ip broadcast", "netmask not known"),
        ("tcp and udp", "expression rejects all packets"),
        ("type mgt", "802.11"),
        ("host 1.2.3.4 and", "syntax error"),
        ("\N{SNOWMAN}", "syntax error"),
    ],
)
def test_libpcaps_words(expression: str, words: str, capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        compile_filter(expression)
    assert words in caught.value.text
    assert str(caught.value) == caught.value.text
    assert caught.value.column is None
    assert capfd.readouterr() == ("", "")


@pytest.mark.parametrize(("expression", "column"), [("tcp\0udp", 4), ("\0", 1), ("ip\udc80", 3)])
def test_characters_that_libpcap_never_sees(expression: str, column: int) -> None:
    with pytest.raises(FilterSyntaxError) as caught:
        compile_filter(expression)
    assert caught.value.column == column


@pytest.mark.parametrize(
    ("expression", "what"),
    [
        ("ip protochain 6", "protochain"),
        ("ip6 protochain \\tcp", "protochain"),
        ("inbound", "link-layer metadata"),
        ("outbound and tcp", "link-layer metadata"),
        ("ether[-1] = 1", "a load at offset -1"),
    ],
)
def test_unsupported(expression: str, what: str) -> None:
    if expression == "ether[-1] = 1":
        what = "link-layer metadata"  # the kernel's numbers for it; -1 looks the same
    with pytest.raises(FilterUnsupportedError) as caught:
        compile_filter(expression)
    assert caught.value.what.startswith(what)
    assert str(caught.value).count("\n") == 0
    assert str(caught.value)[0].islower()


@pytest.mark.parametrize(
    "program",
    [
        (),
        (CbpfInsn(0x00, 0, 0, 1),),
        (CbpfInsn(0x15, 1, 0, 1), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x05, 0, 0, 1), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x05, 0, 0, 0xFFFFFFFF), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x34, 0, 0, 0), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x60, 0, 0, 16), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x03, 0, 0, 16), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x20, 0, 0, 0x7FFFFFFE), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x20, 0, 0, 0xFFF00000), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x18, 0, 0, 0), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0xFF, 0, 0, 0), CbpfInsn(0x06, 0, 0, 0)),
        (CbpfInsn(0x55, 0, 0, 0), CbpfInsn(0x06, 0, 0, 0)),
    ],
)
def test_invalid_programs_are_refused(program: tuple[CbpfInsn, ...]) -> None:
    with pytest.raises(FilterUnsupportedError):
        compile_cbpf("", program)


def test_capacity() -> None:
    size = len(compile_filter("tcp port 80").ebpf)
    assert len(compile_filter("tcp port 80", capacity=size).ebpf) == size
    with pytest.raises(
        FilterTooLargeError, match=f"{size} eBPF instructions.* {size - 1}"
    ) as caught:
        compile_filter("tcp port 80", capacity=size - 1)
    assert (caught.value.size, caught.value.limit) == (size, size - 1)


def test_errors_are_one_family() -> None:
    for kind in (FilterSyntaxError, FilterUnsupportedError, FilterTooLargeError):
        assert issubclass(kind, FilterError)


@pytest.mark.parametrize(
    ("expression", "frame_bytes", "needs_mac"),
    [
        ("len > 100", 0, False),
        ("arp", 18, False),
        ("ether[0] & 1 = 0", 18, True),
        ("ether src 02:00:00:00:00:01", 18, True),
        ("ether[ether[20]] = 0", 256, True),
        ("ether[ether[20]:2] = 0", 21, True),
        ("dst host 1.1.1.1 and tcp", 34, False),
        ("udp and dst port 53", 78, False),
        ("icmp[0] = 8", 75, False),
        ("ip[241:1] = 0", 256, False),
        ("ip[242:1] = 0", 18, False),
        ("ip[242:4] = 0", 21, False),
        ("ip[ip[0] & 0xf:2] = 0", 31, False),
    ],
)
def test_frame_bytes_and_needs_mac(expression: str, frame_bytes: int, needs_mac: bool) -> None:
    compiled = compile_filter(expression)
    assert (compiled.frame_bytes, compiled.needs_mac) == (frame_bytes, needs_mac)


@pytest.mark.parametrize(
    ("expression", "most"),
    [("dst host 1.1.1.1 and tcp", 10), ("udp and dst port 53", 25), ("tcp or icmp", 27)],
)
def test_published_instruction_counts(expression: str, most: int) -> None:
    assert len(compile_filter(expression).ebpf) <= most


def test_code_is_little_endian() -> None:
    insn = EbpfInsn(0x61, 4, 1, 8, -2)
    assert insn.to_bytes() == bytes.fromhex("61 14 0800 feffffff")


def long_list(word: str, count: int) -> str:
    return " or ".join(f"{word} 10.{n >> 8}.{n & 255}.1" for n in range(count))


def test_hundredlong_list() -> None:
    assert len(compile_filter(long_list("host", 100)).ebpf) < 420


def test_two_thousandlong_list() -> None:
    """libpcap's optimiser would need minutes."""
    compiled = compile_filter(long_list("dst host", 2000), capacity=DEFAULT_CAPACITY)
    for number, matches in ((0, True), (777, True), (1999, True), (2000, False)):
        address = bytes((10, number >> 8, number & 255, 1))
        frame = bytes(12) + b"\x08\x00\x45" + bytes(15) + address
        assert ebpf_interp.run(compiled, Packet(frame, len(frame)))[0] == matches


def test_too_manylong_list() -> None:
    with pytest.raises(FilterTooLargeError, match="limit is 4096"):
        compile_filter(long_list("host", 1400), capacity=4096)


def test_jump_too_far() -> None:
    loads = tuple(CbpfInsn(code, 0, 0, 1) for _ in range(20000) for code in (0x04, 0x0C))
    program = (CbpfInsn(0x30, 0, 0, 0), *loads, CbpfInsn(0x16, 0, 0, 0))
    with pytest.raises(FilterTooLargeError, match="in one jump"):
        compile_cbpf("", program)


def test_tcpdump_format(libpcap: Libpcap) -> None:
    for k in (0, 14, 0x800, 0x7FFFFFFF, 0x80000000, 0xFFFFFFF0):
        for code in range(0x100):
            insn = CbpfInsn(code, 3, 7, k)
            line = cbpf_lines((CbpfInsn(6, 0, 0, 0), insn))[-1]
            metadata = k >= 0xFFFFF000 and code in ABS_SIZE  # named by libpcap, refused by us
            if "unimp" not in line and code != LDX_LEN and not metadata:  # 1.9.1 lacks LDX_LEN
                assert line == libpcap.image(insn, 1).rstrip("\n")


LISTING = """\
ip proto 6

(000) ldh      [12]
(001) jeq      #0x800           jt 2\tjf 5
(002) ldb      [23]
(003) jeq      #0x6             jt 4\tjf 5
(004) ret      #262144
(005) ret      #0

b0:
    A = frame[12:2]    ; network order
    if A == 0x800 goto b1 else reject    ; network order
b1:
    A = frame[23:1]
    if A == 0x6 goto match(caplen >= 24) else reject

0: (69) r2 = *(u16 *)(r1 +36)
1: (56) if w2 != 0x8 goto pc+3
2: (71) r2 = *(u8 *)(r1 +47)
3: (56) if w2 != 0x6 goto pc+1
4: (b4) w0 = 25

the first 24 bytes are copied for each packet, 6 cBPF and 5 eBPF instructions
frame in r1: base u64 @0, caplen u32 @8, len u32 @12, bytes[256] @24
"""
VIEWED = """\
b0:
    A = frame[12:2]    ; network order
    if A == 0x800 goto b1 else reject    ; network order
b1:
    A = frame[23:1]
    if A == 0x6 goto match(caplen >= 24) else reject

0: (bf) r3 = r8
1: (56) if w3 != 0x8 goto pc+3
2: (71) r3 = *(u8 *)(r7 +23)
3: (56) if w3 != 0x6 goto pc+1
4: (b4) w0 = 25

the first 24 bytes are looked at in place, 6 cBPF and 5 eBPF instructions
frame in r1: base u64 @0, caplen u32 @8, len u32 @12, near u64 @16, bytes[24] @24
near in r6, as a pointer in r7, frame[12:2] in r8
"""


def test_listing() -> None:
    assert compile_filter("ip proto 6").listing() == LISTING


def test_listing_of_a_viewed_frame() -> None:
    listing = compile_filter("ip proto 6", cast=ebpf_interp.CAST).listing()
    assert listing == LISTING[: LISTING.index("b0:")] + VIEWED


@pytest.mark.parametrize(
    ("expression", "matches"),
    [
        ("tcp or icmp", ["caplen >= 55", "caplen >= 21", "caplen >= 24"]),
        ("ip and udp dst port 53", ["caplen >= 24, caplen - X >= 18"]),
        ("ip[ip[2:2]] = 5 or tcp", []),  # a place that depends on a value: checked before
        ("ip[300] = 7", []),  # calls a helper, so too
    ],
)
def test_checks_that_wait_for_the_verdict(expression: str, matches: list[str]) -> None:
    viewed = compile_filter(expression, cast=ebpf_interp.CAST)
    for compiled in (compile_filter(expression), viewed):
        found = set(re.findall(r"match\((.*?)\)", compiled.listing()))
        assert found == set(matches)
        assert compiled.needs_caplen == (not matches)
    assert viewed.needs_frame == (not matches)


@pytest.mark.parametrize(
    ("expression", "frame_bytes", "calls"),
    [
        ("tcp or icmp", 24, True),
        ("udp", 24, True),
        ("ip6 proto 6", 21, True),
        ("ip6[6] = 44 and ip6[40] = 6", 24, True),
        ("ip6[6] = 43 and ip6[40] = 6", 55, False),
        ("tcp port 80", 80, False),  # places that vary: the registers are needed for them
        ("icmp or udp port 53", 80, False),
    ],
)
def test_what_only_fragments_have_is_not_copied(
    expression: str, frame_bytes: int, calls: bool
) -> None:
    compiled = compile_filter(expression)
    assert -(-compiled.frame_bytes // 8) * 8 == -(-frame_bytes // 8) * 8
    assert ("call bpf_probe_read_kernel" in compiled.listing()) == calls
    assert not compiled.needs_payload
    assert not compiled.needs_stack
    assert compiled.flat == ("port" not in expression)


@pytest.mark.parametrize(
    ("expression", "payload"),
    [
        ("host 1.1.1.1 and tcp port 80", False),
        ("tcp[tcpflags] & tcp-syn != 0", False),
        ("vlan and vlan and udp port 53", False),
        ("icmp6[0] = 135", False),
        ("tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", True),
        ("udp[20] = 0", True),
        ("ip6[40:4] = 7", True),
        ("ip[300] = 1", True),
    ],
)
def test_who_looks_at_payload(expression: str, payload: bool) -> None:
    assert compile_filter(expression).needs_payload == payload


@pytest.mark.parametrize(
    ("expression", "tagged"),
    [
        ("dst host 1.1.1.1 and udp and dst port 53", False),
        ("tcp or icmp", False),
        ("arp or ip6", False),
        ("ether proto 0x88a8", True),
        ("vlan 7 and tcp", True),
        ("not port 22", True),
        ("len > 100", True),
        ("ether host 02:00:00:00:00:01", True),
        ("ether[14] = 1", True),
        ("", True),
        ("tcp[tcpflags] & tcp-syn != 0", False),
    ],
)
def test_whether_a_tagged_frame_can_match(expression: str, tagged: bool) -> None:
    assert compile_filter(expression).needs_tag == tagged


def test_listing_of_everything_that_can_be_emitted() -> None:
    expressions = (
        "",
        "ip[300] = 1",
        "geneve",
        "ip[2:2] / (ip[9] - 6) = 0",
        "ip[8] << ip[9] = 4096",
        "ip[8] ^ -ip[9] | 5 = 70",
        "ip[2:2] % 7 * 2 = 4",
    )
    for expression in expressions:
        for cast in (None, ebpf_interp.CAST):
            assert "instructions" in compile_filter(expression, cast=cast).listing()
    assert "call bpf_probe_read_kernel#113" in compile_filter("ip[300] = 1").listing()


def test_importing_does_not_load_libpcap() -> None:
    code = "import sys, pwru_filters; sys.exit('pcapy' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], env={"PYTHONPATH": _path()}).returncode == 0


def _path() -> str:
    import pwru_filters

    return pwru_filters.__path__[0].rpartition("/")[0]
