# SPDX-License-Identifier: Apache-2.0
"""Rules of nf_tables by their handles, as nft lists them in a namespace."""

from __future__ import annotations

import re

import pytest

from pwru_py.facts.ruleset import Netns, Rule
from pwru_py.facts.xtables import Place, XtRule
from pwru_py.kernel import rules
from pwru_py.kernel.rules import RuleBook
from tests.native.net import Net


def handle(net: Net, what: str) -> int:
    listed = net.run("b", "nft -a list ruleset")
    (number,) = re.findall(rf"{what}.* # handle ([0-9]+)", listed)
    return int(number)


def cookie(net: Net, name: str) -> int:
    asked = "import socket; print(int.from_bytes(socket.socket().getsockopt(1, 71, 8), 'little'))"
    return int(net.run(name, f'python3 -c "{asked}"'))


def test_a_namespace_that_has_the_number_of_one_that_is_gone(net: Net) -> None:
    """Its handles are the same; its cookie is not, and so its rules are not those."""
    inode, theirs, before = net.inode("b"), cookie(net, "b"), cookie(net, "a")
    assert theirs != before
    book = RuleBook(lambda _what: 1)
    try:
        net.run("b", "nft 'add table ip t; add chain ip t c; add rule ip t c udp dport 1 drop'")
        handles = handle(net, "table ip t"), handle(net, "dport 1")
        assert book.find(Netns(inode, before), *handles) is None
        assert not book.is_plain(Netns(inode, before), handles[0], 1)
        assert not book.is_gone(Netns(inode, before), *handles)
        assert book.find(Netns(inode, theirs), *handles) == Rule("c", "udp dport 1 drop")
        assert book.is_plain(Netns(inode, theirs), handles[0], 1)
    finally:
        book.close()
        net.run("b", "nft delete table ip t")


