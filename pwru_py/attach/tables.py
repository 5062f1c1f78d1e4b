# SPDX-License-Identifier: Apache-2.0
"""Kprobes where netfilter's tables are entered and left: a few functions, most in modules."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import NamedTuple

from ..errors import AttachError
from ..facts.tables import NFTABLES, REJECTS, RULES
from ..kernel import perf, system
from ..kernel.libbpf import Program
from .probes import link_event

NAMES = ("enter_xtables", "enter_nftables", "leave_tables", "note_rules", "note_rejects")
"""The programs, in the order of ``TablePrograms``."""


class TablePrograms(NamedTuple):
    """What runs where x_tables are entered, where nf_tables are, where either is left, where a rule
    of nf_tables decides, and where one rejects.
    """

    xtables: Program
    nftables: Program
    leave: Program
    rules: Program
    rejects: Program


def attach_tables(
    functions: Iterable[str], programs: TablePrograms, release: ExitStack
) -> list[str]:
    """A line for each function that the kernel refuses: what it says is not seen."""
    refused = []
    for function in functions:
        enter = programs.nftables if function == NFTABLES else programs.xtables
        try:
            # Left first: who enters before both are there is not taken for somebody else.
            for program, leaves in ((programs.leave, True), (enter, False)):
                release.callback(_attach(program, function, leaves=leaves))
            if function == NFTABLES:
                release.callback(_attach(programs.rules, RULES, leaves=False))
                for reject in loaded_rejects():
                    release.callback(_attach(programs.rejects, reject, leaves=False))
        except AttachError as error:
            refused.append(f"verdicts of {function} are not seen, it cannot be probed: {error}")
    return refused


def loaded_rejects() -> list[str]:
    """Functions of rules that reject, as far as their modules are loaded."""
    loaded = system.loaded_modules()
    return [function for function, module in REJECTS.items() if module in loaded]


def _attach(program: Program, function: str, *, leaves: bool) -> Callable[[], None]:
    pmu = system.kprobe_pmu()
    assert pmu is not None, "a plan has tables where kprobes are"
    return link_event(program, perf.open_named_kprobe(pmu, function, leaves=leaves)).destroy
