# SPDX-License-Identifier: Apache-2.0
"""Where ``ipt_do_table()`` and its like have decided, in their machine code. Pure.

All let soft interrupts in again when all is decided (net/ipv4/netfilter/ip_tables.c): there a
register still has the rule. Which one, and where the stack frame has what, the compiler chose; the
instructions nearby tell. What they do not tell for certain is not used.

ebt_do_table() gives its lock back at several places (net/bridge/netfilter/ebtables.c), with the
rule in the register, too. Where a chain's policy decides, that is behind the chain's last rule.

At each rule that matches those of iptables and ip6tables look whether the packet is to be traced
(skb->nf_trace), with the rule in that register: the one instruction that tests this bit is where a
packet's way can be seen.
"""

from __future__ import annotations

import re
import struct
from collections import Counter
from typing import NamedTuple

ENABLE = "__local_bh_enable_ip"
"""What they call then (kernel/softirq.c)."""

REPLACE = "xt_replace_table"
"""Puts another set of rules in place (net/netfilter/x_tables.c)."""

_NEXT_OFFSET = {"ipt_do_table": 90, "ip6t_do_table": 142, "arpt_do_table": 166}
"""Of struct ipt_entry, ip6t_entry and arpt_entry: bytes of a rule
(include/uapi/linux/netfilter_ipv*, netfilter_arp/arp_tables.h).
"""

EB_FUNCTION = "ebt_do_table"

FUNCTIONS = (*_NEXT_OFFSET, EB_FUNCTION)

EB_ENABLE = "_raw_read_unlock_bh"
"""What the last one calls then (kernel/locking/spinlock.c; not on real-time kernels)."""

EB_REPLACE = "do_replace_finish"
"""Puts another set of its rules in place (net/bridge/netfilter/ebtables.c)."""

ENABLES = dict.fromkeys(_NEXT_OFFSET, ENABLE) | {EB_FUNCTION: EB_ENABLE}
"""To each of ``FUNCTIONS`` what it calls when all is decided."""

REPLACES = dict.fromkeys(_NEXT_OFFSET, REPLACE) | {EB_FUNCTION: EB_REPLACE}
"""To each of ``FUNCTIONS`` what puts other rules in place."""

_EB_NEXT_OFFSET = 108  # of struct ebt_entry (include/uapi/linux/netfilter_bridge/ebtables.h)

_CALL_BYTES = 5
_NEAR_BYTES = 96  # behind the call, as far as to the function's end
_HOT = re.compile(rb"\x80(?:\xbc\x24(.{4})|\x7c\x24(.))\x00", re.DOTALL)  # cmpb $0, N(%rsp)
# add $N, %rsp, perhaps a mov of the result to %eax, and pop the six registers that calls preserve
_LEAVE = re.compile(
    rb"\x48(?:\x81\xc4(.{4})|\x83\xc4(.))(?:\x44?\x89.)?\x5b\x5d\x41\x5c\x41\x5d\x41\x5e\x41\x5f",
    re.DOTALL,
)
_PUSHED_BYTES = 6 * 8
_FRAME_MAX = 1024
# lea N(%rip), %rdi, or mov $N, %rdi: the call's argument. A probe may be optimised there, but not
# at a call.
_ARGUMENT = (b"\x48\x8d\x3d", b"\x48\xc7\xc7")
_ARGUMENT_BYTES = 7
_PRESERVED = {3, 5, 12, 13, 14, 15}  # rbx, rbp, r12 to r15, as instructions number them


class Site(NamedTuple):
    """``offsets``: bytes from the function's start to the instructions to probe. ``frame``,
    ``hot``: bytes from the stack pointer there to the return address, and to the byte that says
    whether a match dropped the packet. ``rule``: the number of the register that has the rule, enum
    rule_register of ``bpf/event.h``. ``each``: bytes to the instruction at each rule that matches,
    0: not known.
    """

    offsets: tuple[int, ...]
    frame: int
    hot: int
    rule: int
    each: int = 0


