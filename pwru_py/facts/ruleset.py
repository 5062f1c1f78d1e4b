# SPDX-License-Identifier: Apache-2.0
"""What ``nft -a list ruleset`` prints: the text of each rule by its handle. Pure.

With lines ``xt …`` and ``saved …`` of ``kernel.list_rules`` behind it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_TABLE = re.compile(r"table \S+ .+ \{ # handle ([0-9]+)")
_CHAIN = re.compile(r"\tchain (.+) \{ # handle [0-9]+")
_RULE = re.compile(r"\t\t(.+) # handle ([0-9]+)")
_INLINE = re.compile(r"\t\t(.+ )?(jump|goto) \{")  # a chain without a name, in a rule
# What may drop where no probe is: a queue, translation that finds no port, a match of x_tables; the
# modules of a target and of a reject may have come later.
_UNSEEN = re.compile(
    r"\b(xt target|xt match|queue|reject|[ds]nat|masquerade|redirect|synproxy|fwd|zone set|"
    r"expectation set|reset tcp option)\b"
)
# Matches that never do.
_HARMLESS = (
    "addrtype|comment|connmark|conntrack|dscp|iprange|length|limit|mac|mark|owner|physdev|pkttype|"
    "state|statistic|tos"
)
_HARMLESS_TEXT = re.compile(rf'\bxt match ("?)({_HARMLESS})\b\1')
_XT = re.compile(r"xt ([0-9]+) [0-9]+ (?:target|match) (.+)")
_SAVED = re.compile(r"saved ([0-9]+) ([0-9]+) (.+)")
_XT_HARMLESS = re.compile(rf"xt [0-9]+ [0-9]+ match ({_HARMLESS})")
_QUOTED = re.compile(r'"[^"]*"')


class Netns(NamedTuple):
    """A network namespace: its inode number, which a later one may have again, and what it alone
    has, 0 where that is not known: ``struct net``'s ``net_cookie``, or ``hash_mix`` before 5.12.
    """

    inode: int
    cookie: int = 0


class Rule(NamedTuple):
    """A rule of nf_tables: the chain that it is in, which need not be the base chain, its text."""

    chain: str
    text: str


@dataclass(frozen=True, slots=True)
class Ruleset:
    """``rules``: by the handles of table and rule. ``plain``: handles of tables in which nothing
    drops but what is watched, and policies. ``whole``: of those whose rules are all in ``rules``.
    ``tables``: of all.
    """

    rules: dict[tuple[int, int], Rule] = field(default_factory=dict)
    plain: frozenset[int] = frozenset()
    whole: frozenset[int] = frozenset()
    tables: frozenset[int] = frozenset()


def parse_ruleset(lines: Iterable[str]) -> Ruleset:
    """A listing. Sets' elements and such have no handles, and are left out; so do rules of a chain
    without a name, which are part of the text of the rule that leads there.
    """
    found: dict[tuple[int, int], Rule] = {}
    tables, unseen, cut = set(), set(), set()
    table, chain = 0, ""
    inline: list[str] = []
    for line in lines:
        if match := _TABLE.fullmatch(line):
            table, chain, inline = int(match[1]), "", []
            tables.add(table)
        elif match := _CHAIN.fullmatch(line):
            chain, inline = match[1], []
        elif line == "\t}":
            chain = ""
        elif match := _XT.fullmatch(line):
            if not _XT_HARMLESS.fullmatch(line):
                unseen.add(int(match[1]))
        elif (match := _SAVED.fullmatch(line)) and (key := (int(match[1]), int(match[2]))) in found:
            found[key] = found[key]._replace(text=match[3])
        elif chain and (_INLINE.fullmatch(line) or (inline and line.startswith("\t\t\t"))):
            inline.append(line)
            cut.add(table)
        elif chain and (match := _RULE.fullmatch(line)):
            text = _joined([*inline, match[1]])
            inline = []
            found[table, int(match[2])] = Rule(chain, text)
            if _UNSEEN.search(_QUOTED.sub("", _HARMLESS_TEXT.sub("", text))):
                unseen.add(table)
    return Ruleset(found, frozenset(tables - unseen), frozenset(tables - cut), frozenset(tables))


def _joined(lines: list[str]) -> str:
    joined = "; ".join(line.strip() for line in lines)
    return joined.replace("{; ", "{ ").replace("; }", " }")
