# SPDX-License-Identifier: Apache-2.0
"""Part of pass 1: the boolean structure of an expression.

Each of its primitives must mean the same wherever it stands. `vlan`, for one, moves all that
follows it: this module does not take an expression apart that has such a word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import Final

_TOKEN: Final = re.compile(r"\s*(\(|\)|!|&&|\|\||[\w.:/-]+)")
_OPERATORS: Final = {"and": "and", "&&": "and", "or": "or", "||": "or"}
_PROTOCOL: Final = r"(?:ether|ip|ip6|arp|rarp|tcp|udp|sctp)"
_QUALIFIED: Final = re.compile(
    rf"((?:{_PROTOCOL} )?(?:(?:src|dst) )?(?:host|net|port|portrange)) .+"
)
_ALONE: Final = re.compile(rf"{_PROTOCOL}|icmp|icmp6")
_DEEPEST: Final = 50
_VALUE: Final = re.compile(r"[0-9a-fA-F.:/-]*[0-9:][0-9a-fA-F.:/-]*")


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
    return None if reader.left() else whole


class _NotSimpleError(Exception):
    """Something that this module does not take apart."""


class _Reader:
    def __init__(self, tokens: list[str]) -> None:
        self._tokens = [*tokens, ""]
        self._at = 0
        self._depth = 0

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
        return primitive, found[1]
