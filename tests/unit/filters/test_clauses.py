# SPDX-License-Identifier: Apache-2.0
"""Expressions at their outermost ``and``, the hosts they name, and what may have been meant."""

from __future__ import annotations

import pytest
from pwru_filters import (
    FilterError,
    Host,
    compile_filter,
    named_hosts,
    split_clauses,
    variants,
    with_address,
    with_port,
)

from .cbpf_interp import run
from .expressions import corpus
from .oracles import libpcap_program
from .packets import frames


@pytest.mark.parametrize(
    ("expression", "texts", "alone"),
    [
        ("icmp", ("icmp",), ("icmp",)),
        ("host 10.0.0.1 and tcp", ("host 10.0.0.1", "tcp"), ("host 10.0.0.1", "tcp")),
        ("(tcp && port 80)", ("tcp", "port 80"), ("tcp", "port 80")),
        ("tcp and (port 80 or port 443)", ("tcp", "(port 80 or port 443)"),
         ("tcp", "(port 80 or port 443)")),
        ("src or dst host 10.0.0.1 and udp", ("src or dst host 10.0.0.1", "udp"),
         ("src or dst host 10.0.0.1", "udp")),
        # and, or bind alike, from the left
        ("udp or tcp and port 80", ("udp or tcp", "port 80"), ("udp or tcp", "port 80")),
        ("tcp and port 80 or icmp", ("tcp and port 80 or icmp",), ("tcp and port 80 or icmp",)),
        ("tcp and port 80 and not host 10.0.0.1", ("tcp", "port 80", "not host 10.0.0.1"),
         ("tcp", "port 80", "not host 10.0.0.1")),
        # a value alone has the qualifiers of the one before
        ("host 10.0.0.1 and 10.0.0.2", ("host 10.0.0.1", "10.0.0.2"),
         ("host 10.0.0.1", "host 10.0.0.2")),
        ("tcp[13] & 2 != 0 and ip", ("tcp[13] & 2 != 0", "ip"), ("tcp[13] & 2 != 0", "ip")),
        # what follows a tag has moved: none means the same elsewhere
        ("vlan 7 and icmp", ("vlan 7", "icmp"), ()),
    ],
)  # fmt: skip
def test_clauses(expression: str, texts: tuple[str, ...], alone: tuple[str, ...]) -> None:
    found = split_clauses(expression)
    assert found is not None
    assert (found.texts, found.alone) == (texts, alone)


@pytest.mark.parametrize("expression", ["", "  ", "(tcp", "tcp)", "ip[0", "(tcp))("])
def test_what_is_no_expression_has_no_clauses(expression: str) -> None:
    assert split_clauses(expression) is None


@pytest.mark.parametrize(
    "expression",
    [
        "host 10.0.0.1 and tcp and port 80",
        "tcp or udp and port 53",
        "src or dst host 10.0.0.1 and udp",
        "host 10.0.0.1 and 10.0.0.2",
        "not tcp and not udp",
        "ip and (tcp or udp) and portrange 1-1024",
    ],
)
def test_libpcap_takes_them_together_for_the_whole(expression: str) -> None:
    """Packets that pass every clause alone, in turn, are those that pass the expression."""
    found = split_clauses(expression)
    assert found is not None
    assert found.alone
    whole = libpcap_program(expression)
    parts = [libpcap_program(text) for text in found.alone]
    last = libpcap_program(found.so_far[-1])
    for frame in frames():
        together = all(part.filter(frame) for part in parts)
        assert together == bool(whole.filter(frame)) == bool(last.filter(frame)), frame.hex()


def test_they_keep_the_meaning_of_every_expression_of_the_corpus() -> None:
    """The last text up to an end, and all alone with ``and`` between them, mean the whole."""
    compared = 0
    for expression in corpus():
        found = split_clauses(expression)
        if found is None or len(found.texts) < 2 or not _accepted(expression):
            continue
        whole = compile_filter(expression).cbpf
        for text in (found.so_far[-1], " and ".join(f"({each})" for each in found.alone)):
            if text:
                compared += 1
                other = compile_filter(text).cbpf
                assert all(run(whole, f) == run(other, f) for f in frames()), (expression, text)
    assert compared > 50


def _accepted(expression: str) -> bool:
    try:
        compile_filter(expression)
    except FilterError:
        return False
    return True


@pytest.mark.parametrize(
    ("expression", "hosts"),
    [
        ("host 10.0.0.1", [Host("10.0.0.1", "")]),
        ("dst host 10.0.0.1 and tcp", [Host("10.0.0.1", "dst")]),
        ("src 10.0.0.1 or dst fd00::1", [Host("10.0.0.1", "src"), Host("fd00::1", "dst")]),
        ("src or dst host 10.0.0.1", [Host("10.0.0.1", "")]),
        ("host 10.0.0.1 or 10.0.0.2", [Host("10.0.0.1", ""), Host("10.0.0.2", "")]),
        ("not host 10.0.0.1", []),
        ("net 10.0.0.0/8", []),
        ("port 80", []),
    ],
)
def test_hosts(expression: str, hosts: list[Host]) -> None:
    assert list(named_hosts(expression)) == hosts


def test_variants_of_a_direction() -> None:
    found = {variant.kind: variant.expression for variant in variants("src host 10.0.0.1")}
    assert found["swapped"] == "dst host 10.0.0.1"
    assert found["tagged"] == "vlan and (src host 10.0.0.1)"
    both = {v.kind: v.expression for v in variants("src host 10.0.0.1 and tcp dst port 80")}
    assert both["swapped"] == "dst host 10.0.0.1 and tcp src port 80"
    assert both["swapped ports"] == "src host 10.0.0.1 and tcp src port 80"
    assert both["swapped hosts"] == "dst host 10.0.0.1 and tcp dst port 80"
    assert "swapped" not in {variant.kind for variant in variants("host 10.0.0.1")}


def test_variants_of_the_family() -> None:
    found = {variant.kind: variant.expression for variant in variants("icmp and host 10.0.0.1")}
    assert found["ipv6"] == "ip6 and (icmp6 and (ip6[40] = 128 or ip6[40] = 129))"
    assert "ipv6" not in {variant.kind for variant in variants("net 10.0.0.0/8")}


@pytest.mark.parametrize(
    "expression",
    ["src host 10.0.0.1 and tcp dst port 80", "icmp and host 10.0.0.1", "vlan 7 and udp",
     "host fd00::1 and tcp port 80", "udp port 53", "ip6 and icmp6"],
)  # fmt: skip
def test_libpcap_knows_every_variant(expression: str) -> None:
    found = variants(expression)
    assert found
    for variant in found:
        assert compile_filter(variant.expression).expression == variant.expression


def test_an_address_or_a_port_is_replaced_as_a_word() -> None:
    assert with_address("host 10.0.0.1 or 10.0.0.11", "10.0.0.1", "10.9.0.1") == (
        "host 10.9.0.1 or 10.0.0.11"
    )
    assert with_port("port 80 or port 8080 and ip[80]", 80, 4000) == (
        "port 4000 or port 8080 and ip[80]"
    )
