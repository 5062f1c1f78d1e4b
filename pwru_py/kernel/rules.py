# SPDX-License-Identifier: Apache-2.0
"""The rules of nf_tables and x_tables, in any namespace, as nft(8) and iptables-save list them."""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
import time
from collections.abc import Callable

from ..escape import printable
from ..facts.ruleset import Netns, Rule, parse_ruleset
from ..facts.xtables import Place, XtRule, parse_tables
from .helper import start_helper
from .list_rules import END

_AGAIN_S = 1.0
_ANSWER_S = 10.0
_LISTINGS = 4  # of x_tables that are kept of a namespace


class RuleBook:
    """Looks rules up: those of nf_tables by their handles, those of x_tables by where they are.

    A handle means the same rule for ever: a rule that is replaced gets another one, and so does a
    table that is made again. A place means the same rule until a set of rules is replaced:
    ``replaced`` says how many have been, from 1 up, and 0 while one is.

    A namespace is listed when a rule in it is not known yet, once a second at most. Another one may
    have its number by then: since 5.14 its cookie tells, and its rules are not taken for those.
    """

    def __init__(self, replaced: Callable[[], int] = int) -> None:
        self._replaced = replaced
        self._known: dict[tuple[Netns, int, int], Rule] = {}
        self._plain: dict[Netns, frozenset[int]] = {}
        self._placed: dict[Netns, dict[int, dict[Place, XtRule]]] = {}
        self._listed_s: dict[tuple[str, Netns], float] = {}
        self._process: subprocess.Popen[bytes] | None = None
        with contextlib.suppress(OSError):
            self._process = start_helper("pwru_py.kernel.list_rules")

    def find(self, netns: Netns, table: int, rule: int) -> Rule | None:
        """By the namespace and two handles; None: it is gone, or nothing can tell."""
        key = (netns, table, rule)
        if key not in self._known:
            self._look(netns)
        return self._known.get(key)

    def is_plain(self, netns: Netns, table: int) -> bool:
        """Whether in a table nothing but verdicts of rules, and policies, decides now."""
        self._look(netns)
        return table in self._plain.get(netns, ())

    def find_placed(self, netns: Netns, place: Place, replaced: int) -> XtRule | None:
        """Of x_tables, when so many sets had been replaced; None: there are others now, or nothing
        can tell.
        """
        if replaced not in self._placed.get(netns, {}):
            self._look_at_places(netns)
        return self._placed.get(netns, {}).get(replaced, {}).get(place)

    def _look(self, netns: Netns) -> None:
        if not self._due("nft", netns):
            return
        listed = parse_ruleset(self._list("nft", netns))
        self._plain[netns] = listed.plain
        for handles, rule in listed.rules.items():
            self._known[netns, *handles] = Rule(printable(rule.chain), printable(rule.text))

    def _look_at_places(self, netns: Netns) -> None:
        before = self._replaced()
        if not before or not self._due("xtables", netns):
            return
        lines = self._list("xtables", netns)
        if not lines or self._replaced() != before:
            return
        listings = self._placed.setdefault(netns, {})
        listings[before] = {
            place: rule._replace(chain=printable(rule.chain), text=printable(rule.text))
            for place, rule in parse_tables(lines).items()
        }
        if len(listings) > _LISTINGS:
            del listings[min(listings)]

    def _due(self, what: str, netns: Netns) -> bool:
        """Whether it is listed again."""
        now_s = time.monotonic()
        if now_s < self._listed_s.get((what, netns), now_s - _AGAIN_S) + _AGAIN_S:
            return False
        self._listed_s[what, netns] = now_s
        return True

    def _list(self, what: str, netns: Netns) -> list[str]:
        """The listing's lines; none of a namespace that nothing leads to, or that is gone."""
        process = self._process
        if process is None:
            return []
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(f"{what} {netns.inode}\n".encode())
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
