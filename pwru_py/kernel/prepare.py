# SPDX-License-Identifier: Apache-2.0
"""Everything that is decided before anything is loaded: what the system has, what to attach."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..config import Backend, Config
from ..errors import FeatureUnsupportedError, NotFoundError, PrivilegeError
from ..kallsyms import Symbols, blacklist, filter_functions
from ..plan import Attachable, Candidates, Plan, find_candidates, make_plan
from . import system
from .features import Features
from .objects import OUTER, adapt, compile_all, compile_expression
from .types import KernelTypes, Known

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is decided before anything is loaded."""

    types: KernelTypes
    known: Known
    features: Features
    backend: Backend
    plan: Plan
    symbols: Symbols | None
    compiled: dict[str, CompiledFilter]


def prepare(config: Config) -> Prepared:
    """Reads the system and makes the plan. Raises a PwruError when tracing is impossible."""
    compiled = compile_all(config)  # a wrong expression needs no root to be told
    system.check_privileges()
    types = KernelTypes(config.kernel_btf)
    known = types.known()
    features = known.features
    backend = _choose_backend(config, features)
    sources: list[tuple[str, Candidates]] = [("", known.candidates)]
    if config.kmods or config.all_kmods:
        modules = system.module_btfs(types.btf, config.kmods, config.all_kmods)
        sources += [(btf.name, find_candidates(btf)) for btf in modules]
    wanted = re.compile(config.filter_func or ".*").fullmatch
    attachable, symbols = _attachable(backend)
    plan = make_plan(sources, attachable, wanted, slots=backend is Backend.FENTRY_MULTI)
    symbols, plan = _locate(plan, backend, symbols, attachable)
    compiled = adapt(compiled, features)
    return Prepared(types, known, features, backend, plan, symbols, compiled)


def filter_listing(config: Config) -> str:
    """How the filter becomes a program, as this kernel would get it. Raises FilterError."""
    compiled = compile_all(Config(filter=config.filter)) or {OUTER: compile_expression("")}
    try:
        features = KernelTypes(config.kernel_btf).known().features
    except (FeatureUnsupportedError, NotFoundError):
        pass  # without BTF nothing can be traced, but a listing can be had
    else:
        compiled = adapt(compiled, features)
    return compiled[OUTER].listing()


def _choose_backend(config: Config, features: Features) -> Backend:
    asked = config.backend
    if asked is Backend.FENTRY_MULTI and not features.fentry_multi:
        raise FeatureUnsupportedError(
            "this kernel has no fentry-multi (Linux 7.2 with ftrace's direct calls): "
            "leave --backend out, or use another one",
            feature="fentry-multi",
            since="7.2",
        )
    # The BTF of a module is told to nobody else, and its functions are found in that alone.
    modules = config.all_kmods or config.kmods
    allowed = not modules or system.has_capability(system.CAP_SYS_ADMIN)
    if asked is Backend.FENTRY_MULTI and not allowed:
        raise PrivilegeError(
            "cannot attach to functions of modules: fentry-multi needs CAP_SYS_ADMIN for it: "
            "use --backend kprobe-multi",
            ("CAP_SYS_ADMIN",),
        )
    if asked is Backend.FENTRY_MULTI or (
        asked is Backend.AUTO and features.fentry_multi and allowed
    ):
        return Backend.FENTRY_MULTI
    if asked is Backend.KPROBE_MULTI and not features.kprobe_multi:
        raise FeatureUnsupportedError(
            "this kernel has no kprobe-multi (Linux 5.18 with CONFIG_FPROBE): "
            "use --backend kprobe, or leave it out",
            feature="kprobe-multi",
            since="5.18",
        )
    if asked is Backend.AUTO and features.kprobe_multi:
        return Backend.KPROBE_MULTI
    if asked is Backend.KPROBE_MULTI:
        return asked
    if system.kprobe_pmu() is None:
        raise FeatureUnsupportedError(
            "this kernel has no kprobes (CONFIG_KPROBE_EVENTS is off, or kprobes are disabled): "
            "nothing can be traced",
            feature="kprobes",
        )
    return Backend.KPROBE


def _attachable(backend: Backend) -> tuple[Attachable, Symbols | None]:
    """What may be probed, from tracefs, or from kallsyms where tracefs cannot be had."""
    listed = system.tracefs_file("available_filter_functions")
    refused = frozenset[str]()
    if backend is Backend.KPROBE or not listed:
        refused = frozenset(blacklist(system.read(system.BLACKLIST) or b""))
    functions: dict[tuple[str, str], Sequence[int]] = {}
    if listed:
        functions = filter_functions(listed)
        return Attachable(functions, "available_filter_functions", refused), None
    symbols = read_symbols()
    for key, addrs in symbols.functions():
        functions[key] = addrs
    return Attachable(functions, "kallsyms", refused), symbols


def _locate(
    plan: Plan, backend: Backend, symbols: Symbols | None, attachable: Attachable
) -> tuple[Symbols | None, Plan]:
    """Fills in addresses where names alone do not do.

    kprobe-multi takes names, which the kernel resolves faster than we read kallsyms, if no other
    function anywhere bears one of them; kprobes are placed by address.
    """
    names = {target.name for target in plan.targets}
    shared = sum(name in names for name, _module in attachable.functions) > len(names)
    if not plan.targets or (backend is Backend.KPROBE_MULTI and not shared):
        return symbols, plan
    if backend is Backend.FENTRY_MULTI:
        return symbols, plan
    symbols = symbols or read_symbols()
    found = symbols.addresses((t.name, t.module) for t in plan.targets)
    targets, skipped = [], list(plan.skipped)
    for target in plan.targets:
        addrs = found.get((target.name, target.module), ())
        if len(addrs) == 1:
            targets.append(target._replace(addr=addrs[0]))
        else:
            skipped.append(plan.skip(target, f"{len(addrs) or 'no'} addresses in kallsyms"))
    return symbols, Plan(tuple(targets), tuple(skipped))


def read_symbols() -> Symbols:
    """All text symbols of the running kernel. Raises PrivilegeError when they are hidden."""
    symbols = Symbols(system.read(system.KALLSYMS) or b"")
    if not symbols.visible:
        raise PrivilegeError(
            "cannot read kernel addresses: /proc/kallsyms hides them, CAP_SYSLOG is missing "
            "(or kernel.kptr_restrict is 2)",
            ("CAP_SYSLOG",),
        )
    return symbols
