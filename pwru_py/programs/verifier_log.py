# SPDX-License-Identifier: Apache-2.0
"""What libbpf and the verifier say of a refused load, read: their words to one reason. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SECTION = re.compile(r"-- BEGIN PROG LOAD LOG --\n(.*?)-- END PROG LOAD LOG --", re.DOTALL)
_PROCESSED = re.compile(r"^processed \d+ insns.*$", re.MULTILINE)
# What the verifier adds behind its reason, and what libbpf says of every refusal.
_ADDED = re.compile(r"processed \d+ insns|verification time|stack depth|insns_|(cur|old) state:")
_CONSEQUENCE = re.compile(
    r"failed to load object|failed to load: -\d+|BPF program load failed|Retrying without BTF|"
    r"-- (BEGIN|END) "
)
_TOO_COMPLEX = re.compile(
    r"BPF program is too large|jumps is too complex|too many (states|subprog|insn)|"
    r"invalid argument list size|program of \d+ insns is too"
)
_OTHER_KERNEL = re.compile(r"CO-RE relocation")


@dataclass(frozen=True, slots=True)
class Refusal:
    """``reason``: the one line that says why, '' when nothing does. ``processed``: how far the
    verifier came, '' when it never began. ``too_complex``: a shorter program would do.
    ``other_kernel``: the types that the program was fitted to are not those of this kernel."""

    reason: str
    processed: str
    too_complex: bool
    other_kernel: bool


def read_log(log: str) -> Refusal:
    """Of all that was said while a load failed; the verifier's reason is the last that it says."""
    sections = _SECTION.findall(log)
    verifier = sections[-1] if sections else log
    processed = _PROCESSED.findall(verifier)
    ran = bool(sections or processed)
    reason = _last_words(verifier) if ran else _first_warning(log)
    return Refusal(
        reason,
        processed[-1] if processed else "",
        bool(_TOO_COMPLEX.search(reason)),
        bool(_OTHER_KERNEL.search(reason)),
    )


def _last_words(verifier: str) -> str:
    """Since 7.3 an explanation of many lines stands between the reason and the statistics."""
    verifier = verifier.partition("\nVerification failed: ")[0]
    for line in reversed(verifier.splitlines()):
        words = line.strip()
        if words and not _ADDED.match(words) and not words.startswith("libbpf: "):
            return words
    return ""


def _first_warning(log: str) -> str:
    """libbpf tells the cause first, then what came of it."""
    for line in log.splitlines():
        words = line.strip().removeprefix("libbpf: ")
        if words and not _CONSEQUENCE.search(words):
            return words
    return ""
