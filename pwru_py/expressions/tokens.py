# SPDX-License-Identifier: Apache-2.0
"""The text of an expression to its tokens, and where each begins."""

from __future__ import annotations

import re
from enum import Enum, auto
from typing import NamedTuple, NoReturn

from ..errors import ExpressionError
from ..escape import quote

_NEAR_CHARS = 20


class Token(Enum):
    """What kind of word it is."""

    NUMBER = auto()
    TEXT = auto()
    IPV4 = auto()
    IPV6 = auto()
    MAC = auto()
    NAME = auto()
    OPERATOR = auto()
    END = auto()


class Word(NamedTuple):
    """A token. ``text``: as typed; of an operator its one spelling. ``at``: characters before."""

    kind: Token
    text: str
    at: int


_SAME = {"and": "&&", "or": "||", "=": "=="}
"""Other spellings. ``not`` is no other ``!``: it takes in the whole comparison behind it."""

_PATTERNS = (
    (Token.MAC, r"[0-9a-fA-F]{2}(?::[0-9a-fA-F]{2}){5}(?![0-9a-zA-Z_:])"),
    (Token.IPV6, r"(?=[0-9a-fA-F]*:)[0-9a-fA-F:]*:[0-9a-fA-F:.]*(?:/[0-9]+)?(?![0-9a-zA-Z_])"),
    (Token.IPV4, r"[0-9]+(?:\.[0-9]+){3}(?:/[0-9]+)?(?![0-9a-zA-Z_.])"),
    (Token.NUMBER, r"(?:0[xX][0-9a-fA-F]+|[0-9]+)[uUlL]{0,3}(?![0-9a-zA-Z_.])"),
    (Token.NAME, r"[A-Za-z_][A-Za-z0-9_]*"),
    (Token.TEXT, r""""(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*'"""),
    (Token.OPERATOR, r"->|&&|\|\||<<|>>|[<>=!]=|[-+*&|^~!<>=().\[\]]"),
)
_WORD = re.compile("|".join(f"(?P<{kind.name}>{pattern})" for kind, pattern in _PATTERNS))


def wrong(text: str, at: int, what: str) -> NoReturn:
    """Raises an ExpressionError that points at a place."""
    near = text[at : at + _NEAR_CHARS]
    where = f" at {quote(near)}" if near.strip() else ""
    raise ExpressionError(f"column {at + 1}{where}: {what}", text, at + 1)


def words(text: str) -> list[Word]:
    """The tokens, END last. Raises ExpressionError."""
    found: list[Word] = []
    at = 0
    while True:
        at += len(text) - at - len(text[at:].lstrip())
        if at == len(text):
            return [*found, Word(Token.END, "", at)]
        match = _WORD.match(text, at)
        if match is None or match.lastgroup is None:
            unfinished = text[at] in "\"'"
            what = "the text has no end" if unfinished else "this is no part of an expression"
            wrong(text, at, what)
        kind, word = Token[match.lastgroup], match[0]
        if kind is Token.NAME and word in _SAME:
            kind = Token.OPERATOR
        if kind is Token.OPERATOR:
            word = _SAME.get(word, word)
        found.append(Word(kind, word, at))
        at = match.end()
