# SPDX-License-Identifier: Apache-2.0
"""``nft -a list ruleset`` as nftables 1.0.6 prints it."""

from __future__ import annotations

import pytest

from pwru_py.facts.ruleset import Rule, Ruleset, parse_ruleset

LISTING = """\
table inet flt { # handle 3
\tset bad { # handle 2
\t\ttype ipv4_addr
\t\telements = { 10.0.0.9,
\t\t\t     10.0.0.11 }
\t}

\tchain in { # handle 1
\t\ttype filter hook input priority filter; policy drop;
\t\tudp dport 9 counter packets 0 bytes 0 drop # handle 4
\t\tip saddr @bad jump deny # handle 7
\t\ttcp dport 80 drop comment "see # handle 4" # handle 8
\t}

\tchain deny { # handle 5
\t\tdrop # handle 6
\t}
}
table ip flt { # handle 4
\tchain deny { # handle 1
\t\taccept # handle 4
\t}
}"""


def test_rules_by_the_handles_of_table_and_rule() -> None:
    found = parse_ruleset(LISTING.splitlines())
    assert found.plain == {3, 4}
    assert found.rules == {
        (3, 4): Rule("in", "udp dport 9 counter packets 0 bytes 0 drop"),
        (3, 7): Rule("in", "ip saddr @bad jump deny"),
        (3, 8): Rule("in", 'tcp dport 80 drop comment "see # handle 4"'),
        (3, 6): Rule("deny", "drop"),
        (4, 4): Rule("deny", "accept"),
    }


def test_what_is_no_listing() -> None:
    assert parse_ruleset(["Error: no", "", "\t\tdrop # handle 3"]) == Ruleset()


INLINE = """\
table ip t { # handle 9
\tchain c { # handle 1
\t\tudp dport 1 drop # handle 2
\t\tudp dport 5 jump {
\t\t\tcounter packets 0 bytes 0 reject
\t\t\tgoto {
\t\t\t\taccept
\t\t\t}
\t\t} # handle 4
\t\tdrop # handle 7
\t}
}"""


@pytest.mark.parametrize(
    ("line", "plain"),
    [
        ("xt 3 4 match conntrack", True), ("xt 3 4 match multiport", False),
        ("xt 3 4 target REJECT", False), ("xt 4 4 match multiport", True),
    ],
)  # fmt: skip
def test_what_is_printed_as_if_it_were_not_of_x_tables(line: str, plain: bool) -> None:
    assert (3 in parse_ruleset([*LISTING.splitlines(), line]).plain) == plain


def test_what_iptables_saves_is_its_rules_text() -> None:
    said = ["saved 4 4 [0:0] -A deny -j ACCEPT", "saved 4 9 [0:0] -A deny -j DROP"]
    rules = parse_ruleset([*LISTING.splitlines(), *said]).rules
    assert rules[4, 4] == Rule("deny", "[0:0] -A deny -j ACCEPT")
    assert (4, 9) not in rules


def test_a_chain_without_a_name() -> None:
    """Its rules have no handles here: that of one is not known, and need not be gone."""
    found = parse_ruleset(INLINE.splitlines())
    assert (found.tables, found.whole | found.plain) == (frozenset({9}), frozenset())
    assert found.rules == {
        (9, 2): Rule("c", "udp dport 1 drop"),
        (9, 4): Rule("c", "udp dport 5 jump { counter packets 0 bytes 0 reject; goto { accept } }"),
        (9, 7): Rule("c", "drop"),
    }


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("udp dport vmap { 53 : drop }", True), ("queue to 3", False), ("reject", False),
        ('counter xt target "REJECT"', False), ('xt match "conntrack" counter drop', True),
        ('xt match "multiport" counter drop', False), ("masquerade", False),
        ("dnat to 9.9.9.9", False),
        ("xt match conntrack counter drop", True), ("ct zone set 3", False),
        ('log prefix "queue snat" accept', True),
        ('udp dport 9 drop comment "vmap reject"', True), ("udp reject with icmp x", False),
    ],
)  # fmt: skip
def test_what_decides_where_no_probe_is(text: str, plain: bool) -> None:
    lines = ["table ip t { # handle 9", "\tchain c { # handle 1", f"\t\t{text} # handle 2", "\t}"]
    assert (9 in parse_ruleset(lines).plain) == plain