def test_a_rule_that_comes_later_and_one_that_is_gone(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(rules, "_AGAIN_S", 0.0)
    here = Netns(net.inode("b"), cookie(net, "b"))
    book = RuleBook()
    try:
        net.run("b", "nft 'add table ip t; add chain ip t c; add rule ip t c udp dport 1 drop'")
        table, first = handle(net, "table ip t"), handle(net, "dport 1")
        assert book.find(here, table, first) == Rule("c", "udp dport 1 drop")
        net.run("b", f"nft delete rule ip t c handle {first}; nft add rule ip t c udp dport 2 drop")
        second = handle(net, "dport 2")
        assert book.find(here, table, second) == Rule("c", "udp dport 2 drop")
        assert book.find(here, table, first), "what a handle meant it means for ever"
        net.run("b", "nft 'delete table ip t; add table ip t; add chain ip t c; "
                "add rule ip t c accept'")  # fmt: skip
        assert handle(net, "table ip t") != table
        assert book.find(here, table, handle(net, "accept")) != Rule("c", "accept")
        assert book.find(here, table, 99) is None
        assert book.find(Netns(1), table, first) is None, "nothing leads to that namespace"
    finally:
        book.close()
        net.run("b", "nft delete table ip t")
    assert book.find(here, 99, 99) is None


def test_what_is_gone_for_certain(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """Listed since the last change, and not there; rules of a chain without a name never are."""
    for pause in ("_AGAIN_S", "_SOON_S", "_SHARE"):
        monkeypatch.setattr(rules, pause, 0.0)
    here, changes = Netns(net.inode("b"), cookie(net, "b")), [1]
    book = RuleBook(lambda _what: changes[0])
    try:
        net.run("b", "nft 'add table ip t; add chain ip t c; "
                "add rule ip t c udp dport vmap { 1 : drop }'")  # fmt: skip
        table, first = handle(net, "table ip t"), handle(net, "dport")
        assert book.find(here, table, first + 1) is None
        assert book.is_gone(here, table, first + 1)
        assert book.is_plain(here, table, 1)
        monkeypatch.setattr(book, "_list", lambda _what, _netns: pytest.fail("it is listed"))
        assert book.find(here, table, first + 2) is None, "nothing has changed since"
        monkeypatch.undo()
        for pause in ("_AGAIN_S", "_SOON_S", "_SHARE"):
            monkeypatch.setattr(rules, pause, 0.0)
        changes[0] = 0
        assert not book.is_gone(here, table, first + 1), "it changes just now"
        assert not book.is_plain(here, table, 0)
        net.run("b", "nft 'add rule ip t c udp dport 5 jump { counter drop; }'")
        changes[0] = 2
        assert book.find(here, table, first + 9) is None
        assert not book.is_gone(here, table, first + 9), "it may be in that chain"
        jump = book.find(here, table, handle(net, "\t\t}"))
        assert jump == Rule("c", "udp dport 5 jump { counter packets 0 bytes 0 drop }")
        assert not book.is_plain(here, table, 3), "nobody knows what was then"
        net.run("b", "nft flush ruleset")
        changes[0] = 4
        assert book.find(here, table, first + 9) is None
        assert book.is_gone(here, table, first + 9)
    finally:
        book.close()
        net.run("b", "nft flush ruleset")


@pytest.mark.parametrize(
    ("match", "plain"),
    [
        ("-m comment --comment x", True),
        ("-m multiport --dports 7,8", False),  # drops what is too short to have ports
    ],
)
def test_matches_of_iptables_nft(net: Net, match: str, plain: bool) -> None:
    here = Netns(net.inode("b"), cookie(net, "b"))
    book = RuleBook(lambda _what: 1)
    try:
        net.run("b", "iptables-nft -A INPUT -p udp --dport 6 -j DROP")
        net.run("b", f"iptables-nft -A INPUT -p udp {match} -j DROP")
        table = handle(net, "table ip filter")
        assert book.is_plain(here, table, 1) == plain
        first, last = re.findall(r"drop # handle ([0-9]+)", net.run("b", "nft -a list ruleset"))
        rules = [book.find(here, table, int(number)) for number in (first, last)]
        assert rules == [
            Rule("INPUT", "udp dport 6 counter packets 0 bytes 0 drop"),
            Rule("INPUT", f"[0:0] -A INPUT -p udp {match} -j DROP"),
        ]
    finally:
        book.close()
        net.run("b", "nft flush ruleset")


def test_rules_of_iptables_by_their_places(net: Net, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be listed is asked for again; a listing is of one set of rules alone."""
    for pause in ("_AGAIN_S", "_SOON_S", "_SHARE"):
        monkeypatch.setattr(rules, pause, 0.0)
    here, place = Netns(net.inode("b"), cookie(net, "b")), Place("ip", "filter", 0)
    replaced = [1]
    book = RuleBook(lambda _what: replaced[0])
    try:
        net.run("b", "iptables-legacy -A INPUT -p udp --dport 1 -j DROP")
        with monkeypatch.context() as failing:
            failing.setattr(book, "_list", lambda _what, _netns: [])
            assert book.find_placed(here, place, 1) is None
        found = book.find_placed(here, place, 1)
        assert found is not None
        assert (found.chain, found.number, found.drops) == ("INPUT", 1, True)
        assert found.text.endswith("-A INPUT -p udp -m udp --dport 1 -j DROP")
        replaced[0] = 2
        net.run("b", "iptables-legacy -R INPUT 1 -p udp --dport 2 -j DROP")
        assert book.find_placed(here, place, 1) == found, "what it meant then"
        later = book.find_placed(here, place, 2)
        assert later is not None
        assert later.text.endswith("--dport 2 -j DROP")
        replaced[0] = 0
        assert book.find_placed(here, place, 3) is None, "a set is being replaced"
    finally:
        book.close()
        net.run("b", "iptables-legacy -F")


ARP_RULES = """arptables-legacy -N DENY
arptables-legacy -A INPUT -s 10.9.0.9 -j DENY; arptables-legacy -A INPUT -s 10.9.0.8
arptables-legacy -A DENY -i eth0 --opcode 1 -j DROP
arptables-legacy -P OUTPUT DROP"""
ARP_OFF = "arptables-legacy -P OUTPUT ACCEPT; arptables-legacy -F; arptables-legacy -X"


def test_rules_of_arptables_by_their_places(net: Net) -> None:
    here = Netns(net.inode("b"), cookie(net, "b"))
    book = RuleBook(lambda _what: 1)
    entry = 232
    try:
        net.run("b", ARP_RULES)
        first, second, policy, out, _forward = (
            book.find_placed(here, Place("arp", "filter", n * entry), 1) for n in range(5)
        )
        deny = book.find_placed(here, Place("arp", "filter", 5 * entry + 256), 1)
    finally:
        book.close()
        net.run("b", ARP_OFF)
    assert first == XtRule("INPUT", 1, False, "[0:0] -A INPUT -j DENY -s 10.9.0.9", "JUMP")
    assert second == XtRule("INPUT", 2, False, "[0:0] -A INPUT -s 10.9.0.8", "CONTINUE")
    assert policy == XtRule("INPUT", 0, False, "", "ACCEPT")
    assert out == XtRule("OUTPUT", 0, True, "", "DROP")
    assert deny == XtRule("DENY", 1, True, "[0:0] -A DENY -j DROP -i eth0 --opcode 1", "DROP")
