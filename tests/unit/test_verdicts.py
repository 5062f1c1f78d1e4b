# SPDX-License-Identifier: Apache-2.0
"""Verdicts of netfilter join the drops that they cause."""

from __future__ import annotations

import pytest

from pwru_py.facts.ruleset import Netns, Rule
from pwru_py.facts.xtables import Place, XtRule
from pwru_py.output.verdicts import json_step, step_text
from pwru_py.packets import verdicts
from pwru_py.packets.verdicts import Verdicts
from pwru_py.record.dropped_by import NoRules, dropped_by_text
from pwru_py.record.event import Event, Frame, Placed, Step, Verdict

from .output.samples import drop, event

DROPS = Verdict("", "filter", "", "INPUT", "DROP", placed=Placed("ip", 152, 1))
ACCEPTS = DROPS._replace(verdict="ACCEPT")


class Listed(NoRules):
    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        found = (netns, place, replaced) == (Netns(7), Place("ip", "filter", 152), 1)
        return XtRule("INPUT", 2, True, "-A INPUT -j DROP") if found else None


def said(verdict: Verdict, packet: int = 1, netns: int = 7) -> Event:
    return event(verdict=verdict, packet=packet, netns=netns, func="ipt_do_table")


def rules_of(*events: Event) -> list[str | None]:
    found = Verdicts(Listed()).join(events)
    return [each.dropped_by.text if each.dropped_by else None for each in found]


def test_a_verdict_is_no_event_but_part_of_the_drop() -> None:
    other = event(packet=2)
    assert rules_of(said(DROPS), other, drop(packet=1)) == [None, "-A INPUT -j DROP"]
    assert rules_of(said(DROPS), drop(packet=2)) == [None], "of another packet"
    assert rules_of(drop(packet=1)) == [None]


def test_the_last_verdict_counts_and_counts_once() -> None:
    assert rules_of(said(DROPS), said(ACCEPTS), drop(packet=1)) == [None]
    assert rules_of(said(ACCEPTS), said(DROPS), drop(packet=1)) == ["-A INPUT -j DROP"]
    assert rules_of(said(DROPS), drop(packet=1), drop(packet=1)) == ["-A INPUT -j DROP", None]


def test_a_rule_is_of_the_namespace_where_it_decided() -> None:
    (told,) = Verdicts(Listed()).join([said(DROPS), drop(packet=1, netns=0)])
    assert (told.netns, told.dropped_by and told.dropped_by.rule) == (7, 2)
    (kept,) = Verdicts(Listed()).join([said(DROPS, netns=8), drop(packet=1, netns=9)])
    assert kept.netns == 9
    assert kept.dropped_by is not None
    assert (kept.dropped_by.rule, kept.dropped_by.text) == (0, "")


BRIDGE = {
    96: XtRule("DENY", 1, True, "-A DENY -j DROP", "DROP"),
    256: XtRule("DENY", 0, True, "", "DROP"),
    512: XtRule("FORWARD", 0, True, "", "DROP"),
    640: XtRule("FORWARD", 1, False, "-A FORWARD -j RETURN", "RETURN"),
}


class Bridged(NoRules):
    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        return BRIDGE.get(place.offset) if place[:2] == ("bridge", "filter") else None


@pytest.mark.parametrize(
    ("offset", "words"),
    [
        (96, "rule 1 of chain DENY: -A DENY -j DROP"),
        (256, "by the policy of chain DENY, DROP"),
        (512, "by its policy, DROP"),
        (640, "by a rule that has been replaced, or cannot be listed"),
        (1, "by a rule that has been replaced, or cannot be listed"),
    ],
)
def test_each_chain_of_ebtables_may_have_a_policy(offset: int, words: str) -> None:
    verdict = Verdict("", "filter", "", "FORWARD", "DROP", placed=Placed("bridge", offset, 1),
                      tool="ebtables")  # fmt: skip
    (told,) = Verdicts(Bridged()).join([said(verdict), drop(packet=1)])
    assert told.dropped_by is not None
    assert dropped_by_text(told.dropped_by) == f"ebtables table filter, FORWARD, {words}"


