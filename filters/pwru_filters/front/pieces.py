# SPDX-License-Identifier: Apache-2.0
"""Pass 1 of very long expressions: the boolean structure here, each primitive by libpcap.

libpcap's optimiser takes minutes for thousands of hosts, and its code generator, which begins anew
for every jump that turns out too long, seconds for one thousand. Joined as here, time grows with
the length. Only what keeps its meaning wherever it stands is taken apart: `vlan` moves all that
follows it, for one.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final

from .cbpf import JMP_JA, RET_K, CbpfInsn, CbpfProgram

_TOKEN: Final = re.compile(r"\s*(\(|\)|!|&&|\|\||[\w.:/-]+)")
_OPERATORS: Final = {"and": "and", "&&": "and", "or": "or", "||": "or"}
_PROTOCOL: Final = r"(?:ip|ip6|arp|rarp|tcp|udp|sctp)"
_QUALIFIED: Final = re.compile(
    rf"((?:{_PROTOCOL} )?(?:(?:src|dst) )?(?:host|net|port|portrange)) .+"
)
_ALONE: Final = re.compile(rf"{_PROTOCOL}|icmp|icmp6")
_DEEPEST: Final = 50
# Each looks for the transport header anew: libpcap's optimiser knows better what they share.
_MOST_PORTS: Final = 8
_VALUE: Final = re.compile(r"[0-9a-fA-F.:/-]*[0-9][0-9a-fA-F.:/-]*")


@dataclass(frozen=True, slots=True)
class Joined:
    """`parts` with `and` or `or` between them; one part with `not` before it."""

    operator: str
    parts: list[Expression] = field(default_factory=list)


Expression = Joined | str
"""A string is a primitive, in libpcap's words."""


def take_apart(expression: str) -> Expression | None:
    """The structure of an expression; None where there is something that must stay together.

    As in libpcap `and` and `or` bind alike, from the left, and `not` binds closer.
    """
    tokens: list[str] = []
    at = 0
    text = expression.strip()
    while at < len(text):
        found = _TOKEN.match(text, at)
        if found is None:
            return None
        tokens.append(found[1])
        at = found.end()
    reader = _Reader(tokens)
    try:
        whole = reader.expression()
    except _NotSimpleError:
        return None
    return None if reader.left() or reader.ports > _MOST_PORTS else whole


class _NotSimpleError(Exception):
    """Something that this module does not take apart."""


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._depth = 0
        self.ports = 0

    def left(self) -> int:
        return len(self._tokens) - 1 - self._at

    def expression(self) -> Expression:
        whole, qualifiers = self._term("")
        while operator := _OPERATORS.get(self._tokens[self._at]):
            self._at += 1
            term, qualifiers = self._term(qualifiers)
            if isinstance(whole, Joined) and whole.operator == operator:
                whole.parts.append(term)
            else:
                whole = Joined(operator, [whole, term])
        return whole

    def _term(self, qualifiers: str) -> tuple[Expression, str]:
        """The term, and the qualifiers that a value alone behind it has."""
        token = self._tokens[self._at]
        if token not in ("not", "!", "("):
            return self._primitive(qualifiers)
        self._at += 1
        self._depth += 1
        if self._depth > _DEEPEST:
            raise _NotSimpleError
        if token == "(":
            whole = self.expression()
            if self._tokens[self._at] != ")":
                raise _NotSimpleError
            self._at += 1
        else:
            whole = Joined("not", [self._term("")[0]])
        self._depth -= 1
        return whole, ""

    def _primitive(self, qualifiers: str) -> tuple[str, str]:
        begin = self._at
        while self._tokens[self._at] not in ("", "(", ")", "!", "not", *_OPERATORS):
            self._at += 1
        words = self._tokens[begin : self._at]
        primitive = " ".join(words)
        if _ALONE.fullmatch(primitive):
            return primitive, ""
        if len(words) == 1 and qualifiers:
            primitive = f"{qualifiers} {primitive}"
        found = _QUALIFIED.fullmatch(primitive)
        if found is None or not words or not _VALUE.fullmatch(words[-1]):
            raise _NotSimpleError
        self.ports += "port" in primitive
        return primitive, found[1]


_MATCH, _REJECT, _FIRST = 0, 1, 2  # numbers: of the two verdicts, of the piece that was made first


@dataclass(frozen=True, slots=True)
class _Piece:
    program: CbpfProgram
    then: int
    other: int


def join(
    expression: Expression, compiled: Callable[[str], CbpfProgram], matched: int
) -> CbpfProgram:
    """One program of those that `compiled` gives for the primitives; `matched`: what it returns.

    A primitive that returns 0 goes on to the next; one whose load fails still ends it all.
    """
    pieces: list[_Piece] = []
    entry = _chain(expression, _MATCH, _REJECT, compiled, pieces)
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
    expression: Expression,
    then: int,
    other: int,
    compiled: Callable[[str], CbpfProgram],
    pieces: list[_Piece],
) -> int:
    """Adds the pieces, last first; the number of the one to begin with."""
    if isinstance(expression, str):
        pieces.append(_Piece(compiled(expression), then, other))
        return len(pieces) - 1 + _FIRST
    if expression.operator == "not":
        return _chain(expression.parts[0], other, then, compiled, pieces)
    for part in reversed(expression.parts):
        begin = _chain(part, then, other, compiled, pieces)
        if expression.operator == "and":
            then = begin
        else:
            other = begin
    return begin
