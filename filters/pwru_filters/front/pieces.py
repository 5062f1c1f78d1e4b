# SPDX-License-Identifier: Apache-2.0
"""Pass 1 of long expressions: the boolean structure here, each primitive by libpcap.

libpcap's optimiser takes minutes for thousands of hosts or ports, and its code generator, which
begins anew for every jump that turns out too long, seconds for one thousand. Joined as here, time
grows with the length.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from .cbpf import JMP_JA, RET_K, CbpfInsn, CbpfProgram
from .intervals import union
from .ports import PortList, port_list, port_program
from .structure import Expression, Joined


@dataclass(frozen=True, slots=True)
class AnyOf:
    """`parts` with `or` between them, none twice."""

    parts: tuple[Simple, ...]


@dataclass(frozen=True, slots=True)
class Not:
    """`not` before a part."""

    part: Simple


Simple = AnyOf | Not | PortList | str
"""An expression without `and`; a string is a primitive, in libpcap's words."""


def simplify(expression: Expression) -> Simple:
    """The same with `or` and `not` alone; ports that are alternatives are one list."""
    match expression:
        case str():
            return port_list(expression) or expression
        case Joined("not", [part]):
            return _negated(simplify(part))
        case Joined("and", parts):
            return _negated(_any_of(_negated(simplify(part)) for part in parts))
        case Joined(_, parts):
            return _any_of(simplify(part) for part in parts)


def _negated(simple: Simple) -> Simple:
    return simple.part if isinstance(simple, Not) else Not(simple)


def _any_of(parts: Iterable[Simple]) -> Simple:
    """Each stands where the first of its kind stood."""
    alike: dict[object, list[Simple]] = {}
    for part in parts:
        for each in part.parts if isinstance(part, AnyOf) else (part,):
            key = each.qualifiers if isinstance(each, PortList) else each
            alike.setdefault(key, []).append(each)
    kept = tuple(_united(group) for group in alike.values())
    return kept[0] if len(kept) == 1 else AnyOf(kept)


def _united(group: list[Simple]) -> Simple:
    """One for several port lists with the same qualifiers, or for several that are equal."""
    lists = [part for part in group if isinstance(part, PortList)]
    if not lists:
        return group[0]
    return PortList(lists[0].qualifiers, union(r for ports in lists for r in ports.ranges))


_MATCH, _REJECT, _FIRST = 0, 1, 2  # numbers: of the two verdicts, of the piece that was made first


@dataclass(frozen=True, slots=True)
class _Piece:
    program: CbpfProgram
    then: int
    other: int


def join(simple: Simple, compiled: Callable[[str], CbpfProgram], matched: int) -> CbpfProgram:
    """One program of those that `compiled` gives for the primitives; `matched`: what it returns.

    A primitive that returns 0 goes on to the next; one whose load fails still ends it all.
    """
    pieces: list[_Piece] = []
    entry = _chain(simple, _MATCH, _REJECT, compiled, pieces)
    places: dict[int, int] = {}
    end = 0
    for number in reversed(range(_FIRST, entry + 1)):
        places[number] = end
        end += len(pieces[number - _FIRST].program)
    places[_REJECT], places[_MATCH] = end, end + 1
    code: list[CbpfInsn] = []
    for piece in reversed(pieces):
        for insn in piece.program:
            if insn.code == RET_K:
                target = places[piece.then if insn.k else piece.other]
                insn = CbpfInsn(JMP_JA, 0, 0, target - len(code) - 1)
            code.append(insn)
    return (*code, CbpfInsn(RET_K, 0, 0, 0), CbpfInsn(RET_K, 0, 0, matched))


def _chain(
    simple: Simple,
    then: int,
    other: int,
    compiled: Callable[[str], CbpfProgram],
    pieces: list[_Piece],
) -> int:
    """Adds the pieces, last first; the number of the one to begin with."""
    match simple:
        case Not(part):
            return _chain(part, other, then, compiled, pieces)
        case AnyOf(parts):
            for part in reversed(parts):
                other = _chain(part, then, other, compiled, pieces)
            return other
        case PortList():
            program = port_program(simple, compiled)
        case str():
            program = compiled(simple)
    pieces.append(_Piece(program, then, other))
    return len(pieces) - 1 + _FIRST