def test_the_drop_of_broute_has_the_packet_routed() -> None:
    """What drops it later is something else; of nf_tables a table may have that name."""
    verdict = Verdict("", "broute", "", "BROUTING", "DROP", tool="ebtables")
    assert rules_of(said(verdict), drop(packet=1)) == [None]
    assert rules_of(said(verdict._replace(family="ip", tool="")), drop(packet=1)) != [None]


def test_what_is_queued_is_dropped_by_the_queue_alone() -> None:
    """A program may let it go on, to be dropped by something else."""
    queued, queue = said(DROPS._replace(verdict="QUEUE")), Frame(1, "nf_queue", 2, "")
    assert rules_of(queued, drop(packet=1, location=queue)) == ["-A INPUT -j DROP"]
    assert rules_of(queued, drop(packet=1, location=Frame(1, "__udp4_lib_rcv", 2, ""))) == [None]
    assert rules_of(queued, said(ACCEPTS), drop(packet=1, location=queue)) == [None]


def test_what_is_never_freed_is_forgotten() -> None:
    most = verdicts._DROPS_MAX
    many = [said(DROPS, packet=number) for number in range(most + 1)]
    assert rules_of(*many, drop(packet=0)) == [None]
    assert rules_of(*many, drop(packet=most)) == ["-A INPUT -j DROP"]


class Handles(NoRules):
    def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
        return Rule("web", "accept") if (netns, table, rule) == (Netns(7), 3, 4) else None


MET = Verdict("ip", "t", "in", "INPUT", "ACCEPT", 3, 4, step="rule")


def test_a_rule_on_the_way_is_an_event() -> None:
    (told,) = Verdicts(Handles()).join([said(MET)])
    assert (told.verdict, told.nf_path) == (None, (Step(MET, "web", "accept"),))
    (gone,) = Verdicts(Handles()).join([said(MET._replace(rule=5))])
    assert step_text(gone.nf_path[0]).endswith(
        "INPUT, rule 5 (gone, or it cannot be listed) → ACCEPT"
    )
    assert rules_of(said(MET), said(DROPS), drop(packet=1)) == [None, "-A INPUT -j DROP"]


class Places(NoRules):
    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        known = {
            0: XtRule("INPUT", 1, False, "-A INPUT -j WEB", "JUMP"),
            100: XtRule("INPUT", 0, True, "", "DROP"),
            200: XtRule("WEB", -1, False, "", "RETURN"),
        }
        return known.get(place.offset) if replaced == 1 else None


def test_a_rule_of_iptables_on_the_way() -> None:
    """What it says is in the rule; the end of a chain of one's own is none."""
    met = [
        said(Verdict("", "filter", "", "INPUT", "CONTINUE", placed=placed, step="rule"))
        for placed in (Placed("ip", 0, 1), Placed("ip", 200, 1), Placed("ip", 100, 1),
                       Placed("ip", 0, 2), None)
    ]  # fmt: skip
    told = [event.nf_path[0] for event in Verdicts(Places()).join(met)]
    assert list(map(step_text, told)) == [
        "table filter INPUT, chain INPUT, rule 1: -A INPUT -j WEB → JUMP",
        "table filter INPUT, policy of chain INPUT → DROP",
        *["table filter INPUT, a rule (gone, or it cannot be listed)"] * 2,
    ]
    assert json_step(told[0])["rule"] == 1
    assert json_step(told[1])["step"] == "policy"


def test_of_drops_the_whole_way_is_theirs() -> None:
    joined = Verdicts(Handles(), drops=True)
    policy = Verdict("ip", "t", "in", "INPUT", "DROP", step="policy")
    events = [said(MET), said(MET, packet=2), said(policy), drop(packet=1), drop(packet=1)]
    first, second = joined.join(events)
    assert first.nf_path == (Step(MET, "web", "accept"), Step(policy))
    assert second.nf_path == ()
    assert step_text(first.nf_path[1]) == "ip t INPUT, policy of chain in → DROP"


def test_a_way_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(verdicts, "_STEPS_MAX", 3)
    (told,) = Verdicts(Handles(), drops=True).join([*[said(MET)] * 5, drop(packet=1)])
    assert len(told.nf_path) == 3
