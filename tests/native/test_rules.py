# SPDX-License-Identifier: Apache-2.0
"""Rules of nf_tables by their handles, as nft lists them in a namespace."""

from __future__ import annotations

import re

import pytest

from pwru_py.facts.ruleset import Rule
from pwru_py.kernel import rules
from pwru_py.kernel.rules import RuleBook
from tests.native.net import Net


def handle(net: Net, what: str) -> int:
    listed = net.run("b", "nft -a list ruleset")
    (number,) = re.findall(rf"{what}.* # handle ([0-9]+)", listed)
    return int(number)


def test_a_rule_that_comes_later_and_one_that_is_gone(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_AGAIN_S", 0.0)
    inode = net.inode("b")
    book = RuleBook(lambda asked: net.netns("b") if asked == inode else "")
    try:
        net.run("b", "nft 'add table ip t; add chain ip t c; add rule ip t c udp dport 1 drop'")
        table, first = handle(net, "table ip t"), handle(net, "dport 1")
        assert book.find(inode, table, first) == Rule("c", "udp dport 1 drop")
        net.run("b", f"nft delete rule ip t c handle {first}; nft add rule ip t c udp dport 2 drop")
        second = handle(net, "dport 2")
        assert book.find(inode, table, second) == Rule("c", "udp dport 2 drop")
        assert book.find(inode, table, first), "what a handle meant it means for ever"
        net.run("b", "nft 'delete table ip t; add table ip t; add chain ip t c; "
                "add rule ip t c accept'")  # fmt: skip
        assert handle(net, "table ip t") != table
        assert book.find(inode, table, handle(net, "accept")) != Rule("c", "accept")
        assert book.find(inode, table, 99) is None
        assert book.find(1, table, first) is None, "nothing leads to that namespace"
    finally:
        book.close()
        net.run("b", "nft delete table ip t")
    assert book.find(inode, 99, 99) is None