def find_site(
    function: str, addr: int, code: bytes, enable: int, trace_bit: int | None = None
) -> Site | None:
    """In ``code`` of a function that starts at ``addr``. ``enable``: the address of what it calls
    then, see ``ENABLES``. ``trace_bit``: bits in struct sk_buff before nf_trace.

    None where the code does not tell.
    """
    calls = [
        at
        for at in range(len(code) - _CALL_BYTES + 1)
        if code[at] == 0xE8
        and addr + at + _CALL_BYTES + struct.unpack_from("<i", code, at + 1)[0] == enable
    ]
    if function == EB_FUNCTION:
        return _bridge_site(code, calls)
    rule = _rule_register(code, b"\x0f\xb7", _NEXT_OFFSET[function], 3)
    if len(calls) != 1 or rule is None:
        return None
    (at,) = calls
    near = code[at + _CALL_BYTES : at + _CALL_BYTES + _NEAR_BYTES]
    hot, leave = _number(_HOT, near), _number(_LEAVE, near)
    if hot is None or leave is None or not 0 < hot < leave < _FRAME_MAX:
        return None
    if code[at - _ARGUMENT_BYTES : at].startswith(_ARGUMENT):
        at -= _ARGUMENT_BYTES
    each = 0 if trace_bit is None else _trace_test(code, trace_bit, rule)
    return Site((at,), leave + _PUSHED_BYTES, hot, rule, each)


def _bridge_site(code: bytes, calls: list[int]) -> Site | None:
    """At the calls themselves, as some are reached from two sides. A match that drops is looked for
    at one place.
    """
    rule = _rule_register(code, b"\x8b", _EB_NEXT_OFFSET, 2)
    hots = {_value(found) for found in _HOT.finditer(code)}
    leaves = {_value(found) for found in _LEAVE.finditer(code)}
    if not calls or rule is None or len(hots) != 1 or len(leaves) != 1:
        return None
    (hot,), (leave,) = hots, leaves
    if not 0 < hot < leave < _FRAME_MAX:
        return None
    return Site(tuple(calls), leave + _PUSHED_BYTES, hot, rule)


def _trace_test(code: bytes, bit: int, rule: int) -> int:
    """Bytes to the one ``testb $bit, N(%skb)``; 0 without one, and with several."""
    where, mask = struct.pack("<i", bit // 8), bytes([1 << bit % 8])
    form = rb"[\x40\x41]?\xf6([\x80-\x83\x85-\x87]|\x84\x24)" + re.escape(where + mask)
    found = [
        match
        for match in re.finditer(form, code, re.DOTALL)
        if _base(match[0], match[1][0]) != rule
    ]
    return found[0].start() if len(found) == 1 else 0


def _base(instruction: bytes, modrm: int) -> int:
    """The register that an address counts from."""
    return (modrm & 7) + (8 if instruction[0] == 0x41 else 0)


def refers_to(code: bytes, addr: int, target: int) -> bool:
    """Whether ``code`` of a function that starts at ``addr`` calls ``target``, or jumps there."""
    return any(
        addr + at + 4 + struct.unpack_from("<i", code, at)[0] == target
        for at in range(1, len(code) - 3)
    )


def _number(pattern: re.Pattern[bytes], code: bytes) -> int | None:
    found = pattern.search(code)
    return None if found is None else _value(found)


def _value(found: re.Match[bytes]) -> int:
    return int.from_bytes(found[1] or found[2], "little", signed=True)


def _rule_register(code: bytes, load: bytes, next_offset: int, least: int) -> int | None:
    """The one by which the size of a rule is read, again and again, to go to the next one.
    ``load``: the instruction that does so, ``least`` times.
    """
    short = rb"[\x40-\x7f]" + re.escape(struct.pack("<B", next_offset))
    long = rb"[\x80-\xbf]" + re.escape(struct.pack("<i", next_offset))
    form = long if next_offset > 127 else short
    counted: Counter[int] = Counter()
    form = rb"([\x41\x44\x45]?)" + re.escape(load) + b"(%s)" % form
    for found in re.finditer(form, code, re.DOTALL):
        base = found[2][0] & 7
        if base == 4:  # another form of address
            continue
        counted[base + (8 if found[1] and found[1][0] & 1 else 0)] += 1
    ranked = counted.most_common(2)
    if not ranked or ranked[0][1] < least:
        return None
    if len(ranked) > 1 and ranked[1][1] * 2 > ranked[0][1]:
        return None
    return ranked[0][0] if ranked[0][0] in _PRESERVED else None
