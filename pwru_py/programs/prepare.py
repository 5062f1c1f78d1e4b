# SPDX-License-Identifier: Apache-2.0
"""Everything that is decided before anything is loaded: what the system has, what to attach."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from ..attach.probes import Probes
from ..attach.tracepoints import attachable
from ..errors import FeatureUnsupportedError, NotFoundError, PrivilegeError, UsageError
from ..facts.features import Features
from ..facts.function_sets import matcher
from ..facts.header_btf import sources as sources_of
from ..facts.map_functions import find_map_functions
from ..facts.return_filter import ReturnFilter
from ..facts.returned import has_name
from ..facts.roles import DROP_TRACEPOINT, JOURNEY_POINTS, RELEASES
from ..facts.tables import TABLE_FUNCTIONS
from ..kernel import system
from ..kernel.notes import Notes
from ..options.config import Config
from ..packets.arp import WATCHED
from ..plan.candidates import module_functions
from ..plan.functions import Plan, make_plan
from ..plan.inside import Wanted, add_inside, check_met, find_named, find_plain, helper_names
from ..plan.tracepoints import find_tracepoints, tracepoint_plan
from .attachable import check_symbols, find_attachable, symbol_names
from .choose import Choice, choices, ftrace_off
from .conntrack import unjudged
from .field_expressions import FieldExpressions, check_field_expressions, compile_field_expressions
from .known import KernelTypes, Known, kernel_types
from .reads import silent_reads
from .splice import OUTER, adapt, compile_all, compile_expression

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is decided before anything is loaded.

    ``features``: those that ``choice`` uses. ``others``: what may be tried when that is refused.
    ``expressions``: the filters as compiled for any kernel. ``compiled``: as this object takes
    them. ``field_expressions``: the same for every object. ``unjudged``: why no probe tells what
    conntrack finds invalid, '' where one does.
    """

    config: Config
    types: KernelTypes
    known: Known
    features: Features
    choice: Choice
    others: tuple[Choice, ...]
    plan: Plan
    expressions: dict[str, CompiledFilter]
    compiled: dict[str, CompiledFilter]
    field_expressions: FieldExpressions
    unjudged: str

    @property
    def way(self) -> type[Probes]:
        return self.choice.way


def prepare(config: Config, types: KernelTypes | None = None) -> Prepared:
    """Reads the system and makes the plan. Raises a PwruError when tracing is impossible.

    ``types``: those of ``kernel_types(config)``, where they have been asked something before.
    """
    expressions = compile_all(config)  # a wrong expression needs no root to be told
    check_field_expressions(config)
    system.check_privileges()
    if config.traces_programs and not system.has_capability(system.CAP_SYS_ADMIN):
        raise PrivilegeError(
            "cannot trace BPF programs: the kernel lets CAP_SYS_ADMIN alone look for them: run it "
            "as root, or leave `filter_trace_tc` and `filter_trace_xdp` out",
            ("CAP_SYS_ADMIN",),
        )
    types = types or kernel_types(config)
    known = types.known()
    _check_made(config, types)
    if config.kernel_btf and not types.own:
        check_symbols(known.functions.candidates, config.kernel_btf)
    _check_return_filter(config, types)
    field_expressions = compile_field_expressions(config, types)
    return _prepare(
        config, types, known, expressions, field_expressions, choices(config, known.features)
    )


def _check_made(config: Config, types: KernelTypes) -> None:
    """What needs BTF of the kernel's own, or types that no header has."""
    if not types.made:
        return
    needs = {
        "filter_trace_tc": config.filter_trace_tc,
        "filter_trace_xdp": config.filter_trace_xdp,
        "output_bpfmap": config.output_bpfmap,
        "all_kmods": config.all_kmods,
    }
    asked = [f"`{name}`" for name, value in needs.items() if value]
    if asked:
        need, them = ("needs", "it") if len(asked) == 1 else ("need", "them")
        raise FeatureUnsupportedError(
            f"types by the kernel's headers do not do for {' and '.join(asked)}, which {need} the "
            f"kernel's own BTF: leave {them} out",
            feature="BTF",
        )


def _check_return_filter(config: Config, types: KernelTypes) -> None:
    """A name that no value has would match nothing, without a word."""
    name = ReturnFilter.parse(config.filter_return).name if config.filter_return else ""
    if not name or has_name(types.btf, name):
        return
    modules = types.module_btfs(config.kmods, config.all_kmods)
    if not any(has_name(btf, name) for btf in modules):
        raise UsageError(
            f"`filter_return`: no enum of this kernel has a value {name}, and it is no verdict of "
            "netfilter: give the name as the kernel has it, or a number"
        )


def prepare_next(prepared: Prepared, left: tuple[Choice, ...]) -> Prepared:
    """The same with the first of what is left, the first having been refused."""
    config, types, known = prepared.config, prepared.types, prepared.known
    return _prepare(config, types, known, prepared.expressions, prepared.field_expressions, left)


