# SPDX-License-Identifier: Apache-2.0
"""Every tracepoint of a kernel that is given an sk_buff, by BTF. Pure.

For each tracepoint the kernel has ``typedef void (*btf_trace_NAME)(void *, ...)``
(include/trace/bpf_probe.h): the first parameter is the tracepoint's own, the others are what a raw
tracepoint's program finds in its context, in this order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import NamedTuple

from ..facts.btf import Btf, Kind, TypeId
from ..facts.roles import TRACEPOINT_SYSTEMS
from .functions import Plan, Target
from .skb_types import SkbTypes, is_drop_reason

_PREFIX = "btf_trace_"
_OWN = 1  # parameters before those of the program's context


class Tracepoint(NamedTuple):
    """A tracepoint that is given an sk_buff. Arguments count from 1; 0: it has none.

    ``reason_arg``: a drop reason. ``location_arg``: the address of the code that calls it, in
    ``kfree_skb``, ``consume_skb`` and a few others. ``btf_id``: of its typedef, in the BTF of
    ``module`` ('' for the kernel).
    """

    name: str
    module: str
    arg: int
    reason_arg: int
    location_arg: int
    btf_id: int


def find_tracepoints(btf: Btf, module: str = "") -> list[Tracepoint]:
    """Those of one BTF, without those of its base, by name."""
    skb = SkbTypes(btf)
    found = []
    for typedef in btf.named_with(_PREFIX, Kind.TYPEDEF):
        proto = btf.target(btf.target(typedef))
        if proto in skb.prototypes:
            name = btf.type_name(typedef)[len(_PREFIX) :]
            found.append(_tracepoint(btf, skb, name, module, proto, typedef))
    return sorted(tracepoint for tracepoint in found if tracepoint.arg)


def _tracepoint(
    btf: Btf, skb: SkbTypes, name: str, module: str, proto: TypeId, typedef: TypeId
) -> Tracepoint:
    arguments = btf.parameters(proto)[_OWN:]
    numbered = list(enumerate(arguments, 1))
    return Tracepoint(
        name,
        module,
        next((n for n, a in numbered if a.type in skb.pointers), 0),
        next((n for n, a in numbered if is_drop_reason(btf, a.type)), 0),
        next((n for n, a in numbered if _is_location(btf, name, n, a.type)), 0),
        typedef,
    )


def _is_location(btf: Btf, tracepoint: str, position: int, type_id: TypeId) -> bool:
    """Parameters of prototypes have no names there: an untyped pointer behind the sk_buff."""
    plain = btf.resolve(type_id)
    to_void = btf.kind(plain) is Kind.PTR and not btf.resolve(btf.target(plain))
    return to_void and position > 1 and tracepoint in WITH_LOCATION


def bare_name(title: str) -> str:
    """``kfree_skb`` of ``skb:kfree_skb``."""
    return title.rpartition(":")[2]


def _title(tracepoint: Tracepoint) -> str:
    """``skb:kfree_skb``; a module's name where there is one, ``tracepoint`` where nothing tells."""
    name = tracepoint.name
    if tracepoint.module:
        return f"{tracepoint.module}:{name}"
    found = ((pattern.fullmatch(name), system) for pattern, system in TRACEPOINT_SYSTEMS)
    system = next((match.expand(system) for match, system in found if match), "tracepoint")
    return f"{system}:{name}"


def tracepoint_plan(
    found: Iterable[Tracepoint], wanted: Callable[[str], object], fits: Callable[[Target], bool]
) -> Plan:
    """A plan of those whose title or bare name ``wanted`` likes. ``fits``: it can be attached."""
    targets, skipped = [], []
    for tracepoint in found:
        title = _title(tracepoint)
        if not (wanted(title) or wanted(tracepoint.name)):
            continue
        target = Target(
            title,
            tracepoint.module,
            0,
            tracepoint.arg,
            tracepoint.reason_arg,
            tracepoint.btf_id,
            tracepoint.location_arg,
        )
        if fits(target):
            targets.append(target)
        else:
            skipped.append(Plan.skip(target, "no program takes its arguments"))
    return Plan(tuple(targets), tuple(skipped))


WITH_LOCATION = frozenset({"kfree_skb", "consume_skb"})
"""include/trace/events/skb.h: ``void *location``."""
