# SPDX-License-Identifier: Apache-2.0
"""The rules of nf_tables by their handles, in any namespace, as nft(8) lists them."""

from __future__ import annotations

import os
import select
import shutil
import subprocess
import time
from collections.abc import Callable

from ..escape import printable
from ..facts.ruleset import Rule, parse_ruleset

_AGAIN_S = 1.0
_ANSWER_S = 5.0
_END = "end of the list"
# The tracer gives up the right to enter a namespace and to ask netfilter: this one keeps it.
_LIST = f"""
while read -r path; do
    nsenter --net="$path" nft -a list ruleset
    echo '{_END}'
done 2>/dev/null
"""


class RuleBook:
    """Looks rules up. A handle means the same rule for ever: a rule that is replaced gets another
    one, and so does a table that is made again.

    ``path``: what leads to a namespace, by its inode; '' where nothing does. A namespace is listed
    when a handle in it is not known yet, once a second at most. The process that lists ends with
    this one.
    """

    def __init__(self, path: Callable[[int], str]) -> None:
        self._path = path
        self._known: dict[tuple[int, int, int], Rule] = {}
        self._plain: dict[int, frozenset[int]] = {}
        self._listed_s: dict[int, float] = {}
        self._process: subprocess.Popen[bytes] | None = None
        if shutil.which("nft") and shutil.which("nsenter"):
            self._process = subprocess.Popen(
                ["/bin/sh", "-c", _LIST],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,
            )

    def find(self, netns: int, table: int, rule: int) -> Rule | None:
        """By the namespace's inode and two handles; None: it is gone, or nothing can tell."""
        key = (netns, table, rule)
        if key not in self._known:
            self._look(netns)
        return self._known.get(key)

    def is_plain(self, netns: int, table: int) -> bool:
        """Whether in a table nothing but verdicts of rules, and policies, decides now."""
        self._look(netns)
        return table in self._plain.get(netns, ())

    def _look(self, netns: int) -> None:
        now_s = time.monotonic()
        if now_s < self._listed_s.get(netns, now_s - _AGAIN_S) + _AGAIN_S:
            return
        self._listed_s[netns] = now_s
        listed = parse_ruleset(self._list(netns))
        self._plain[netns] = listed.plain
        for handles, rule in listed.rules.items():
            self._known[netns, *handles] = Rule(printable(rule.chain), printable(rule.text))

    def _list(self, netns: int) -> list[str]:
        """The listing's lines; none of a namespace that nothing leads to."""
        path = self._path(netns)
        process = self._process
        if process is None or not path or "\n" in path:
            return []
        assert process.stdin is not None
        assert process.stdout is not None
        try:
            process.stdin.write(os.fsencode(path) + b"\n")
            process.stdin.flush()
        except OSError:
            return []
        text, end = b"", f"{_END}\n".encode()
        while not text.endswith(end):
            if not select.select([process.stdout], [], [], _ANSWER_S)[0]:
                self.close()
                return []
            part = os.read(process.stdout.fileno(), 1 << 16)
            if not part:
                return []
            text += part
        return text.decode(errors="backslashreplace").splitlines()[:-1]

    def close(self) -> None:
        """Ends the process that lists; may be called again."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()
