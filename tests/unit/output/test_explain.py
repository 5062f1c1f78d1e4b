# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.errors import NotFoundError
from pwru_py.facts.meanings import every, functions, reasons
from pwru_py.output.explain import WIDTH, entry_lines, explain


def test_golden() -> None:
    assert explain("no_socket") == [
        "NO_SOCKET",
        "  No socket matches the packet's addresses and port.",
        "  Check ss -ln for the port, the address it is bound to and its namespace.",
        "  Source: include/net/dropreason-core.h; net/ipv4/udp.c, net/ipv4/tcp_ipv4.c",
    ]


def test_a_function_alone_and_with_a_reason() -> None:
    lines = explain("nf_hook_slow")
    assert [line for line in lines if not line.startswith(" ")] == [
        "nf_hook_slow",
        "",
        "NETFILTER_DROP in nf_hook_slow",
    ]
    assert len(lines) == 9


def test_every_entry_takes_four_lines_that_fit() -> None:
    for entry in every():
        lines = entry_lines(entry)
        assert entry.means in lines[1]
        assert entry.check in lines[2]
        assert max(map(len, lines)) <= WIDTH, lines


def test_a_narrow_terminal_gets_more_lines() -> None:
    lines = explain("NO_SOCKET", width=40)
    assert lines[1:4] == [
        "  No socket matches the packet's",
        "    addresses and port.",
        "  Check ss -ln for the port, the address",
    ]
    assert max(map(len, lines)) <= 40


def test_a_typing_error_is_told_in_one_line() -> None:
    with pytest.raises(NotFoundError) as caught:
        explain("NO_SOKET")
    assert str(caught.value) == (
        "cannot explain NO_SOKET: no such drop reason or function is known: did you mean "
        "NO_SOCKET? --explain list shows all"
    )


def test_nonsense_is_escaped_and_has_no_hint() -> None:
    with pytest.raises(NotFoundError) as caught:
        explain("\x1b[2J\n")
    assert str(caught.value) == (
        "cannot explain \\x1b[2J\\x0a: no such drop reason or function is known: "
        "--explain list shows all"
    )


def test_the_list_names_every_reason_and_function_and_fits() -> None:
    lines = explain("list")
    assert max(map(len, lines)) <= WIDTH
    words = " ".join(lines).replace(",", "").split()
    assert words == ["Reasons:", *reasons(), "Functions:", *functions()]
