# SPDX-License-Identifier: Apache-2.0
"""Long expressions are taken apart and joined: libpcap's meaning, in less time."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwru_filters import FilterSyntaxError, compile_cbpf, compile_filter
from pwru_filters.front.libpcap import SHORT_LENGTH, SNAPLEN, compile_primitive, compile_whole
from pwru_filters.front.pieces import join, simplify
from pwru_filters.front.structure import Joined, take_apart

from . import cbpf_interp, ebpf_interp
from .ebpf_interp import Packet
from .packets import frames
from .test_ports import ends_amid_ports

FRAMES = frames()
PRIMITIVES = (
    "host 10.0.0.1", "dst host 10.0.0.2", "src host 10.0.0.1", "ip host 10.0.0.9", "tcp", "udp",
    "icmp", "ip6", "arp", "src port 53", "tcp dst port 443", "udp port 53", "portrange 1-1024",
    "ether dst host ff:ff:ff:ff:ff:ff",
    "net 10.0.0.0/8", "src net 10.0.0.0/24", "net 2001:db8::/32", "host 2001:db8::1",
)  # fmt: skip
TWO_PORTS = ("tcp dst port 443 or 80", "udp port 53 and 5353")
VALUES = ("10.0.0.1", "10.0.0.2", "192.0.2.7")


def expressions() -> st.SearchStrategy[str]:
    words = st.sampled_from(PRIMITIVES)
    hosts = st.lists(st.sampled_from(VALUES), min_size=2, max_size=4).map(
        lambda found: "host " + " or ".join(found)
    )
    hosts |= st.sampled_from(TWO_PORTS)

    def larger(inner: st.SearchStrategy[str]) -> st.SearchStrategy[str]:
        closed = inner.map(lambda text: f"({text})")
        term = st.one_of(words, closed, st.one_of(words, closed).map(lambda text: f"not {text}"))
        return st.lists(
            st.tuples(st.sampled_from((" and ", " or ", " && ", "||")), st.one_of(term, hosts)),
            min_size=1, max_size=4,
        ).map(lambda found: found[0][1] + "".join(a + b for a, b in found[1:]))  # fmt: skip

    return st.recursive(st.one_of(words, hosts), larger, max_leaves=6)


@settings(max_examples=150)
@given(expressions(), st.data())
def test_it_means_what_libpcap_means(expression: str, data: st.DataObject) -> None:
    """Of cut frames too, where libpcap means the same with its optimiser and without it."""
    structure = take_apart(expression)
    assert structure is not None
    joined = join(simplify(structure), compile_primitive, SNAPLEN)
    whole = optimized = compile_whole(expression, optimize=False)
    with suppress(FilterSyntaxError):  # only the optimiser refuses what never matches
        optimized = compile_whole(expression)
    compiled = compile_cbpf(expression, joined)
    for frame in data.draw(st.lists(st.sampled_from(FRAMES), min_size=12, max_size=12)):
        for length in (len(frame), data.draw(st.integers(0, len(frame)))):
            piece = frame[:length]
            expected = cbpf_interp.run(whole, piece)
            unclear = length < len(frame) and cbpf_interp.run(optimized, piece) != expected
            if unclear or ends_amid_ports(frame, length):
                continue
            assert cbpf_interp.run(joined, piece) == expected
            verdict, _ = ebpf_interp.run(compiled, Packet(piece, len(frame)))
            assert verdict == (expected != 0)


def test_the_structure() -> None:
    assert take_apart("host 1.1.1.1 or 2.2.2.2 and not (tcp||udp)") == Joined(
        "and",
        [
            Joined("or", ["host 1.1.1.1", "host 2.2.2.2"]),
            Joined("not", [Joined("or", ["tcp", "udp"])]),
        ],
    )
    assert take_apart("tcp dst port 80 or 443") == Joined(
        "or", ["tcp dst port 80", "tcp dst port 443"]
    )


@pytest.mark.parametrize(
    "expression",
    [
        "", "and", "tcp and", "(tcp", "tcp)", "vlan 7 and ip", "ip[0] & 15 = 5", "mpls or udp",
        "host example.org or tcp", "host cafe or tcp", "10.0.0.1",
        "src or dst host 10.0.0.1", "not host 1.1.1.1 or 2.2.2.2", "(host 1.1.1.1) or 2.2.2.2",
        "tcp or 80", "len > 5", "ip proto 6", "tcp # 1", "(" * 60 + "tcp" + ")" * 60, "geneve",
    ],
)  # fmt: skip
def test_what_stays_together(expression: str) -> None:
    assert take_apart(expression) is None


def test_long_expressions_are_taken_apart_and_keep_their_words() -> None:
    hosts = " or ".join(f"host 10.0.{n // 250}.{n % 250}" for n in range(400))
    assert len(hosts) > SHORT_LENGTH
    assert len(compile_filter(f"tcp and ({hosts})").cbpf) > 400 * 10, "one program a host"
    with pytest.raises(FilterSyntaxError, match="illegal port number"):
        compile_filter(f"{hosts} or port 123456789")
    with pytest.raises(FilterSyntaxError, match="syntax error"):
        compile_filter(f"{hosts} or host")
