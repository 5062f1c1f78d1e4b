# SPDX-License-Identifier: Apache-2.0
"""Kprobes in conntrack: where it is entered and left, and where it says why a packet is invalid."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from typing import NamedTuple

from ..errors import AttachError
from ..facts.conntrack import JUDGE
from ..kernel.libbpf import Program
from .probes import attach_named_kprobe

NAMES = ("enter_conntrack", "leave_conntrack", "why_3", "why_4", "why_5")
"""The programs, in the order of ``ConntrackPrograms``."""


class ConntrackPrograms(NamedTuple):
    """What runs where conntrack is entered, and left; where it says why, by which argument is the
    format.
    """

    enter: Program
    leave: Program
    why_3: Program
    why_4: Program
    why_5: Program


def attach_conntrack(
    programs: ConntrackPrograms, whys: Mapping[str, int], release: ExitStack
) -> list[str]:
    """A line where the kernel refuses. ``whys``: as ``facts.conntrack.find_whys``."""
    by_argument = {3: programs.why_3, 4: programs.why_4, 5: programs.why_5}
    try:
        # Left first: who enters before both are there is not taken for somebody else.
        for program, leaves in ((programs.leave, True), (programs.enter, False)):
            release.callback(attach_named_kprobe(program, JUDGE, leaves=leaves))
    except AttachError as error:
        return [
            "packets that conntrack finds invalid show as none, as it cannot be probed: "
            f"{JUDGE}: {error}"
        ]
    refused = []
    for function, argument in whys.items():
        if argument not in by_argument:
            continue
        try:
            release.callback(attach_named_kprobe(by_argument[argument], function, leaves=False))
        except AttachError as error:
            refused.append(f"{function}: {error}")
    if refused:
        return [f"why conntrack finds packets invalid is not known: {', '.join(refused)}"]
    return []
