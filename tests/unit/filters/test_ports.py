# SPDX-License-Identifier: Apache-2.0
"""Long lists of ports: they compile with few calls of libpcap, fit, and mean what libpcap means."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwru_filters import CompiledFilter, compile_cbpf, compile_filter
from pwru_filters.front import libpcap as front
from pwru_filters.front.cbpf import CbpfProgram
from pwru_filters.front.intervals import union
from pwru_filters.front.libpcap import SHORT_LENGTH, SNAPLEN, compile_primitive, compile_whole
from pwru_filters.front.pieces import AnyOf, Not, join, simplify
from pwru_filters.front.ports import PortList, port_list
from pwru_filters.front.structure import take_apart
from pwru_filters.passes import thread

from . import cbpf_interp, ebpf_interp
from .ebpf_interp import Packet
from .oracles import libpcap_program
from .packets import ETHER_IP, ETHER_IP6, TCP, UDP, ether, frames, ipv4, ipv6, tcp, udp
from .test_api import DEFAULT_CAPACITY, long_list

QUALIFIERS = ("port", "dst port", "src port", "tcp port", "udp dst port", "sctp src port")
FRAMES = frames()


def ports(qualifiers: str, count: int, step: int = 7) -> str:
    """Ports 1, 8, 15, … of which no two are neighbours."""
    return " or ".join(f"{qualifiers} {step * n + 1}" for n in range(count))


def ranges(qualifiers: str, count: int) -> str:
    """Of five ports each, 1-5, 21-25, …"""
    return " or ".join(f"{qualifiers}range {20 * n + 1}-{20 * n + 5}" for n in range(count))


def matches(compiled: CompiledFilter, frame: bytes) -> tuple[bool, int]:
    """The verdict, and how many instructions it took."""
    verdict, machine = ebpf_interp.run(compiled, Packet(frame, len(frame)))
    return verdict, machine.executed


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What libpcap is asked to compile, within the process or aside."""
    asked: list[str] = []

    def counted(expression: str, *, optimize: bool = True) -> CbpfProgram:
        asked.append(expression)
        return compile_whole(expression, optimize=optimize)

    monkeypatch.setattr(front, "compile_whole", counted)
    monkeypatch.setattr("pwru_filters.front.aside.compile_aside", None)
    return asked


def packets(source: int, target: int) -> list[bytes]:
    """One for each way that the program of `port` can take."""
    return [
        ether(ETHER_IP, ipv4(TCP, tcp(source, target))),
        ether(ETHER_IP, ipv4(UDP, udp(source, target), options=4)),
        ether(ETHER_IP6, ipv6(TCP, tcp(source, target))),
        ether(ETHER_IP6, ipv6(UDP, udp(source, target))),
    ]


@pytest.mark.parametrize(
    ("qualifiers", "most"),
    [
        ("port", 3850), ("tcp port", 3850), ("dst port", 1300), ("src port", 1300),
        ("udp dst port", 1300),
    ],
)  # fmt: skip
def test_a_thousand_ports(qualifiers: str, most: int, calls: list[str]) -> None:
    """An eighth of a test of 1000 values more, and no more than three lists of them."""
    compiled = compile_filter(ports(qualifiers, 1000), capacity=DEFAULT_CAPACITY)
    assert len(compiled.ebpf) < most
    assert len(calls) == 2, "libpcap compiles two samples"
    for port in (1, 3501, 6994, 2, 65534):
        for frame in (*packets(port, 3), *packets(3, port)):
            verdict, steps = matches(compiled, frame)
            expected = libpcap_program(f"{qualifiers} {port}").filter(frame) != 0
            assert verdict == (expected and port % 7 == 1)
            assert steps < 90


@pytest.mark.parametrize(("qualifiers", "most"), [("dst port", 2300), ("tcp src port", 2300)])
def test_a_thousand_ranges(qualifiers: str, most: int, calls: list[str]) -> None:
    compiled = compile_filter(ranges(qualifiers, 1000), capacity=DEFAULT_CAPACITY)
    assert len(compiled.ebpf) < most
    assert len(calls) == 2
    for port in (0, 1, 5, 6, 9983, 20000):
        for frame in (*packets(port, 20006), *packets(20006, port)):
            verdict, steps = matches(compiled, frame)
            expected = libpcap_program(f"{qualifiers} {port}").filter(frame) != 0
            assert verdict == (expected and 1 <= port % 20 <= 5 and port < 20000)
            assert steps < 110


@pytest.mark.parametrize(
    ("expression", "most", "asked"),
    [
        (" or ".join(["port 1"] * 3000), 45, 2),
        (" or ".join(f"port {n}" for n in range(3000)), 50, 2),
        (ranges("port", 1000), 6850, 2),
        (ports("port", 1000).replace("or port", "or"), 3850, 2),
        (ports("not port", 1000).replace(" or ", " and "), 3850, 2),
        (f"not ({ports('port', 1000)})", 3850, 2),
        (f"{ports('tcp port', 500)} or {ports('udp port', 500, 9)}", 3900, 4),
        (f"({long_list('host', 300)}) and ({ports('port', 300)})", 2600, 302),
        (f"({ports('port', 300)}) and ({long_list('host', 300)})", 2800, 302),
        (f"{long_list('host', 300)} or {ports('port', 300)}", 3100, 302),
    ],
    ids=[
        "one port", "neighbours", "ranges", "values alone", "none of them", "not any of them",
        "two protocols", "hosts and ports", "ports and hosts", "hosts or ports",
    ],
)  # fmt: skip
def test_other_lists(expression: str, most: int, asked: int, calls: list[str]) -> None:
    assert len(compile_filter(expression, capacity=DEFAULT_CAPACITY).ebpf) < most
    assert len(calls) == asked


