# SPDX-License-Identifier: Apache-2.0
"""What in netfilter dropped a packet: a verdict, and the rule or the policy behind it. Pure."""

from __future__ import annotations

from typing import Protocol

from ..facts.ruleset import Netns, Rule
from ..facts.tables import BROUTE, EBTABLES_TOOL, QUEUES, told_tool
from ..facts.xtables import Place, XtRule
from .event import DroppedBy, Step, Verdict


class Rules(Protocol):
    """Rules as they are listed now: ``kernel.rules.RuleBook``."""

    def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
        """By namespace and the handles of table and rule; None where nothing tells."""

    def is_gone(self, netns: Netns, table: int, rule: int) -> bool:
        """Whether it is certain that there is no such rule now."""

    def is_plain(self, netns: Netns, table: int, replaced: int) -> bool:
        """Whether in a table nothing but what is watched, and policies, decided, when so many
        transactions had been.
        """

    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        """Of x_tables, when so many sets of rules had been replaced; None where nothing tells."""


class NoRules:
    """Where they cannot be looked up."""

    def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
        return None

    def is_gone(self, netns: Netns, table: int, rule: int) -> bool:
        return False

    def is_plain(self, netns: Netns, table: int, replaced: int) -> bool:
        return False

    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        return None


_UNKNOWN = "by a rule that is not known"
_QUEUE = "QUEUE"


def is_droppers(verdict: Verdict, by: str) -> bool:
    """Whether a packet that the function ``by`` has dropped was so by its last ``verdict``."""
    if verdict.tool == EBTABLES_TOOL and verdict.table == BROUTE:
        return False
    return verdict.verdict == "DROP" or (verdict.verdict == _QUEUE and by in QUEUES)


def dropped_by(inode: int, verdict: Verdict, rules: Rules) -> DroppedBy:
    """``verdict``: one that dropped a packet in a namespace."""
    netns = Netns(inode, verdict.net_cookie)
    known = _of_nftables if verdict.family else _of_xtables
    return known(netns, verdict, rules)


def dropped_by_text(dropped: DroppedBy) -> str:
    """``table filter, INPUT, rule 3: -A INPUT -p udp -j DROP``, as far as that is known; of
    arptables and ebtables ``arptables table filter, …``.
    """
    verdict = dropped.verdict
    table = f"{told_tool(verdict.tool)} table {verdict.table}, {verdict.hook}".lstrip()
    chain, policy = verdict.hook, "DROP"
    if verdict.family:
        table = f"table {verdict.family} {verdict.table}, chain {verdict.chain}, {verdict.hook}"
        chain, policy = verdict.chain, "drop"
    if dropped.by_policy:
        own = not dropped.chain or dropped.chain == chain  # of ebtables any chain may have one
        whose = "its policy" if own else f"the policy of chain {dropped.chain}"
        return f"{table}, by {whose}, {policy}"
    queued = "queued by " if verdict.verdict == _QUEUE else ""
    rule = f"{queued}rule {dropped.rule}" if dropped.rule else ""
    if dropped.why:
        return f"{table}, {rule} {dropped.why}" if rule else f"{table}, {dropped.why}"
    of = f" of chain {dropped.chain}" if dropped.chain != chain else ""
    return f"{table}, {rule}{of}: {dropped.text}".removesuffix(": ")


def step_of(inode: int, verdict: Verdict, rules: Rules) -> Step | None:
    """``verdict``: one of a step, in a namespace; None: it is no rule that anybody has written."""
    if not verdict.family:
        return _step_of_xtables(Netns(inode, verdict.net_cookie), verdict, rules)
    if not verdict.rule:
        return Step(verdict)
    rule = rules.find(Netns(inode, verdict.net_cookie), verdict.table_handle, verdict.rule)
    return Step(verdict) if rule is None else Step(verdict, rule.chain, rule.text)


def _step_of_xtables(netns: Netns, verdict: Verdict, rules: Rules) -> Step | None:
    """What the rule says is in the rule. The end of a chain of one's own is none."""
    placed, rule = verdict.placed, None
    if placed is not None:
        place = Place(placed.family, verdict.table, placed.offset)
        rule = rules.find_placed(netns, place, placed.replaced)
    if rule is None:
        return Step(verdict._replace(verdict=""))
    if rule.number < 0:
        return None
    said = verdict._replace(verdict=rule.verdict, rule=rule.number)
    if not rule.number:
        return Step(said._replace(step="policy", chain=rule.chain))
    return Step(said, rule.chain, rule.text)


def _of_nftables(netns: Netns, verdict: Verdict, rules: Rules) -> DroppedBy:
    if not verdict.rule:
        if verdict.verdict == _QUEUE:
            return DroppedBy(verdict, why=f"queued {_UNKNOWN}")
        if verdict.by_policy:
            return DroppedBy(verdict, by_policy=True)
        if verdict.policy != "DROP":
            return DroppedBy(verdict, why=_UNKNOWN)
        if rules.is_plain(netns, verdict.table_handle, verdict.replaced):
            return DroppedBy(verdict, by_policy=True)
        return DroppedBy(verdict, why="by its policy, drop, or a rule that is not known")
    rule = rules.find(netns, verdict.table_handle, verdict.rule)
    if rule is None:
        gone = rules.is_gone(netns, verdict.table_handle, verdict.rule)
        why = "(gone)" if gone else "(gone, or it cannot be listed)"
        return DroppedBy(verdict, verdict.rule, why=why)
    return DroppedBy(verdict, verdict.rule, rule.chain, rule.text)


def _of_xtables(netns: Netns, verdict: Verdict, rules: Rules) -> DroppedBy:
    if verdict.hot:
        return DroppedBy(verdict, why="by a match of a rule that is not known")
    placed = verdict.placed
    if placed is None:
        return DroppedBy(verdict, why=_UNKNOWN)
    place = Place(placed.family, verdict.table, placed.offset)
    rule = rules.find_placed(netns, place, placed.replaced)
    if rule is None or not rule.drops:  # one that lets it pass cannot be it
        return DroppedBy(verdict, why="by a rule that has been replaced, or cannot be listed")
    return DroppedBy(verdict, rule.number, rule.chain, rule.text, by_policy=not rule.number)
