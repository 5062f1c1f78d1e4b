# SPDX-License-Identifier: Apache-2.0
"""Which functions of a BTF take sk_buffs, and where each has its own. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import NamedTuple

from ..facts.btf import Btf, Kind, TypeId
from ..facts.roles import COPIES_INTO_FIRST
from .arguments import argument_registers, argument_slots
from .skb_types import SkbTypes, is_drop_reason


class Arguments(NamedTuple):
    """Where a function has its sk_buff and its drop reason, see ``Target``; 0: nowhere.

    First the registers, then the slots: ``argument_slots``. ``btf_id``: its type.
    """

    arg: int
    reason_arg: int
    slot: int = 0
    reason_slot: int = 0
    btf_id: int = 0


Candidates = Mapping[str, Collection[Arguments]]
"""Functions with an sk_buff among their arguments: name to each that BTF has of that name."""


@dataclass(frozen=True, slots=True)
class Functions:
    """Those of one BTF, without those of its base.

    ``indirect``: name to what it takes in place of an sk_buff. ``consistent``: where several
    functions bear a name, all have the prototypes that BTF gives to it.
    """

    candidates: Candidates
    indirect: Mapping[str, str]
    consistent: bool

    @classmethod
    def of(cls, btf: Btf, skb: SkbTypes | None = None) -> Functions:
        """``skb``: the types of ``btf``, where they are at hand."""
        skb = skb or SkbTypes(btf)
        candidates = _candidates(btf, skb)
        return cls(candidates, _indirect(btf, skb, candidates), _is_consistent(btf))


def module_functions(base: Btf, modules: Iterable[Btf]) -> list[tuple[str, Functions]]:
    """(name, its functions) of modules of one kernel."""
    skb = SkbTypes(base)
    return [(btf.name, Functions.of(btf, SkbTypes(btf, skb))) for btf in modules]


class _Prototypes:
    """Decides on prototypes, each once: most functions share theirs."""

    def __init__(self, btf: Btf, skb: SkbTypes) -> None:
        self._btf = btf
        self._skb = skb
        self._seen: dict[tuple[TypeId, bool], Arguments] = {}

    def arguments(self, proto: TypeId, copier: bool) -> Arguments:
        """Where a prototype with an sk_buff has it; arg 0: the sk_buff is not in a register.

        ``copier``: if it takes several sk_buffs, the last is the packet, else the first.
        """
        try:
            return self._seen[proto, copier]
        except KeyError:
            found = self._seen[proto, copier] = self._decide(proto, copier)
            return found

    def _decide(self, proto: TypeId, copier: bool) -> Arguments:
        types = self._btf.parameter_types(proto)
        skbs = [n for n, t in enumerate(types) if t in self._skb.pointers]
        skb = skbs[-1 if copier else 0]
        reason = next((n for n, t in enumerate(types) if is_drop_reason(self._btf, t)), -1)
        none = (0,) * len(types)
        registers = (*argument_registers(self._btf, proto), 0)
        slots = (*(argument_slots(self._btf, proto) or none), 0)
        return Arguments(registers[skb], registers[reason], slots[skb], slots[reason])


def _candidates(btf: Btf, skb: SkbTypes) -> dict[str, set[Arguments]]:
    prototypes = _Prototypes(btf, skb)
    found: dict[str, set[Arguments]] = {}
    for at, proto in btf.function_protos():
        if proto in skb.prototypes:
            name = btf.name_at(at)
            arguments = prototypes.arguments(proto, name in COPIES_INTO_FIRST)
            found.setdefault(name, set()).add(arguments._replace(btf_id=btf.id_at(at)))
    for name, count in btf.repeated_functions().items():
        if name in found and len(found[name]) < count:
            found[name].add(_WITHOUT_SKB)
    return found


_WITHOUT_SKB = Arguments(0, 0)
"""Of another function of that name, that takes none."""


def _is_consistent(btf: Btf) -> bool:
    """Whether pahole, which makes BTF, has compared all functions of one name.

    Asked for ``consistent_func``, it leaves out a name whose prototypes differ; else it takes one
    of them. Kernels ask for it in the same list as for the tags of kfuncs (scripts/Makefile.btf,
    6.10, commit ebb79e96f1ea).
    """
    return bool(btf.named("bpf_kfunc", (Kind.DECL_TAG,)))


PLACE = "the address of a pointer to one (struct sk_buff **)"
LIST = "a list of them (struct sk_buff_head *)"


def _indirect(btf: Btf, skb: SkbTypes, candidates: Candidates) -> dict[str, str]:
    """Where the sk_buff is known only once the function has run, or there are any number."""
    found: dict[str, str] = {}
    for at, proto in btf.function_protos():
        takes = PLACE if proto in skb.with_place else LIST if proto in skb.with_list else ""
        if takes and (name := btf.name_at(at)) not in candidates:
            found[name] = takes
    return found
