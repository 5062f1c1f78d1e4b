# SPDX-License-Identifier: Apache-2.0
"""What a drop reason means and what to check: ``explanations/*.txt`` as values. Pure.

An entry has four lines: reason and function, what it means, what to check, the kernel's source. A
blank line ends it; ``#`` begins a comment. ``*`` stands for every function. Most places where the
kernel frees a packet give no reason, on 7.3 too: for those the entry is NOT_SPECIFIED and the
function. Nothing is read before the first question.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from difflib import get_close_matches
from functools import cache
from pathlib import Path

EVERY_FUNCTION = "*"
NOT_SPECIFIED = "NOT_SPECIFIED"

_DIRECTORY = Path(__file__).parent / "explanations"
_PREFIX = re.compile(r"^(SKB_DROP_REASON_|SKB_(?=NOT_DROPPED_YET|CONSUMED)|_+)")
_SUFFIX = re.compile(r"[.+*\s].*", re.DOTALL)
_VAGUE = ("", NOT_SPECIFIED, "QUEUE_PURGE")
"""Reasons that say less than the function does; '' on kernels without reasons."""


@dataclass(frozen=True, slots=True)
class Meaning:
    """One entry. ``reason`` has no prefix; ``function`` is ``*`` where it does not matter."""

    reason: str
    function: str
    means: str
    check: str
    source: str


def parse(text: str) -> list[Meaning]:
    """The entries of a file. Raises ValueError for one that does not have four lines."""
    entries = []
    for block in text.split("\n\n"):
        lines = [line for line in block.splitlines() if not line.startswith("#")]
        if lines:
            key, means, check, source = lines
            reason, function = key.split(" ")
            entries.append(Meaning(reason, function, means, check, source))
    return entries


def every() -> tuple[Meaning, ...]:
    """All entries, file by file."""
    return tuple(_table().values())


@cache
def _table() -> dict[tuple[str, str], Meaning]:
    files = sorted(_DIRECTORY.glob("*.txt"))
    entries = [entry for path in files for entry in parse(path.read_text("ascii"))]
    return {(entry.reason, entry.function): entry for entry in entries}


def bare_reason(reason: str) -> str:
    """Without the kernel's prefixes: ``SKB_DROP_REASON_``, and underscores of the subsystems'."""
    return _PREFIX.sub("", reason)


def bare_function(function: str) -> str:
    """Without offset, module and the compiler's suffix: ``br_forward+0x1/0x9 [bridge]``."""
    return _SUFFIX.sub("", function)


def meaning(reason: str, function: str = "") -> Meaning | None:
    """The most specific entry for a packet that ``function`` freed for ``reason``.

    ``reason`` is '' where the kernel has none. First both together count; then a reason that says
    something, else the function.
    """
    reason, function = bare_reason(reason), bare_function(function)
    by_function, by_reason = (NOT_SPECIFIED, function), (reason, EVERY_FUNCTION)
    rest = (by_function, by_reason) if reason in _VAGUE else (by_reason, by_function)
    table = _table()
    return next((table[key] for key in ((reason, function), *rest) if key in table), None)


def about(word: str) -> tuple[Meaning, ...]:
    """Every entry for a reason, in any case, or for a function; of NOT_SPECIFIED only its own."""
    reason, function = bare_reason(word.strip().upper()), bare_function(word.strip())
    return tuple(
        entry
        for entry in every()
        if entry.function == function != EVERY_FUNCTION
        or (
            entry.reason == reason and (reason != NOT_SPECIFIED or entry.function == EVERY_FUNCTION)
        )
    )


def near(word: str, most: int = 3) -> list[str]:
    """Reasons and functions that are spelled like ``word``, the nearest first."""
    names = {name.casefold(): name for name in (*reasons(), *functions())}
    typed = bare_reason(bare_function(word.strip()).upper()).casefold()
    return [names[found] for found in get_close_matches(typed, names, most)]


def reasons() -> list[str]:
    """Every reason that has an entry of its own."""
    return [entry.reason for entry in every() if entry.function == EVERY_FUNCTION]


def functions() -> list[str]:
    """Every function that has an entry, by name."""
    return sorted({entry.function for entry in every()} - {EVERY_FUNCTION})
