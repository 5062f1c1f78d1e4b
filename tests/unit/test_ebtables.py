# SPDX-License-Identifier: Apache-2.0
"""Rules of ebtables by their places, as the kernel and ebtables 2.0.11 tell them."""

from __future__ import annotations

import struct

from pwru_py.facts.ebtables import parse_bridge_table
from pwru_py.facts.xtables import Place, XtRule

ACCEPT, DROP, CONTINUE, RETURN = -1, -2, -3, -4
HEAD, TARGET = 112, 48


def chain(name: str, policy: int, rules: int) -> bytes:
    return struct.pack("=I32sIiI", 0, name.encode(), 0, policy, rules)


def rule(verdict: int | str, *, matches: int = 0) -> bytes:
    """struct ebt_entry. A text is another target."""
    offsets = struct.pack("=III", HEAD + matches, HEAD + matches, HEAD + matches + TARGET)
    name = verdict.encode() if isinstance(verdict, str) else b"standard"
    said = verdict if isinstance(verdict, int) else 0
    target = struct.pack("=31sBI4xi4x", name, 0, 8, said)
    return struct.pack("=I", 3).ljust(100, b"\0") + offsets + bytes(matches) + target


RULES = [
    chain("INPUT", ACCEPT, 0),  # 0
    chain("FORWARD", DROP, 3),  # 48
    rule(304, matches=32),  # 96: to a chain
    rule("mark"),  # 288
    rule(CONTINUE),  # 448
    chain("DENY", DROP, 2),  # 608
    rule(DROP),  # 656
    rule(RETURN),  # 816
]
SAVED = """\
[5:150] -A FORWARD -p IPv4 -j DENY
[0:0] -A FORWARD -j mark --mark-set 0x1 --mark-target DROP
[4:120] -A FORWARD
[1:30] -A DENY -j DROP
[0:0] -A DENY -j RETURN
"""


def listing(rules: list[bytes] = RULES, saved: str = SAVED, cut: int = 0) -> list[str]:
    whole = b"".join(rules)
    return [f"bridge filter {whole[: len(whole) - cut].hex()}", *saved.splitlines()]


def test_each_rule_has_its_chain_and_each_chain_ends_with_its_policy() -> None:
    """One without rules ends where the next one begins."""
    assert parse_bridge_table(listing()) == {
        Place("bridge", "filter", 48): XtRule("INPUT", 0, False, "", "ACCEPT"),
        Place("bridge", "filter", 96): XtRule(
            "FORWARD", 1, False, "[5:150] -A FORWARD -p IPv4 -j DENY", "JUMP"
        ),
        Place("bridge", "filter", 288): XtRule(
            "FORWARD", 2, True, "[0:0] -A FORWARD -j mark --mark-set 0x1 --mark-target DROP", "mark"
        ),
        Place("bridge", "filter", 448): XtRule(
            "FORWARD", 3, False, "[4:120] -A FORWARD", "CONTINUE"
        ),
        Place("bridge", "filter", 608): XtRule("FORWARD", 0, True, "", "DROP"),
        Place("bridge", "filter", 656): XtRule("DENY", 1, True, "[1:30] -A DENY -j DROP", "DROP"),
        Place("bridge", "filter", 816): XtRule(
            "DENY", 2, False, "[0:0] -A DENY -j RETURN", "RETURN"
        ),
        Place("bridge", "filter", 976): XtRule("DENY", 0, True, "", "DROP"),
    }


def test_a_text_is_of_the_same_rules_or_of_none() -> None:
    found = parse_bridge_table(listing(saved=SAVED + "[0:0] -A DENY -j ACCEPT\n"))
    assert found[Place("bridge", "filter", 656)] == XtRule("DENY", 1, True, "", "DROP")
    assert found[Place("bridge", "filter", 96)].text
    assert {rule.text for rule in parse_bridge_table(listing(saved="")).values()} == {""}


def test_what_is_cut_short_is_left_out() -> None:
    """The policy behind it, too."""
    whole = parse_bridge_table(listing())
    for cut in range(1, 160):
        found = parse_bridge_table(listing(cut=cut))
        assert found.keys() < whole.keys()
        assert Place("bridge", "filter", 976) not in found
    assert parse_bridge_table([]) == {}
    assert parse_bridge_table(["bridge filter "]) == {}
