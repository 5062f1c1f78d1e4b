# SPDX-License-Identifier: Apache-2.0
"""What BTF lacks that a compiler made of headers: functions, tracepoints, a few variables. Pure.

Functions that headers declare have their prototypes from there. Those that are known to take an
sk_buff have just the place of it; the kernel's symbols say that they are there.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from enum import StrEnum

from .btf import Btf, Kind, TypeId
from .btf_append import Appended
from .header_types import FUNCTIONS, TRACEPOINTS
from .skb_functions import WITH_REASON, WITH_SKB


class Source(StrEnum):
    """Where a function's arguments are known from; a tag of the function in the BTF."""

    HEADERS = "by the kernel's headers"
    LIST = "by the list of known functions"


PRESENT = ("register_fprobe_ips", "bpf_trampoline_multi_attach")
"""Functions that are looked for, whatever they take; see ``Features``."""
VARIABLES = ("local_interrupt_disable_state",)
_REGISTER = "register_trace_"


def with_functions(raw: bytes, symbols: Collection[str]) -> bytes:
    """``raw``: BTF of ``header_types.types_text``. ``symbols``: names that the kernel has."""
    btf = Btf(raw)
    made = Appended(raw, btf)
    declared = dict(_members(btf, FUNCTIONS))
    for name, proto in declared.items():
        if name in symbols:
            made.tag(Source.HEADERS, made.function(name, proto))
    for name, register in _members(btf, TRACEPOINTS):
        probe = btf.parameter_types(register)[0]
        made.typedef("btf_trace_" + name.removeprefix(_REGISTER), TypeId(probe))
    _add_known(made, btf, {*symbols} - declared.keys())
    nothing = made.prototype(())
    for name in PRESENT:
        if name in symbols and name not in declared:
            made.function(name, nothing)
    byte = made.integer("pwru_byte", 1)
    for name in VARIABLES:
        if name in symbols:
            made.variable(name, byte)
    return made.raw()


def sources(btf: Btf) -> dict[str, Source]:
    """Of the functions of such a BTF; empty for a kernel's own."""
    return {
        btf.type_name(btf.target(tag)): source
        for source in Source
        for tag in btf.named(source, (Kind.DECL_TAG,))
    }


def _members(btf: Btf, structure: str) -> Iterator[tuple[str, TypeId]]:
    """(name, prototype) of the members that are functions: the compiler has found those."""
    for found in btf.named(structure, (Kind.STRUCT,)):
        for name, member in btf.members(found):
            plain = btf.resolve(member)
            proto = btf.resolve(btf.target(plain)) if btf.kind(plain) is Kind.PTR else plain
            if btf.kind(proto) is Kind.FUNC_PROTO:
                yield name, proto


def _add_known(made: Appended, btf: Btf, symbols: Collection[str]) -> None:
    unknown = made.pointer(TypeId(0))
    skb = made.pointer(min(btf.named("sk_buff", (Kind.STRUCT,))))
    reasons = btf.named("skb_drop_reason", (Kind.ENUM,))
    prototypes: dict[tuple[int, int], TypeId] = {}
    places = {name: (arg, 0) for arg, names in WITH_SKB.items() for name in names.split()}
    if reasons:
        places |= WITH_REASON
    for name in sorted(places.keys() & {*symbols}):
        place = arg, reason_arg = places[name]
        if place not in prototypes:
            parameters = [unknown] * max(place)
            parameters[arg - 1] = skb
            if reason_arg:
                parameters[reason_arg - 1] = min(reasons)
            prototypes[place] = made.prototype(parameters)
        made.tag(Source.LIST, made.function(name, prototypes[place]))
