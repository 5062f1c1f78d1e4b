# SPDX-License-Identifier: Apache-2.0
"""The rules of nf_tables and x_tables, in any namespace, as nft(8) and iptables-save list them."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable
from typing import TypeVar

from ..escape import printable
from ..facts.ebtables import parse_bridge_table
from ..facts.ruleset import Netns, Rule, Ruleset, parse_ruleset
from ..facts.xtables import Place, XtRule, parse_tables
from .helper import start_helper
from .list_rules import END, LISTED

T = TypeVar("T")
_AGAIN_S = 1.0
_SHARE = 2  # of a listing's time passes before the next one, where changes are seen
_SOON_S = 0.1
_ANSWER_S = 30.0  # nft lists 10 000 rules in 1 s, in an emulated guest in 10 s
_LISTINGS = 4  # that are kept of a namespace


def _unseen(_what: str) -> int:
    return 0


class RuleBook:
    """Looks rules up: those of nf_tables by their handles, those of x_tables by where they are.

    A handle means the same rule for ever: a rule that is replaced gets another one, and so does a
    table that is made again. A place means the same rule until a set of rules is replaced:
    ``replaced`` says how many have been of ``xtables``, from 1 up, and how many transactions of
    ``nft``; 0 while one is, and where that is not known.

    A namespace is listed when something in it is not known yet and may have come since, once a
    second at most where changes are not seen. Another one may have its number by then: since 5.14
    its cookie tells, and its rules are not taken for those.
    """

    def __init__(self, replaced: Callable[[str], int] = _unseen) -> None:
        self._replaced = replaced
        self._known: dict[tuple[Netns, int, int], Rule] = {}
        self._rulesets: dict[Netns, dict[int, Ruleset]] = {}
        self._placed: dict[tuple[str, Netns], dict[int, dict[Place, XtRule]]] = {}
        self._due_s: dict[tuple[str, Netns], float] = {}
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = start_helper("pwru_py.kernel.list_rules")

    def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
        """By the namespace and two handles; None: it is gone, or nothing can tell."""
        key = (netns, table, rule)
        if key not in self._known:
            self._look(netns, self._replaced("nft"))
        return self._known.get(key)

    def is_gone(self, netns: Netns, table: int, rule: int) -> bool:
        """Whether what is listed now lacks it for certain."""
        now = self._replaced("nft")
        listed = self._rulesets.get(netns, {}).get(now) if now else None
        if listed is None or (table, rule) in listed.rules:
            return False
        return table in listed.whole or table not in listed.tables

    def is_plain(self, netns: Netns, table: int, replaced: int) -> bool:
        """Whether in a table nothing but what is watched, and policies, decided, when so many
        transactions had been.
        """
        if replaced and replaced == self._replaced("nft"):
            self._look(netns, replaced)
        listed = self._rulesets.get(netns, {}).get(replaced) if replaced else None
        return listed is not None and table in listed.plain

    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        """Of x_tables, when so many sets had been replaced; None: there are others now, or nothing
        can tell.
        """
        bridge = place.family == "bridge"
        what = f"bridge:{place.table}" if bridge else "xtables"
        listings = self._placed.setdefault((what, netns), {})
        if replaced and replaced not in listings and replaced == self._replaced("xtables"):
            lines = self._list_due(what, netns)
            if lines and self._replaced("xtables") == replaced:
                found = parse_bridge_table(lines) if bridge else parse_tables(lines)
                _keep(listings, replaced, _printable(found))
        return listings.get(replaced, {}).get(place)

    def _look(self, netns: Netns, now: int) -> None:
        """``now``: how many transactions have been; what is listed since is not listed again."""
        rulesets = self._rulesets.setdefault(netns, {})
        if now and now in rulesets:
            return
        lines = self._list_due("nft", netns)
        listed = parse_ruleset(lines)
        for handles, rule in listed.rules.items():
            self._known[netns, *handles] = Rule(printable(rule.chain), printable(rule.text))
        if lines[-1:] == [LISTED] and now and self._replaced("nft") == now:
            _keep(rulesets, now, listed)

    def _list_due(self, what: str, netns: Netns) -> list[str]:
        """Nothing where it has just been listed."""
        begun_s = time.monotonic()
        if begun_s < self._due_s.get((what, netns), begun_s):
            return []
        lines = self._list(what, netns)
        took_s = time.monotonic() - begun_s
        seen = bool(lines) and self._replaced(what) > 0
        pause_s = max(_SOON_S, _SHARE * took_s) if seen else _AGAIN_S
        self._due_s[what, netns] = begun_s + took_s + pause_s
        return lines

    def _list(self, what: str, netns: Netns) -> list[str]:
        """The listing's lines; none of a namespace that nothing leads to, or that is gone."""
        process = self._process
        if process is None:
            return []
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{what} {netns.inode} {netns.cookie}\n".encode())
            process.stdin.flush()
        except OSError:
            return []
        text, end = b"", f"{END}\n".encode()
        while not text.endswith(end):
            if not select.select([process.stdout], [], [], _ANSWER_S)[0]:
                self.close()
                return []
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return []
            text += part
        there, *lines = text.decode(errors="backslashreplace").splitlines()[:-1] or ["0"]
        return lines if int(there) in (0, netns.cookie) or not netns.cookie else []

    def close(self) -> None:
        """Ends the process that lists; may be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()


def _printable(rules: dict[Place, XtRule]) -> dict[Place, XtRule]:
    return {
        place: rule._replace(chain=printable(rule.chain), text=printable(rule.text))
        for place, rule in rules.items()
    }


def _keep(listings: dict[int, T], replaced: int, listing: T) -> None:
    """The latest few."""
    listings[replaced] = listing
    if len(listings) > _LISTINGS:
        del listings[min(listings)]
