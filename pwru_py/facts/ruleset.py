# SPDX-License-Identifier: Apache-2.0
"""What ``nft -a list ruleset`` prints: the text of each rule by its handle. Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

_TABLE = re.compile(r"table \S+ .+ \{ # handle ([0-9]+)")
_CHAIN = re.compile(r"\tchain (.+) \{ # handle [0-9]+")
_RULE = re.compile(r"\t\t(.+) # handle ([0-9]+)")


class Rule(NamedTuple):
    """A rule of nf_tables: the chain that it is in, which need not be the base chain, its text."""

    chain: str
    text: str


def parse_ruleset(lines: Iterable[str]) -> dict[tuple[int, int], Rule]:
    """By the handles of table and rule. Sets' elements and such have none, and are left out."""
    found: dict[tuple[int, int], Rule] = {}
    table, chain = 0, ""
    for line in lines:
        if match := _TABLE.fullmatch(line):
            table, chain = int(match[1]), ""
        elif match := _CHAIN.fullmatch(line):
            chain = match[1]
        elif line == "\t}":
            chain = ""
        elif chain and (match := _RULE.fullmatch(line)):
            found[table, int(match[2])] = Rule(chain, match[1])
    return found
