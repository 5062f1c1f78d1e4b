# SPDX-License-Identifier: Apache-2.0
"""Everything that is decided before anything is loaded: what the system has, what to attach."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import FeatureUnsupportedError, NotFoundError, PrivilegeError
from ..facts.features import Features
from ..kernel import system
from ..options.config import Backend, Config
from ..plan.functions import Candidates, Plan, find_candidates, make_plan
from .attachable import find_attachable
from .known import KernelTypes, Known
from .splice import OUTER, adapt, compile_all, compile_expression

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
    compiled: dict[str, CompiledFilter]


def prepare(config: Config) -> Prepared:
    """Reads the system and makes the plan. Raises a PwruError when tracing is impossible."""
    compiled = compile_all(config)  # a wrong expression needs no root to be told
    system.check_privileges()
    types = KernelTypes(config.kernel_btf)
    known = types.known()
    features = known.features
    backend = choose_backend(config, features)
    sources: list[tuple[str, Candidates]] = [("", known.candidates)]
    if config.kmods or config.all_kmods:
        modules = system.module_btfs(types.btf, config.kmods, config.all_kmods)
        sources += [(btf.name, find_candidates(btf)) for btf in modules]
    trampolines = backend is Backend.FENTRY_MULTI
    attachable = find_attachable(
        {(name, module) for module, candidates in sources for name in candidates},
        types.notes,
        kprobes=backend is Backend.KPROBE,
        ids=trampolines,
    )
    wanted = re.compile(config.filter_func or ".*").fullmatch
    plan = make_plan(sources, attachable, wanted, slots=trampolines)
    compiled = adapt(compiled, features)
    return Prepared(types, known, features, backend, plan, compiled)


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


def choose_backend(config: Config, features: Features) -> Backend:
    asked = config.backend
    if asked is Backend.FENTRY_MULTI and not features.fentry_multi:
        raise FeatureUnsupportedError(
            "this kernel has no fentry-multi (Linux 7.2 with ftrace's direct calls): "
            "leave `backend` out, or use another one",
            feature="fentry-multi",
            since="7.2",
        )
    if asked is Backend.FENTRY_MULTI and not features.typed_loads:
        raise FeatureUnsupportedError(
            "fentry-multi needs an sk_buff that is laid out as usual, and this kernel's is not: "
            "leave `backend` out, or use another one",
            feature="fentry-multi",
        )
    # The BTF of a module is told to nobody else, and its functions are found in that alone.
    modules = config.all_kmods or config.kmods
    allowed = not modules or system.has_capability(system.CAP_SYS_ADMIN)
    if asked is Backend.FENTRY_MULTI and not allowed:
        raise PrivilegeError(
            "cannot attach to functions of modules: fentry-multi needs CAP_SYS_ADMIN for it: "
            "use `backend`=kprobe-multi",
            ("CAP_SYS_ADMIN",),
        )
    if asked is Backend.FENTRY_MULTI or (
        asked is Backend.AUTO and features.fentry_multi and features.typed_loads and allowed
    ):
        return Backend.FENTRY_MULTI
    if asked is Backend.KPROBE_MULTI and not features.kprobe_multi:
        raise FeatureUnsupportedError(
            "this kernel has no kprobe-multi (Linux 5.18 with CONFIG_FPROBE): "
            "use `backend`=kprobe, or leave it out",
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
