# SPDX-License-Identifier: Apache-2.0
"""Rules by their places, as the kernel, iptables-save 1.8.9 and arptables 0.0.5 tell them."""

from __future__ import annotations

import struct

import pytest

from pwru_py.facts.xtables import Place, XtRule, parse_tables

DROP, ACCEPT, RETURN = -1, -2, -5


def rule(
    verdict: int | str, *, family: str = "ip", matches: int = 0, name: str = "", goes: bool = False
) -> bytes:
    """struct ipt_entry and its like with so many bytes of matches. A text is another target."""
    head = {"ip": 112, "ip6": 168, "arp": 192}[family]
    target = struct.pack("=H29sB", 40, verdict.encode() if isinstance(verdict, str) else b"", 0)
    data = struct.pack("=iI", verdict, 0) if isinstance(verdict, int) else bytes(8)
    if verdict == "ERROR":
        data = name.encode().ljust(32, b"\0")
    size = head + matches + len(target) + len(data)
    offsets = struct.pack("=HH", head + matches, size)
    begin = bytes(head - (24 if family == "ip" else 28))
    entry = bytearray((begin + offsets).ljust(head, b"\0"))
    if goes:  # IPT_F_GOTO, IP6T_F_GOTO
        entry[{"ip": 82, "ip6": 131}[family]] = {"ip": 2, "ip6": 4}[family]
    return bytes(entry) + bytes(matches) + target + data


def listing(family: str, *, saved: str, rules: list[bytes], hooks: str, valid: int = 14) -> str:
    return f"table {family} filter {valid} {hooks} {b''.join(rules).hex()}\n{saved}"


NONE = 4294967295
RULES = [
    rule(ACCEPT, matches=48),  # 0: INPUT
    rule(200, matches=0),  # 200: to a chain
    rule("REJECT"),  # 352
    rule(ACCEPT),  # 504: its policy
    rule(DROP),  # 656: of FORWARD
    rule(ACCEPT),  # 808: of OUTPUT
    rule("ERROR", name="DENY"),  # 960
    rule(DROP, matches=16),  # 1136
    rule(RETURN),  # 1304: one that a person has made
    rule(RETURN),  # 1456: the chain's end
    rule("ERROR", name="ERROR"),
]
HOOKS = f"{NONE} 0 656 808 {NONE} {NONE} 504 656 808 {NONE}"
SAVED = """\
*filter
:INPUT ACCEPT [0:0]
:DENY - [0:0]
[1:28] -A INPUT -p tcp -m tcp --dport 1 -j ACCEPT
[0:0] -A INPUT -j DENY
[0:0] -A INPUT -j REJECT
[7:99] -A DENY -m comment --comment "-A INPUT" -j DROP
[0:0] -A DENY -j RETURN
COMMIT
"""


def test_each_rule_has_its_chain_its_number_and_its_text() -> None:
    lines = listing("ip", saved=SAVED, rules=RULES, hooks=HOOKS).splitlines()
    assert parse_tables(lines) == {
        Place("ip", "filter", 0): XtRule(
            "INPUT", 1, False, "[1:28] -A INPUT -p tcp -m tcp --dport 1 -j ACCEPT", "ACCEPT"
        ),
        Place("ip", "filter", 200): XtRule("INPUT", 2, False, "[0:0] -A INPUT -j DENY", "JUMP"),
        Place("ip", "filter", 352): XtRule("INPUT", 3, True, "[0:0] -A INPUT -j REJECT", "REJECT"),
        Place("ip", "filter", 504): XtRule("INPUT", 0, False, "", "ACCEPT"),
        Place("ip", "filter", 656): XtRule("FORWARD", 0, True, "", "DROP"),
        Place("ip", "filter", 808): XtRule("OUTPUT", 0, False, "", "ACCEPT"),
        Place("ip", "filter", 1136): XtRule(
            "DENY", 1, True, '[7:99] -A DENY -m comment --comment "-A INPUT" -j DROP', "DROP"
        ),
        Place("ip", "filter", 1304): XtRule("DENY", 2, False, "[0:0] -A DENY -j RETURN", "RETURN"),
        Place("ip", "filter", 1456): XtRule("DENY", -1, False, "", "RETURN"),
    }


