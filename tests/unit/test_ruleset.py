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


@pytest.mark.parametrize(
    ("text", "plain"),
    [
        ("udp dport vmap { 53 : drop }", False), ("queue to 3", False), ("reject", False),
        ('counter xt target "REJECT"', False), ('xt match "conntrack" counter drop', True),
        ('udp dport 9 drop comment "vmap reject"', True), ("udp reject with icmp x", False),
    ],
)  # fmt: skip
def test_what_decides_where_no_probe_is(text: str, plain: bool) -> None:
    lines = ["table ip t { # handle 9", "\tchain c { # handle 1", f"\t\t{text} # handle 2", "\t}"]
    assert (9 in parse_ruleset(lines).plain) == plain