def test_hosts_and_ports_in_turns(calls: list[str]) -> None:
    hosts, numbers = long_list("host", 300).split(" or "), ports("port", 300).split(" or ")
    turns = " or ".join(f"{host} or {port}" for host, port in zip(hosts, numbers, strict=True))
    assert len(compile_filter(turns, capacity=DEFAULT_CAPACITY).ebpf) < 3400
    pairs = zip(hosts[:150], numbers, strict=False)
    both = " or ".join(f"({host} and {port})" for host, port in pairs)
    assert len(compile_filter(both, capacity=DEFAULT_CAPACITY).ebpf) < 150 * 35
    assert len(calls) == 300 + 2 + 150 + 2


def ends_amid_ports(frame: bytes, length: int) -> bool:
    """Whether a cut frame has one port, or has ports where its addresses should be.

    All of a list is tested on the source before the target is loaded, and of several lists that
    are alternatives the ports are tested with the first.
    """
    if length == len(frame) or frame[12:14] not in (b"\x08\x00", b"\x86\xdd"):
        return False
    header = 4 * (frame[14] & 15) if frame[12:14] == b"\x08\x00" else 40
    return header < 20 or 2 <= length - 14 - header < 4


def test_the_work_grows_with_the_length(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not with the product of two lists: a way that knows what another knew is not followed."""
    steps = 0

    def counted(*args: Any) -> Any:
        nonlocal steps
        steps += 1
        return skip(*args)

    skip = thread._skip
    monkeypatch.setattr(thread, "_skip", counted)
    found = []
    for count in (100, 200):
        steps = 0
        compile_filter(f"({ports('port', count)}) and ({long_list('host', count)})")
        found.append(steps)
    assert found[1] < 2.5 * found[0]
    steps, hosts = 0, long_list("src host", 300)
    compiled = compile_filter(f"({hosts}) and not ({hosts} or src host 10.9.9.9)")
    assert steps < 40 * len(compiled.cbpf)


def port_lists() -> st.SearchStrategy[str]:
    number = st.sampled_from((0, 22, 53, 54, 80, 443, 1024, 5353, 40000, 65535))
    number |= st.integers(0, 65535)
    one = st.builds("port {}".format, number)
    one |= st.builds("portrange {}-{}".format, number, number)
    return st.sampled_from(("", "src ", "dst ", "tcp ", "udp dst ", "sctp src ")).flatmap(
        lambda words: st.lists(one.map(lambda text: f"{words}{text}"), min_size=2, max_size=12).map(
            " or ".join
        )
    )


@settings(max_examples=60)
@given(port_lists(), st.data())
def test_a_list_means_what_libpcap_means(expression: str, data: st.DataObject) -> None:
    """Of frames cut anywhere but between the ports, too."""
    structure = take_apart(expression)
    assert structure is not None
    joined = join(simplify(structure), compile_primitive, SNAPLEN)
    compiled, oracle = compile_cbpf(expression, joined), libpcap_program(expression)
    for frame in data.draw(st.lists(st.sampled_from(FRAMES), min_size=6, max_size=6)):
        for length in (len(frame), *range(34, 60, 2)):
            if ends_amid_ports(frame, length):
                continue
            piece = frame[:length]
            expected = oracle.filter(piece) != 0
            assert (cbpf_interp.run(joined, piece) != 0) == expected
            assert matches(compiled, piece)[0] == expected


def test_ports_that_are_alternatives_are_one_list() -> None:
    structure = take_apart("port 80 or host 1.1.1.1 or portrange 90-81 or (port 7 or port 6)")
    assert structure is not None
    assert simplify(structure) == AnyOf((PortList("port", ((6, 7), (80, 90))), "host 1.1.1.1"))
    structure = take_apart("not port 5 and not src port 7 and not port 6 and tcp")
    assert structure is not None
    parts = (PortList("port", ((5, 6),)), PortList("src port", ((7, 7),)), Not("tcp"))
    assert simplify(structure) == Not(AnyOf(parts))


@pytest.mark.parametrize(
    "primitive", ["port 080", "port 65536", f"port {'1' * 5000}", "portrange 7", "port 1-2", "host"]
)
def test_what_libpcap_must_read(primitive: str) -> None:
    assert port_list(primitive) is None


def test_intervals() -> None:
    assert union([(5, 9), (1, 2), (3, 3), (8, 12), (20, 20)]) == ((1, 3), (5, 12), (20, 20))
    assert union([]) == ()


def test_a_list_is_long_where_libpcap_takes_a_while() -> None:
    assert len(ports("port", 60)) > SHORT_LENGTH