@pytest.mark.parametrize("family", ["ip", "ip6"])
def test_where_a_rule_sends_a_packet(family: str) -> None:
    size = len(rule(0, family=family))
    rules = [
        rule(size, family=family),  # without a target: to the next one
        rule(7 * size, family=family),
        rule(7 * size, family=family, goes=True),
        rule(-4, family=family),
        rule(ACCEPT, family=family),
    ]
    hooks = f"{NONE} 0 {NONE} {NONE} {NONE} {NONE} {4 * size} {NONE} {NONE} {NONE}"
    line = f"table {family} filter 2 {hooks} {b''.join(rules).hex()}"
    told = [one.verdict for one in parse_tables([line]).values()]
    assert told == ["CONTINUE", "JUMP", "GOTO", "QUEUE", "ACCEPT"]


def test_a_text_is_of_the_same_rules_or_of_none() -> None:
    """Another rule was added while they were listed, or nothing lists them."""
    later = SAVED.replace("COMMIT", "[0:0] -A INPUT -p udp -j DROP\nCOMMIT")
    found = parse_tables(listing("ip", saved=later, rules=RULES, hooks=HOOKS).splitlines())
    assert found[Place("ip", "filter", 352)] == XtRule("INPUT", 3, True, "", "REJECT")
    assert found[Place("ip", "filter", 1136)].text, "the other chain is as it was"
    bare = parse_tables(listing("ip", saved="", rules=RULES, hooks=HOOKS).splitlines())
    assert {rule.text for rule in bare.values()} == {""}


def test_two_tables_do_not_mix() -> None:
    first = [rule(DROP, family="ip6"), rule(ACCEPT, family="ip6"), rule("ERROR", family="ip6")]
    second = [rule(DROP), rule(ACCEPT), rule("ERROR")]
    text = listing(
        "ip6", saved="-A INPUT -s ::1 -j DROP\n", rules=first, valid=2,
        hooks=f"{NONE} 0 {NONE} {NONE} {NONE} {NONE} 208 {NONE} {NONE} {NONE}",
    ) + listing(
        "ip", saved="-A INPUT -s 10.0.0.1/32 -j DROP\n", rules=second, valid=2,
        hooks=f"{NONE} 0 {NONE} {NONE} {NONE} {NONE} 152 {NONE} {NONE} {NONE}",
    )  # fmt: skip
    found = parse_tables(text.splitlines())
    assert found[Place("ip6", "filter", 0)].text == "-A INPUT -s ::1 -j DROP"
    assert found[Place("ip", "filter", 0)].text == "-A INPUT -s 10.0.0.1/32 -j DROP"
    assert found[Place("ip6", "filter", 208)] == XtRule("INPUT", 0, False, "", "ACCEPT")


def test_arptables_has_three_hooks() -> None:
    """Their numbers are others; what has its bytes where other families have a flag is no goto."""
    jump = rule(696, family="arp")
    rules = [
        jump,  # 0: INPUT
        rule(ACCEPT, family="arp"),  # 232
        rule(DROP, family="arp"),  # 464: of OUTPUT and, as far as it goes, FORWARD
        rule("ERROR", family="arp", name="DENY"),  # 696
        rule(DROP, family="arp"),  # 952
        rule(RETURN, family="arp"),  # 1184
        rule("ERROR", family="arp", name="ERROR"),
    ]
    assert len(jump) == 232
    found = parse_tables(listing(
        "arp", saved="[3:84] -A INPUT -j DENY -s 10.0.0.9\n[3:84] -A DENY -j DROP --opcode 1\n",
        rules=rules, valid=3, hooks="0 464 0 0 0 232 464 0 0 0",
    ).splitlines())  # fmt: skip
    assert found == {
        Place("arp", "filter", 0): XtRule(
            "INPUT", 1, False, "[3:84] -A INPUT -j DENY -s 10.0.0.9", "JUMP"
        ),
        Place("arp", "filter", 232): XtRule("INPUT", 0, False, "", "ACCEPT"),
        Place("arp", "filter", 464): XtRule("OUTPUT", 0, True, "", "DROP"),
        Place("arp", "filter", 952): XtRule(
            "DENY", 1, True, "[3:84] -A DENY -j DROP --opcode 1", "DROP"
        ),
        Place("arp", "filter", 1184): XtRule("DENY", -1, False, "", "RETURN"),
    }


def test_what_is_cut_short_is_left_out() -> None:
    line = listing("ip", saved=SAVED, rules=RULES, hooks=HOOKS).splitlines()[0]
    assert len(parse_tables([line[:-1000]])) < len(parse_tables([line]))
    assert parse_tables([line.rpartition(" ")[0]]) == {}
    assert parse_tables([]) == {}
