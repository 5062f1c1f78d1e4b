# SPDX-License-Identifier: Apache-2.0
"""Where a process reads a datagram and no tracepoint tells: a kprobe there, for journeys.

``skb_consume_udp()`` runs behind each read of a UDP socket (net/ipv4/udp.c). What lies in one piece
is copied past ``skb:skb_copy_datagram_iovec``. Then ``skb:consume_skb`` tells who frees the packet,
since 6.12; before, it tells nobody's name. Since 6.17 ``skb_attempt_defer_free()`` frees it in its
place, without a word.
"""

from __future__ import annotations

from contextlib import ExitStack

from ..arch.x86_64_sites import refers_to
from ..attach.probes import attach_named_kprobe
from ..errors import AttachError
from ..facts.kallsyms import TEXT
from ..facts.roles import CONSUMED_TRACEPOINT
from ..kernel import system
from ..kernel.libbpf import Program
from ..kernel.text import read_text
from ..plan.functions import Plan
from .attachable import find_function_sizes, find_symbols
from .choose import ftrace_off

READS = "skb_consume_udp"
PROGRAM = "note_read"
"""What runs there."""

_DEFERS = "skb_attempt_defer_free"
_CODE_BYTES_MAX = 4096


def silent_reads(plan: Plan) -> str:
    """The function to probe, ``READS``; '' where a tracepoint of ``plan`` tells, or none can be
    probed."""
    if system.kprobe_pmu() is None or ftrace_off() is not None:
        return ""
    located = any(
        target.name == CONSUMED_TRACEPOINT and target.location_arg for target in plan.targets
    )
    return READS if not located or _defers() else ""


def _defers() -> bool:
    """Also where that is not known: what is told twice counts once."""
    symbols = find_symbols({(READS, ""), (_DEFERS, "")}, TEXT)
    found = {name: addr for addr, (name, _module) in symbols.items()}
    if _DEFERS not in found:
        return False
    if READS not in found:
        return True
    size = find_function_sizes([found[READS]]).get(found[READS], 0)
    code = read_text(found[READS], size) if 0 < size <= _CODE_BYTES_MAX else None
    return code is None or refers_to(code, found[READS], found[_DEFERS])


def attach_reads(program: Program, function: str, release: ExitStack) -> list[str]:
    """A line for a refusal."""
    try:
        release.callback(attach_named_kprobe(program, function, leaves=False))
    except AttachError as error:
        return [f"which process reads a datagram is not seen: {function}: {error}"]
    return []
