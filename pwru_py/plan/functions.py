# SPDX-License-Identifier: Apache-2.0
"""What to attach: kernel BTF x attachable functions x Config. Pure.

The plan names every function that has an sk_buff among its arguments, or that is told where to
find some, either as a target or as skipped with the reason, so that nothing is left out in silence.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from ..facts.roles import ENDS, FIRST
from .candidates import Arguments, Functions


class Target(NamedTuple):
    """A function to attach to.

    ``arg``: the register, from 1, that holds the sk_buff; in a plan for trampolines its slot; 0: it
    takes none, and is traced within functions that do.
    ``reason_arg``: the one that holds a drop reason, 0 without. ``location_arg``: of a tracepoint,
    which has its arguments in an array, the one that holds the address of its caller. ``addr``: the
    entry as ftrace or kallsyms gives it, 0 when unknown. ``btf_id``: in a plan for trampolines the
    function's. ``map``: of a function of BPF maps what it is given, a ``MapFunction``.
    """

    name: str
    module: str
    addr: int
    arg: int
    reason_arg: int
    btf_id: int = 0
    location_arg: int = 0
    map: int = 0


class Skipped(NamedTuple):
    """A function that takes sk_buffs, or is told where they are, that is not traced, and why."""

    name: str
    module: str
    why: str


@dataclass(frozen=True, slots=True)
class Plan:
    """Targets in the order of attaching, most telling first, and all that is left out.

    ``tracepoints``: those that are traced beside functions, which are the targets then. ``tables``:
    functions that run netfilter's tables, where verdicts are read. ``ends``: the function
    that tells where packets end, where no target does; its hits are no events. ``reads``: the one
    that tells which process reads a datagram, where no tracepoint does. ``sources``: function to
    how its arguments are known, where the kernel does not tell them itself.
    """

    targets: tuple[Target, ...]
    skipped: tuple[Skipped, ...]
    tracepoints: tuple[Target, ...] = ()
    tables: tuple[str, ...] = ()
    ends: str = ""
    reads: str = ""
    sources: Mapping[str, str] = field(default_factory=dict, hash=False)

    @property
    def shows_ends(self) -> bool:
        """Whether something that is traced tells where packets end."""
        return any(target.name in ENDS for target in self.traced)

    def with_inside(self, targets: tuple[Target, ...], skipped: tuple[Skipped, ...]) -> Plan:
        """The same with targets that have no sk_buff, and what is left out of them."""
        return replace(self, targets=self.targets + targets, skipped=self.skipped + skipped)

    @property
    def traced(self) -> tuple[Target, ...]:
        """Everything: records tell of it by 1 + the index here."""
        return self.targets + self.tracepoints

    @staticmethod
    def skip(target: Target, why: str) -> Skipped:
        """``target`` left out after all."""
        return Skipped(target.name, target.module, why)


@dataclass(frozen=True, slots=True)
class Attachable:
    """What the kernel lets be probed.

    ``functions``: (name, module) to the addresses that bear the name; empty list: address unknown.
    ``source``: where that was read, for messages. ``blacklist``: names that kprobes refuse.
    ``clones``: (name, module) to what the compiler has made of the function.
    """

    functions: Mapping[tuple[str, str], Sequence[int]]
    source: str
    blacklist: frozenset[str] = frozenset()
    clones: Mapping[tuple[str, str], Sequence[str]] = field(default_factory=dict)

    def refuses(self, name: str, module: str) -> str:
        """Why no function of this name can be probed; '' where one can."""
        if (name, module) not in self.functions:
            clones = self.clones.get((name, module))
            return _only(clones) if clones else f"not in {self.source}"
        return "on the kprobe blacklist" if name in self.blacklist else ""


def _rank(target: Target) -> int:
    for rank, pattern in enumerate(FIRST):
        if pattern.fullmatch(target.name):
            return rank
    return len(FIRST)


def make_plan(
    sources: Iterable[tuple[str, Functions]],
    attachable: Attachable,
    wanted: Callable[[str], object],
    slots: bool = False,
) -> Plan:
    """The plan for the functions that ``wanted`` likes, the kernel's first, then modules'.

    ``sources``: (module, its functions), '' for the kernel. ``wanted`` takes a function's name:
    ``re.compile(RE).fullmatch``, for example. ``slots``: the plan is for trampolines.
    """
    decide = _trampoline if slots else _probe
    targets: list[Target] = []
    skipped: list[Skipped] = []
    for module, functions in sources:
        for name in filter(wanted, functions.candidates):
            decided = _decide(name, module, functions, attachable, decide)
            if isinstance(decided, Skipped):
                skipped.append(decided)
            else:
                targets.extend(decided)
        skipped += (
            Skipped(name, module, f"takes no sk_buff, but {functions.indirect[name]}")
            for name in filter(wanted, functions.indirect)
        )
        skipped += _changed(module, functions, attachable, wanted)
    targets.sort(key=_rank)
    return Plan(tuple(targets), tuple(skipped))


def _decide(
    name: str,
    module: str,
    functions: Functions,
    attachable: Attachable,
    decide: Callable[[Collection[Arguments], int, bool], Arguments | str],
) -> list[Target] | Skipped:
    why = attachable.refuses(name, module)
    if why:
        return Skipped(name, module, why)
    addrs = attachable.functions[name, module]
    protos = functions.candidates[name]
    decided = decide(protos, len(addrs), functions.consistent)
    if isinstance(decided, str):
        return Skipped(name, module, decided)
    arg, reason, btf_id = decided.arg, decided.reason_arg, decided.btf_id
    return [Target(name, module, addr, arg, reason, btf_id) for addr in addrs or (0,)]


_CHANGES = {
    "isra": "may get parts of its arguments in their place",
    "constprop": "does not get arguments that are constant",
    "part": "is a part of it and gets what that needs",
}
"""What GCC has done to the arguments, by the name: no more is known of where they are."""


def _change(clone: str) -> str:
    kinds = clone.split(".")[1::2]
    return " and ".join(dict.fromkeys(_CHANGES[kind] for kind in kinds))


def _only(clones: Sequence[str]) -> str:
    return (
        f"the compiler left only {'; '.join(f'{each}, which {_change(each)}' for each in clones)}"
    )


def _changed(
    module: str, functions: Functions, attachable: Attachable, wanted: Callable[[str], object]
) -> Iterator[Skipped]:
    """What has been made of functions that are there as well."""
    for (name, place), clones in attachable.clones.items():
        beside = place == module and name in functions.candidates
        if beside and (name, module) in attachable.functions:
            for clone in clones:
                if wanted(name) or wanted(clone):
                    yield Skipped(clone, module, f"made of {name}: it {_change(clone)}")


def _probe(protos: Collection[Arguments], count: int, consistent: bool) -> Arguments | str:
    """The registers of ``count`` functions of a name, or why not."""
    found = {Arguments(proto.arg, proto.reason_arg) for proto in protos}
    if len(found) > 1:
        return f"{len(protos)} functions of this name differ in arguments"
    (arguments,) = found
    if not arguments.arg:
        return "its sk_buff is passed on the stack"
    if count > 1 and count != len(protos) and not consistent:
        # Those that BTF does not know may differ, and a wrong register is worse.
        return f"{count} functions of this name, BTF knows {len(protos)}"
    return arguments


def _trampoline(protos: Collection[Arguments], count: int, consistent: bool) -> Arguments | str:
    """The slots as if they were registers, or why not.

    A trampoline keeps just the registers of the prototype that it is given: with that of another
    function of this name, the traced one would lose arguments. The kernel looks for the function
    by its name, and takes the first (bpf_check_attach_target() in kernel/bpf/verifier.c).
    """
    if len(protos) > 1:
        return f"BTF knows {len(protos)} functions of this name"
    if count > 1:
        return f"{count} functions of this name, a trampoline finds the first alone"
    (arguments,) = protos
    if not arguments.slot:
        return "no trampoline takes its arguments"
    return Arguments(arguments.slot, arguments.reason_slot, btf_id=arguments.btf_id)
