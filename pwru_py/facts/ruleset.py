# SPDX-License-Identifier: Apache-2.0
"""What ``nft -a list ruleset`` prints: the text of each rule by its handle. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NamedTuple

_TABLE = re.compile(r"table \S+ .+ \{ # handle ([0-9]+)")
_CHAIN = re.compile(r"\tchain (.+) \{ # handle [0-9]+")
_RULE = re.compile(r"\t\t(.+) # handle ([0-9]+)")
# What decides where no probe is: verdict maps, targets of xtables, queues; a reject's module may
# have come later.
_UNSEEN = re.compile(r"\b(vmap|xt target|queue|reject)\b")
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
    but verdicts of rules, and policies, decides.
    """

    rules: dict[tuple[int, int], Rule] = field(default_factory=dict)
    plain: frozenset[int] = frozenset()


def parse_ruleset(lines: Iterable[str]) -> Ruleset:
    """A listing. Sets' elements and such have no handles, and are left out."""
    found: dict[tuple[int, int], Rule] = {}
    tables, unseen = set(), set()
    table, chain = 0, ""
    for line in lines:
        if match := _TABLE.fullmatch(line):
            table, chain = int(match[1]), ""
            tables.add(table)
        elif match := _CHAIN.fullmatch(line):
            chain = match[1]
        elif line == "\t}":
            chain = ""
        elif chain and (match := _RULE.fullmatch(line)):
            found[table, int(match[2])] = Rule(chain, match[1])
            if _UNSEEN.search(_QUOTED.sub("", match[1])):
                unseen.add(table)
    return Ruleset(found, frozenset(tables - unseen))