def _prepare(
    config: Config,
    types: KernelTypes,
    known: Known,
    expressions: dict[str, CompiledFilter],
    field_expressions: FieldExpressions,
    offered: tuple[Choice, ...],
) -> Prepared:
    choice, *others = offered
    features = choice.features(known.features)
    plan = _plan(config, types, known, choice.way)
    if config.tells_verdicts:
        plan = replace(plan, tables=_table_functions(types))
    if config.journey:
        plan = replace(plan, reads=silent_reads(plan))
    if types.made:
        plan = replace(plan, sources=sources_of(types.btf))
    compiled = adapt(expressions, features)
    return Prepared(
        config,
        types,
        known,
        features,
        choice,
        tuple(others),
        plan,
        expressions,
        compiled,
        field_expressions,
        unjudged(config, types, choice),
    )


def _plan(config: Config, types: KernelTypes, known: Known, way: type[Probes]) -> Plan:
    wanted = matcher(DROP_TRACEPOINT if config.drops else config.filter_func)
    if config.journey:
        return _tracepoints(config, types, known, JOURNEY_POINTS.__contains__)
    if way.tracepoints:
        plan = _tracepoints(config, types, known, wanted)
        if config.watches_arp:
            beside = _tracepoints(config, types, known, WATCHED.__contains__)
            return replace(plan, tracepoints=beside.targets)
        return plan
    sources = [("", known.functions)]
    if config.kmods or config.all_kmods:
        modules = types.module_btfs(config.kmods, config.all_kmods)
        sources += module_functions(types.btf, modules)
    probed = find_attachable(
        {(name, module) for module, functions in sources for name in functions.candidates},
        types.notes,
        kprobes=way.entries,
        ids=way.trampoline,
    )
    plan = make_plan(sources, probed, wanted, slots=way.trampoline)
    if plan.targets and not plan.shows_ends and system.kprobe_pmu() is not None:
        released = make_plan(sources[:1], probed, {RELEASES}.__contains__, slots=way.trampoline)
        plan = replace(plan, ends=RELEASES if released.targets else "")
    if config.traces_inside:
        plan = _with_inside(plan, config, types, way)
    if not config.with_tracepoints:
        return plan
    beside = _tracepoints(config, types, known, lambda _name: True)
    return replace(plan, skipped=plan.skipped + beside.skipped, tracepoints=beside.targets)


def _with_inside(plan: Plan, config: Config, types: KernelTypes, way: type[Probes]) -> Plan:
    """Raises NotFoundError for a name that no function has."""
    wanted = Wanted(config.filter_non_skb_funcs)
    helpers = frozenset(helper_names(symbol_names()) if config.filter_track_bpf_helpers else ())
    maps = find_map_functions(types.btf) if config.output_bpfmap else {}
    modules = config.kmods or config.all_kmods
    btfs = [types.btf]
    if modules:
        btfs += types.module_btfs(config.kmods, config.all_kmods)
    sources = [
        (btf.name if btf.base is not None else "", find_plain(btf, wanted, helpers | maps.keys()))
        for btf in btfs
    ]
    if types.made:  # a function's types are of no use here, where it has none of an sk_buff
        named = find_named(symbol_names(), wanted, helpers)
        sources = [(module, {**named, **functions}) for module, functions in sources]
    check_met(wanted, lambda: (f.name for btf in btfs for f in btf.functions()))
    probed = find_attachable(
        {(name, module) for module, functions in sources for name in functions},
        Notes(""),
        kprobes=way.entries,
        ids=way.trampoline,
    )
    asked = (*wanted.texts, *maps)
    return add_inside(plan, sources, probed, asked, maps=maps, slots=way.trampoline)


def _table_functions(types: KernelTypes) -> tuple[str, ...]:
    """Those of netfilter's tables that are loaded now, where functions can be probed."""
    if system.kprobe_pmu() is None or ftrace_off() is not None:
        return ()
    loaded = system.loaded_modules()
    return tuple(
        name
        for name, module in TABLE_FUNCTIONS.items()
        if module in loaded or types.btf.function(name)
    )


def _tracepoints(
    config: Config, types: KernelTypes, known: Known, wanted: Callable[[str], object]
) -> Plan:
    found = [*known.tracepoints]
    if config.kmods or config.all_kmods:
        modules = types.module_btfs(config.kmods, config.all_kmods)
        found += [each for btf in modules for each in find_tracepoints(btf, btf.name)]
    return tracepoint_plan(found, wanted, attachable)


def filter_listing(config: Config) -> str:
    """How the filter becomes a program, as this kernel would get it. Raises FilterError."""
    compiled = compile_all(Config(filter=config.filter)) or {OUTER: compile_expression("")}
    try:
        features = kernel_types(config).known().features
    except (FeatureUnsupportedError, NotFoundError):
        pass  # without BTF nothing can be traced, but a listing can be had
    else:
        compiled = adapt(compiled, features)
    return compiled[OUTER].listing()
