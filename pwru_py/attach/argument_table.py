# SPDX-License-Identifier: Apache-2.0
"""What tells the program where a function has its sk_buff: its cookie, or its address. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from ..arch import NATIVE
from ..facts.roles import DROP_FUNCTION
from ..plan.functions import Target
from ..record.contract import (
    ARGUMENTS_BITS,
    ARGUMENTS_CROWDED,
    ARGUMENTS_HASH,
    COOKIE_NO_REASON,
    COOKIE_NO_SKB,
    COOKIE_REASON_SHIFT,
    COOKIE_TARGET_SHIFT,
)

ENDBR, CALL, _BREAKPOINT = NATIVE.entry_mark, NATIVE.ftrace_call, NATIVE.breakpoint

KPROBE_IPS = (_BREAKPOINT, ENDBR + _BREAKPOINT)
EVENT_IPS = (*KPROBE_IPS, CALL + _BREAKPOINT, ENDBR + CALL + _BREAKPOINT)
FPROBE_IPS = (CALL, ENDBR + CALL)
"""Where the instruction pointer can be at a hit, in bytes behind a function's entry, on x86.

KPROBE_IPS: for a kprobe at the entry. EVENT_IPS: for one at the entry or behind ftrace's call.
FPROBE_IPS: for ftrace itself."""


def _arguments(target: Target) -> int:
    second: int = target.reason_arg or target.map
    if not second and target.name == DROP_FUNCTION:
        second = COOKIE_NO_REASON
    return second << COOKIE_REASON_SHIFT | (target.arg or COOKIE_NO_SKB)


def tells_caller(target: Target) -> bool:
    """Whether it says who has called it, by its return address: then its return is not traced,
    as that puts another address there."""
    return target.reason_arg != 0 or target.name == DROP_FUNCTION


def cookie(index: int, target: Target) -> int:
    """What the probe of the plan's function number ``index`` carries."""
    return (index + 1) << COOKIE_TARGET_SHIFT | _arguments(target)


def place(ip: int) -> int:
    """Where the program looks for an instruction pointer."""
    return (ip * ARGUMENTS_HASH & 0xFFFFFFFF) >> 32 - ARGUMENTS_BITS


class ArgumentTable(NamedTuple):
    """``places``: a byte for each hash. ``crowded``: those that share one and differ."""

    places: bytes
    crowded: dict[int, int]


def argument_table(targets: Iterable[Target], ips: Sequence[int]) -> ArgumentTable:
    """The table for targets with addresses. ``ips``: one of the tuples above."""
    known = {t.addr + behind: _arguments(t) for t in targets for behind in ips}
    places = bytearray(1 << ARGUMENTS_BITS)
    for ip, arguments in known.items():
        at = place(ip)
        places[at] = arguments if places[at] in (0, arguments) else ARGUMENTS_CROWDED
    crowded = {
        ip: arguments for ip, arguments in known.items() if places[place(ip)] == ARGUMENTS_CROWDED
    }
    return ArgumentTable(bytes(places), crowded)
