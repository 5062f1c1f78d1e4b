# SPDX-License-Identifier: Apache-2.0
"""Rules of ebtables as the kernel has them, one behind the other. Pure.

struct ebt_entries, ebt_entry, ebt_entry_target: include/uapi/linux/netfilter_bridge/ebtables.h.
Each chain begins with its name and its policy, which those of no hook have, too. Where the policy
decides, the kernel stands behind the chain's last rule.
"""

from __future__ import annotations

import struct
from collections import defaultdict
from collections.abc import Iterable

from .xtables import SAVED, Place, XtRule, with_texts

# struct ebt_entries: distinguisher, name, counter, policy, rules
_CHAIN = struct.Struct("=I32sIiI")
_OFFSETS = struct.Struct("=II")  # of struct ebt_entry, in bytes from it: target_offset, next_offset
_OFFSETS_AT = 104
_TARGET = struct.Struct("=31sBI")  # struct ebt_entry_target: name, revision, bytes of its own
_TARGET_BYTES = 40
_STANDARD = "standard"
_DROP = -2  # EBT_DROP
_VERDICTS = {-1: "ACCEPT", _DROP: "DROP", -3: "CONTINUE", -4: "RETURN"}
_VERDICT = struct.Struct("=i")  # of struct ebt_standard_target, behind the target


def parse_bridge_table(lines: Iterable[str]) -> dict[Place, XtRule]:
    """What ``kernel.list_rules`` prints: a line ``bridge NAME RULES``, the rules in hexadecimal,
    and lines as of iptables-save. A policy has the number 0, and is where its chain ends.
    """
    table: dict[Place, XtRule] = {}
    texts: dict[str, list[str]] = defaultdict(list)
    for line in lines:
        if match := SAVED.fullmatch(line):
            texts[match[1]].append(line)
            continue
        words = line.split(" ")
        if len(words) == 3 and words[0] == "bridge":
            table = _parse(words[1], bytes.fromhex(words[2]))
    return with_texts(table, texts)


def _parse(table: str, rules: bytes) -> dict[Place, XtRule]:
    found: dict[Place, XtRule] = {}
    at, number, policy = 0, 0, None
    while at + _CHAIN.size <= len(rules):
        distinguisher, name, _counter, decides, _count = _CHAIN.unpack_from(rules, at)
        if not distinguisher:
            if policy is not None:
                found[Place("bridge", table, at)] = policy
            chain, number = _text(name), 0
            policy = XtRule(chain, 0, decides == _DROP, verdict=_VERDICTS.get(decides, ""))
            at += _CHAIN.size
            continue
        number += 1
        rule, size = _rule(rules, at, policy.chain if policy is not None else "", number)
        if rule is None:
            return found
        found[Place("bridge", table, at)] = rule
        at += size
    if policy is not None and at == len(rules):
        found[Place("bridge", table, at)] = policy
    return found


def _rule(rules: bytes, at: int, chain: str, number: int) -> tuple[XtRule | None, int]:
    """And its bytes; None: it is cut short."""
    if at + _OFFSETS_AT + _OFFSETS.size > len(rules):
        return None, 0
    target_at, size = _OFFSETS.unpack_from(rules, at + _OFFSETS_AT)
    data = at + target_at + _TARGET_BYTES
    if size < target_at + _TARGET_BYTES + _VERDICT.size or at + size > len(rules):
        return None, 0
    name, _revision, _size = _TARGET.unpack_from(rules, at + target_at)
    target = _text(name)
    if target != _STANDARD:
        return XtRule(chain, number, True, verdict=target), size
    (verdict,) = _VERDICT.unpack_from(rules, data)
    drops = verdict == _DROP
    return XtRule(chain, number, drops, verdict=_VERDICTS.get(verdict, "JUMP")), size


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode(errors="backslashreplace")
