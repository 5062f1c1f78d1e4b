# SPDX-License-Identifier: Apache-2.0
"""Functions without an sk_buff, traced where they run within one that has it. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from difflib import get_close_matches

from ..errors import NotFoundError
from ..escape import quote
from ..facts.btf import Btf, Kind, TypeId
from ..facts.function_sets import INSIDE, plain_matcher
from ..facts.map_functions import MapFunction
from ..facts.roles import LOCKS, NETWORKING
from .arguments import argument_slots
from .functions import Attachable, Plan, Skipped, Target

NO_TYPE = TypeId(0)
Plain = Mapping[str, Sequence[tuple[TypeId, bool]]]
"""Functions by name: of each of that name its type, and whether trampolines take its arguments.

``NO_TYPE``: that is not known; only trampolines want it.
"""


class Wanted:
    """Which functions are asked for: names, regular expressions for whole names, ``@inside``.

    Raises UsageError for what is none of them.
    """

    def __init__(self, texts: Iterable[str]) -> None:
        self.texts = tuple(texts)
        self.networking = INSIDE in self.texts
        self._patterns = {text: plain_matcher(text) for text in self.texts if text != INSIDE}
        self._found: set[str] = set()

    def __call__(self, name: str) -> bool:
        matched = [text for text, pattern in self._patterns.items() if pattern(name)]
        self._found.update(matched)
        return bool(matched)

    @property
    def unmet(self) -> tuple[str, ...]:
        """Those that no function has matched so far."""
        return tuple(text for text in self._patterns if text not in self._found)


def find_plain(
    btf: Btf, wanted: Wanted, others: Iterable[str] = ()
) -> dict[str, list[tuple[TypeId, bool]]]:
    """The functions of one BTF that are asked for. ``others``: names that are, too."""
    found: dict[str, list[tuple[TypeId, bool]]] = {}
    slots: dict[TypeId, bool] = {}
    named = frozenset(others)
    networking = _networking(btf) if wanted.networking else frozenset()
    for at, proto in btf.function_protos():
        name = btf.name_at(at)
        if not (wanted(name) or name in named or proto in networking):
            continue
        if proto not in slots:
            slots[proto] = bool(argument_slots(btf, proto) or not btf.parameter_types(proto))
        found.setdefault(name, []).append((btf.id_at(at), slots[proto]))
    return found


def find_named(
    names: Iterable[str], wanted: Wanted, others: Iterable[str] = ()
) -> dict[str, list[tuple[TypeId, bool]]]:
    """The same of names alone, where nothing is known of most functions' types."""
    named = frozenset(others)
    return {name: [(NO_TYPE, False)] for name in names if wanted(name) or name in named}


def _networking(btf: Btf) -> frozenset[TypeId]:
    """Prototypes with a pointer to one of networking's structures."""
    found: dict[int, bool] = {}

    def points(type_id: int) -> bool:
        if type_id not in found:
            pointer = btf.resolve(TypeId(type_id))
            plain = btf.resolve(btf.target(pointer)) if btf.kind(pointer) is Kind.PTR else None
            found[type_id] = (
                plain is not None
                and btf.kind(plain) in (Kind.STRUCT, Kind.FWD)
                and NETWORKING.fullmatch(btf.type_name(plain)) is not None
            )
        return found[type_id]

    protos = {proto for _at, proto in btf.function_protos()}
    return frozenset(p for p in protos if any(map(points, btf.parameter_types(p))))


def add_inside(
    plan: Plan,
    sources: Iterable[tuple[str, Plain]],
    attachable: Attachable,
    asked: Iterable[str],
    *,
    maps: Mapping[str, MapFunction],
    slots: bool,
) -> Plan:
    """The plan with targets that have no sk_buff, behind those that have one.

    ``sources``: (module, its functions). ``asked``: names of which each that cannot be traced is
    told. ``maps``: functions of BPF maps, of which what they are given is told. ``slots``: the plan
    is for trampolines.
    """
    traced = {(target.name, target.module) for target in plan.targets}
    told = frozenset(asked)
    targets: list[Target] = []
    skipped: list[Skipped] = []
    for module, functions in sources:
        for name, types in functions.items():
            if (name, module) in traced:
                continue
            decided = _decide(name, module, types, attachable, slots)
            if not isinstance(decided, Skipped):
                kind = MapFunction.NONE if module else maps.get(name, MapFunction.NONE)
                targets += (target._replace(map=kind) for target in decided)
            elif name in told:
                skipped.append(decided)
    return plan.with_inside(tuple(targets), tuple(skipped))


def _decide(
    name: str,
    module: str,
    types: Sequence[tuple[TypeId, bool]],
    attachable: Attachable,
    slots: bool,
) -> list[Target] | Skipped:
    why = attachable.refuses(name, module)
    if why:
        return Skipped(name, module, why)
    addrs = attachable.functions[name, module]
    if LOCKS.fullmatch(name):
        return Skipped(name, module, "a lock that the whole kernel takes: it would stand still")
    if slots and (len(types) > 1 or len(addrs) > 1):
        return Skipped(name, module, "several functions of this name")
    if slots and not types[0][1]:
        return Skipped(name, module, "no trampoline takes its arguments")
    btf_id = types[0][0] if slots else 0
    return [Target(name, module, addr, 0, 0, btf_id) for addr in addrs or (0,)]


def check_met(wanted: Wanted, known: Callable[[], Iterable[str]]) -> None:
    """Raises NotFoundError for a name that no function has. ``known``: those that there are."""
    for text in wanted.unmet:
        near = get_close_matches(text, list(known()), n=1)
        hint = f": did you mean {near[0]}?" if near else ""
        raise NotFoundError(
            f"`filter_non_skb_funcs`: no function of this kernel matches {quote(text)}{hint}"
        )


def helper_names(symbols: Iterable[str]) -> Iterator[str]:
    """Functions that BPF programs call, by the symbols of their prototypes: ``bpf_…_proto``."""
    for symbol in symbols:
        if symbol.startswith("bpf_") and symbol.endswith("_proto"):
            yield symbol.removesuffix("_proto")
