# SPDX-License-Identifier: Apache-2.0
"""Kprobes where netfilter's tables are entered and left: a few functions, most in modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from ..arch.x86_64_sites import FUNCTIONS, REPLACE, Site
from ..errors import AttachError
from ..facts.tables import NFTABLES, REJECTS, RULES, STEPS
from ..kernel import system
from ..kernel.libbpf import Program
from ..kernel.rule_tracing import RuleTracing
from .probes import attach_named_kprobe

NAMES = (
    "enter_xtables", "enter_nftables", "leave_tables", "note_rules", "note_rejects", "note_steps",
    "note_site4", "note_site6", "begin_replacing", "end_replacing",
)  # fmt: skip
"""The programs, in the order of ``TablePrograms``."""


class TablePrograms(NamedTuple):
    """What runs where x_tables are entered, where nf_tables are, where either is left, where a rule
    of nf_tables decides, and where one rejects; where a rule is traced; where ipt_do_table() and
    ip6t_do_table() have decided; where a set of x_tables' rules begins to be replaced, and where
    that is over.
    """

    xtables: Program
    nftables: Program
    leave: Program
    rules: Program
    rejects: Program
    steps: Program
    site4: Program
    site6: Program
    begin: Program
    over: Program


def attach_tables(
    functions: Iterable[str],
    programs: TablePrograms,
    sites: Mapping[str, Site],
    release: ExitStack,
    *,
    trace: bool,
) -> list[str]:
    """A line for each function that the kernel refuses: what it says is not seen.

    ``trace``: the kernel is made to trace the rules of nf_tables.
    """
    functions = tuple(functions)
    refused = _attach_sites(programs, sites, release)
    for function in functions:
        enter = programs.nftables if function == NFTABLES else programs.xtables
        try:
            # Left first: who enters before both are there is not taken for somebody else.
            for program, leaves in ((programs.leave, True), (enter, False)):
                release.callback(attach_named_kprobe(program, function, leaves=leaves))
            if function == NFTABLES:
                release.callback(attach_named_kprobe(programs.rules, RULES, leaves=False))
                for reject in loaded_rejects():
                    release.callback(attach_named_kprobe(programs.rejects, reject, leaves=False))
        except AttachError as error:
            refused.append(f"verdicts of {function} are not seen, it cannot be probed: {error}")
    return refused + (_trace_rules(programs, functions, release) if trace else [])


def _trace_rules(
    programs: TablePrograms, functions: Sequence[str], release: ExitStack
) -> list[str]:
    if NFTABLES not in functions:
        return ["no rule on the way is seen: nf_tables is not loaded, or cannot be probed"]
    told = []
    others = [name for name in functions if name != NFTABLES]
    if others:
        told.append(f"rules on the way are those of nf_tables alone, not of {', '.join(others)}")
    try:
        release.callback(attach_named_kprobe(programs.steps, STEPS, leaves=False))
        release.callback(RuleTracing().close)
    except AttachError as error:
        told.append(f"rules on the way are not seen, the kernel does not trace them: {error}")
    return told


def _attach_sites(
    programs: TablePrograms, sites: Mapping[str, Site], release: ExitStack
) -> list[str]:
    """Without those where rules are replaced there are none: a rule might be another by then."""
    if not sites:
        return []
    try:
        for program, leaves in ((programs.over, True), (programs.begin, False)):
            release.callback(attach_named_kprobe(program, REPLACE, leaves=leaves))
        for function, program in zip(FUNCTIONS, (programs.site4, programs.site6), strict=True):
            if function in sites:
                offset = sites[function].offset
                release.callback(
                    attach_named_kprobe(program, function, leaves=False, offset=offset)
                )
    except AttachError as error:
        return [f"rules of iptables are not known, their tables cannot be probed: {error}"]
    return []


def loaded_rejects() -> list[str]:
    """Functions of rules that reject, as far as their modules are loaded."""
    loaded = system.loaded_modules()
    return [function for function, module in REJECTS.items() if module in loaded]
