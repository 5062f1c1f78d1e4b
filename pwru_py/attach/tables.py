# SPDX-License-Identifier: Apache-2.0
"""Kprobes where netfilter's tables are entered and left: a few functions, most in modules."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from typing import NamedTuple

from ..arch.x86_64_sites import FUNCTIONS, REPLACES, Site
from ..errors import AttachError
from ..facts.tables import COMMIT, EBTABLES, NFTABLES, REJECTS, RETURNS, RULES, STEPS
from ..kernel import system
from ..kernel.libbpf import Program
from ..kernel.rule_tracing import RuleTracing
from .probes import attach_named_kprobe

NAMES = (
    "enter_xtables", "enter_ebtables", "enter_nftables", "leave_tables", "note_rules",
    "note_rejects", "note_steps", "note_site4", "note_site6", "note_site_arp", "note_site_eb",
    "note_match4", "note_match6", "begin_replacing", "end_replacing", "begin_commit", "end_commit",
    "begin_expression", "end_expression",
)  # fmt: skip
"""The programs, in the order of ``TablePrograms``."""


class TablePrograms(NamedTuple):
    """What runs where x_tables are entered, where ebtables are, where nf_tables are, where any is
    left, where a rule of nf_tables decides, and where one rejects; where a rule is traced; where
    ipt_do_table(), ip6t_do_table(), arpt_do_table() and ebt_do_table() have decided, and where a
    rule of the first two matches; where a set of rules of theirs begins to be replaced, and where
    that is over; the same of nf_tables' transactions; where an expression is evaluated
    that tells by its return what it decides, and where it returns.
    """

    xtables: Program
    ebtables: Program
    nftables: Program
    leave: Program
    rules: Program
    rejects: Program
    steps: Program
    site4: Program
    site6: Program
    site_arp: Program
    site_eb: Program
    match4: Program
    match6: Program
    begin: Program
    over: Program
    begin_commit: Program
    end_commit: Program
    begin_expression: Program
    end_expression: Program


def attach_tables(
    functions: Iterable[str],
    programs: TablePrograms,
    sites: Mapping[str, Site],
    release: ExitStack,
    *,
    trace: bool,
    steps: bool,
) -> list[str]:
    """A line for each function that the kernel refuses: what it says is not seen.

    ``trace``: the kernel is made to trace the rules of nf_tables. ``steps``: rules of x_tables
    that match are seen, too.
    """
    functions = tuple(functions)
    refused = _attach_sites(programs, sites, release, steps=steps)
    for function in functions:
        others = {NFTABLES: programs.nftables, EBTABLES: programs.ebtables}
        enter = others.get(function, programs.xtables)
        try:
            # Entered last: who enters before all are there is not noted.
            if function == NFTABLES:
                _attach_rules(programs, release)
            for program, leaves in ((programs.leave, True), (enter, False)):
                release.callback(attach_named_kprobe(program, function, leaves=leaves))
        except AttachError as error:
            refused.append(f"verdicts of {function} are not seen, it cannot be probed: {error}")
    if steps:
        refused += _unseen(functions, sites)
    return refused + (_trace_rules(programs, functions, release) if trace else [])


def _unseen(functions: Sequence[str], sites: Mapping[str, Site]) -> list[str]:
    """Whose rules on the way cannot be seen."""
    seen = {NFTABLES, *(name for name, site in sites.items() if site.each)}
    unseen = [name for name in functions if name not in seen]
    return [f"rules on the way are not seen in {' and '.join(unseen)}"] if unseen else []


def _trace_rules(
    programs: TablePrograms, functions: Sequence[str], release: ExitStack
) -> list[str]:
    if NFTABLES not in functions:
        return ["no rule of nf_tables is traced: it is not loaded, or cannot be probed"]
    told = []
    try:
        release.callback(attach_named_kprobe(programs.steps, STEPS, leaves=False))
        release.callback(RuleTracing().close)
    except AttachError as error:
        told.append(f"rules on the way are not seen, the kernel does not trace them: {error}")
    return told


def _attach_sites(
    programs: TablePrograms, sites: Mapping[str, Site], release: ExitStack, *, steps: bool
) -> list[str]:
    """Without those where rules are replaced there are none: a rule might be another by then."""
    decided = (programs.site4, programs.site6, programs.site_arp, programs.site_eb)
    matched = (programs.match4, programs.match6, None, None)
    told, replaces = [], set[str]()
    for function, end, each in zip(FUNCTIONS, decided, matched, strict=True):
        site = sites.get(function)
        if site is None:
            continue
        places = [(end, offset) for offset in site.offsets]
        if site.each and each is not None and steps:
            places.append((each, site.each))
        try:
            _attach_replacing(programs, REPLACES[function], replaces, release)
            for program, offset in places:
                release.callback(
                    attach_named_kprobe(program, function, leaves=False, offset=offset)
                )
        except AttachError as error:
            told.append(f"rules of {function} are not known, it cannot be probed: {error}")
    return told


def _attach_replacing(
    programs: TablePrograms, function: str, there: set[str], release: ExitStack
) -> None:
    """Once; those that are ``there`` are not attached again."""
    if function not in there:
        for program, leaves in ((programs.over, True), (programs.begin, False)):
            release.callback(attach_named_kprobe(program, function, leaves=leaves))
        there.add(function)


def _attach_rules(programs: TablePrograms, release: ExitStack) -> None:
    """What rules of nf_tables decide, as far as their modules are loaded; what changes them."""
    begin, end = programs.begin_expression, programs.end_expression
    wanted = [(programs.end_commit, COMMIT, True), (programs.begin_commit, COMMIT, False)]
    wanted.append((programs.rules, RULES, False))
    wanted += [(programs.rejects, reject, False) for reject in _loaded(REJECTS)]
    for function in _loaded(RETURNS):
        wanted += [(end, function, True), (begin, function, False)]
    for program, function, leaves in wanted:
        release.callback(attach_named_kprobe(program, function, leaves=leaves))


def _loaded(functions: Mapping[str, str]) -> list[str]:
    """Those whose modules are loaded."""
    loaded = system.loaded_modules()
    return [function for function, module in functions.items() if module in loaded]
