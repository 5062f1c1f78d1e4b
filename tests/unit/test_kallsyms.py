# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import string
from bisect import bisect_right

from hypothesis import given
from hypothesis import strategies as st

from pwru_py.facts.kallsyms import (
    Symbols,
    blacklist,
    filter_functions,
    find_addresses,
    find_clones,
)

TEXT = b"""\
0000000000000000 A fixed_percpu_data
ffffffff81000000 T _stext
ffffffff81000000 T _text
ffffffff81000100 t static_one
ffffffff81000180 D data_between
ffffffff81000200 W weak_one
ffffffff81000300 w weaker_one
ffffffff81000400 t static_one
ffffffff81000500 V weak_object
ffffffffc0000000 t veth_xmit\t[veth]
ffffffffc0000100 t static_one\t[veth]
ffffffffc0001000 t bpf_prog_0123456789abcdef_skb_arg1\t[bpf]
"""
LINES = TEXT.splitlines(keepends=True)


def test_lookup() -> None:
    symbols = Symbols(LINES)
    found = {
        0xFFFFFFFF81000000: ("_stext", "", 0),  # of aliases the first
        0xFFFFFFFF810000FF: ("_stext", "", 0xFF),
        0xFFFFFFFF81000100: ("static_one", "", 0),
        0xFFFFFFFF81000190: ("static_one", "", 0x90),  # data is no function
        0xFFFFFFFF81000208: ("weak_one", "", 8),
        0xFFFFFFFF81000301: ("weaker_one", "", 1),
        0xFFFFFFFFC0000010: ("veth_xmit", "veth", 0x10),
        0xFFFFFFFFC0001001: ("bpf_prog_0123456789abcdef_skb_arg1", "bpf", 1),
    }
    assert {addr: symbols.lookup(addr) for addr in found} == found


def test_an_address_near_no_symbol_has_none() -> None:
    symbols = Symbols(LINES)
    assert symbols.lookup(0xFFFFFFFF80FFFFFF) is None, "below the first"
    assert symbols.lookup(0) is None
    assert symbols.lookup(0xFFFFFFFFBFFFFFFF) is None, "between the kernel and its modules"
    assert symbols.lookup(0xFFFFFFFFFFFFFFFF) is None
    assert Symbols([]).lookup(0) is None


def test_text_symbols_alone_are_kept() -> None:
    assert len(Symbols(LINES)) == 9


def test_find_addresses() -> None:
    wanted = [("static_one", ""), ("veth_xmit", "veth"), ("veth_xmit", ""), ("absent", "")]
    assert find_addresses(TEXT.splitlines(keepends=True), wanted) == {
        0xFFFFFFFF81000100: ("static_one", ""),
        0xFFFFFFFF81000400: ("static_one", ""),
        0xFFFFFFFFC0000000: ("veth_xmit", "veth"),
    }


def test_hidden_addresses() -> None:
    assert Symbols(LINES).visible
    hidden = Symbols([b"0000000000000000 T _text\n", b"0000000000000000 t veth_xmit\t[veth]\n"])
    assert len(hidden) == 2
    assert not hidden.visible
    assert not Symbols([]).visible
    assert not Symbols([b"ffffffff81000000 D data_alone\n"]).visible


def test_lines_in_any_order_and_without_an_end() -> None:
    text = b"ffffffffc0000000 t late\t[m]\nffffffff81000000 T early\n\n"
    symbols = Symbols((text + b"ffffffff81000010 T x").splitlines(keepends=True))
    assert symbols.lookup(0xFFFFFFFF8100000F) == ("early", "", 0xF)
    assert symbols.lookup(0xFFFFFFFF81000010) == ("x", "", 0)


ENTRIES = st.lists(
    st.tuples(
        st.integers(1, 1 << 24),
        st.text(string.ascii_lowercase + "_.", min_size=1, max_size=3),
        st.sampled_from(["", "veth", "nf_nat"]),
    ),
    min_size=1,
)


@given(ENTRIES, st.integers(0, 1 << 25))
def test_lookup_is_what_a_search_through_all_finds(
    entries: list[tuple[int, str, str]], addr: int
) -> None:
    lines = [f"{a:016x} t {name}" + (f"\t[{m}]" if m else "") for a, name, m in entries]
    symbols = Symbols(line.encode() for line in lines)
    found = symbols.lookup(addr)
    starts = sorted(start for start, _, _ in entries)
    at = bisect_right(starts, addr)
    if found is None:
        assert at == 0 or addr - starts[at - 1] > 1 << 20
    else:
        assert addr - found.offset == starts[at - 1]
        assert (starts[at - 1], found.name, found.module) in entries


def test_filter_functions() -> None:
    text = b"ip_rcv\nstatic_one\nother\nstatic_one\nveth_xmit [veth]\nstatic_one [veth]\n"
    names = [("static_one", ""), ("static_one", "veth"), ("ip_rcv", ""), ("veth_xmit", "")]
    assert filter_functions(text, names, located=False) == {
        ("ip_rcv", ""): [0],
        ("static_one", ""): [0, 0],
        ("static_one", "veth"): [0],
    }
    located = b"".join(b"%x %s\n" % (n, line) for n, line in enumerate(text.splitlines(), 16))
    assert filter_functions(located, names, located=True) == {
        ("ip_rcv", ""): [16],
        ("static_one", ""): [17, 19],
        ("static_one", "veth"): [21],
    }
    assert filter_functions(b"", names, located=True) == {}


def test_find_clones() -> None:
    names = {("f", ""), ("g", ""), ("f", "veth"), ("h", ""), ("last", ""), ("none", "")}
    text = (
        b"f\nf.isra.0\ng.constprop.0.isra.0\nother.isra.0\ng.part.1\nnone.cold\nh.isra.0.cold\n"
        b"none.llvm.12\nnone.isra.x\nxf.isra.0\nf.part.0 [veth]\nh.isra.0 [veth]\nlast.part.12"
    )
    found = {
        ("f", ""): ("f.isra.0",),
        ("g", ""): ("g.constprop.0.isra.0", "g.part.1"),
        ("f", "veth"): ("f.part.0",),
        ("last", ""): ("last.part.12",),
    }
    assert find_clones(text, names) == found
    located = b"".join(b"ffffffff81000000 %s\n" % line for line in text.splitlines())
    assert find_clones(located, names) == found
    assert find_clones(b"", names) == {}


def test_blacklist() -> None:
    text = (
        b"0xffffffff81000000-0xffffffff81000010\tdo_int3\n"
        b"0x0000000000000000-0x0000000000000000\tasm_exc_nmi\n"
        b"0xffffffffc0000000-0xffffffffc0000010\tin_a_module [kvm]\n"
        b"\n"
    )
    assert blacklist(text) == {"do_int3", "asm_exc_nmi", "in_a_module"}
    assert blacklist(b"") == set()
