# SPDX-License-Identifier: Apache-2.0
"""Rules of iptables, ip6tables and arptables as the kernel has them, one behind the other. Pure.

struct ipt_entry, ip6t_entry, arpt_entry, xt_entry_target: include/uapi/linux/netfilter_ipv4/
ip_tables.h, netfilter_ipv6/ip6_tables.h, netfilter_arp/arp_tables.h, netfilter/x_tables.h. A chain
of a hook ends with its policy, which is a rule, too; the others begin with their name, as the
target ERROR, and end with a RETURN.
"""

from __future__ import annotations

import re
import struct
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from typing import NamedTuple

_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING")
_ARP_HOOKS = ("INPUT", "OUTPUT", "FORWARD")
_OFFSETS = {"ip": 88, "ip6": 140, "arp": 164}  # of target_offset and, behind it, next_offset
_TARGET = struct.Struct("=H29sB")  # struct xt_entry_target: size, name, revision
_VERDICT = struct.Struct("=i")  # of struct xt_standard_target, behind the target
_ERROR = "ERROR"
_NAME_BYTES = 30
_DROP = -1  # -NF_DROP - 1
_VERDICTS = {_DROP: "DROP", -2: "ACCEPT", -4: "QUEUE", -5: "RETURN"}
# Where a rule has the flag IPT_F_GOTO, IP6T_F_GOTO; one of arptables has none.
_GOTO = {"ip": (82, 2), "ip6": (131, 4), "arp": (0, 0)}
SAVED = re.compile(r"(?:\[[0-9]+:[0-9]+\] )?-A (\S+) ?(.*)")
"""A line of iptables-save that is a rule, of a chain."""


class XtRule(NamedTuple):
    """A rule of x_tables.

    ``chain``: the one that it is in. ``number``: from 1, as ``iptables -L --line-numbers`` counts;
    0: the chain's policy, -1: the end of another chain. ``drops``: False if its verdict is another
    one. ``text``: as iptables-save prints it, of arptables as it lists it, counters in front; '' of
    a policy, and where that cannot be had. ``verdict``: ACCEPT, DROP, QUEUE, RETURN, JUMP, GOTO,
    CONTINUE of a rule without one, the name of another target.
    """

    chain: str
    number: int
    drops: bool
    text: str = ""
    verdict: str = ""


class Place(NamedTuple):
    """``family``: ``ip``, ``ip6``, ``arp``, ``bridge`` of ebtables. ``offset``: bytes from the
    table's first rule, there from its first chain.
    """

    family: str
    table: str
    offset: int


def parse_tables(lines: Iterable[str]) -> dict[Place, XtRule]:
    """What ``kernel.list_rules`` prints.

    A line for each table: ``table FAMILY NAME HOOKS ENTRY… UNDERFLOW… RULES``, which are the bits
    of the hooks that it has, for five hooks (arptables has three of them) where their chains begin
    and where their policies are, and the rules, in hexadecimal; then lines as of iptables-save.
    """
    found: dict[Place, XtRule] = {}
    table: dict[Place, XtRule] = {}
    texts: dict[str, list[str]] = defaultdict(list)
    for line in (*lines, "table"):
        if line.startswith("table"):
            found |= with_texts(table, texts)
            texts = defaultdict(list)
            table = _parse_table(line)
        elif match := SAVED.fullmatch(line):
            texts[match[1]].append(line)
    return found


def with_texts(table: dict[Place, XtRule], texts: dict[str, list[str]]) -> dict[Place, XtRule]:
    """With ``texts`` of chains, where both name as many rules of one."""
    counts = Counter(rule.chain for rule in table.values() if rule.number > 0)
    return {
        key: rule._replace(text=texts[rule.chain][rule.number - 1])
        if rule.number > 0 and counts[rule.chain] == len(texts[rule.chain])
        else rule
        for key, rule in table.items()
    }


def _parse_table(line: str) -> dict[Place, XtRule]:
    words = line.split(" ")
    if len(words) != 15:
        return {}
    family, name = words[1:3]
    valid, *numbers = map(int, words[3:14])
    names = _ARP_HOOKS if family == "arp" else _HOOKS
    hooks = [hook for hook in range(len(names)) if valid >> hook & 1]
    begins = {numbers[hook]: names[hook] for hook in hooks}
    policies = {numbers[len(_HOOKS) + hook] for hook in hooks}
    found: dict[Place, XtRule] = {}
    chain, number, last = "", 0, None
    rules = bytes.fromhex(words[14])
    for offset, size, target, data in _entries(rules, _OFFSETS[family]):
        if target == _ERROR:
            if last is not None:  # the RETURN at the end of another such chain
                found[last] = found[last]._replace(number=-1)
            chain, number, last = _text(data[:_NAME_BYTES]), 0, None
            continue
        chain, number = (begins[offset], 0) if offset in begins else (chain, number)
        policy = offset in policies
        number = 0 if policy else number + 1
        drops = bool(target) or _VERDICT.unpack_from(data)[0] == _DROP
        key = Place(family, name, offset)
        at, flag = _GOTO[family]
        goes = bool(rules[offset + at] & flag)
        verdict = target or _verdict(_VERDICT.unpack_from(data)[0], offset + size, goes=goes)
        found[key] = XtRule(chain, number, drops, verdict=verdict)
        last = None if policy or chain in begins.values() else key
    return found


def _verdict(number: int, behind: int, *, goes: bool) -> str:
    """Of a rule that says it itself. ``behind``: the offset of the next one."""
    if number < 0:
        return _VERDICTS.get(number, str(number))
    if number == behind:
        return "CONTINUE"
    return "GOTO" if goes else "JUMP"


def _entries(rules: bytes, offsets_at: int) -> Iterator[tuple[int, int, str, bytes]]:
    """Offset, bytes, name of the target, what is behind it."""
    at = 0
    while at + offsets_at + 4 <= len(rules):
        target_at, size = struct.unpack_from("=HH", rules, at + offsets_at)
        if size < target_at + _TARGET.size or at + size > len(rules):
            return
        _size, name, _revision = _TARGET.unpack_from(rules, at + target_at)
        yield at, size, _text(name), rules[at + target_at + _TARGET.size : at + size]
        at += size


def _text(name: bytes) -> str:
    return name.split(b"\0")[0].decode(errors="backslashreplace")
