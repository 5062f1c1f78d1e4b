# SPDX-License-Identifier: Apache-2.0
"""What was typed, as a tree: C's expressions, as far as they only look. No types yet."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NoReturn

from .roots import NAMES
from .tokens import Token, Word, words, wrong

DEPTH_MAX = 50
"""Parentheses, casts and operators within each other."""


@dataclass(frozen=True, slots=True)
class Typed:
    """Something that was typed. ``at``: characters before what tells it best."""

    at: int


@dataclass(frozen=True, slots=True)
class Name(Typed):
    """``skb``, ``xdp``, or a constant's name."""

    name: str


@dataclass(frozen=True, slots=True)
class Number(Typed):
    """An integer as C reads it."""

    value: int


@dataclass(frozen=True, slots=True)
class Text(Typed):
    """A string, without its quotes."""

    text: str


@dataclass(frozen=True, slots=True)
class Literal(Typed):
    """An address. ``kind``: IPV4, IPV6 or MAC."""

    kind: Token
    text: str


@dataclass(frozen=True, slots=True)
class Reach(Typed):
    """``base->name`` or, with ``dot``, ``base.name``; ``at`` is the name's."""

    base: Typed
    name: str
    dot: bool


@dataclass(frozen=True, slots=True)
class Index(Typed):
    """``base[number]``."""

    base: Typed
    number: int


@dataclass(frozen=True, slots=True)
class Cast(Typed):
    """``(name **)of``. ``tag``: ``struct``, ``union``, ``enum`` or ''."""

    tag: str
    name: str
    stars: int
    of: Typed


@dataclass(frozen=True, slots=True)
class Unary(Typed):
    """``!``, ``~``, ``-``, ``*`` or ``&`` before ``of``."""

    operator: str
    of: Typed


@dataclass(frozen=True, slots=True)
class Binary(Typed):
    """``left operator right``; ``at`` is the operator's."""

    operator: str
    left: Typed
    right: Typed


_LEVELS = (
    ("||",), ("&&",), ("|",), ("^",), ("&",), ("==", "!="), ("<", "<=", ">", ">="),
    ("<<", ">>"), ("+", "-"), ("*",),
)  # fmt: skip
"""From the loosest to the tightest; `not` stands between && and |."""
_NOT_LEVEL = 2
_TAGS = ("struct", "union", "enum")
_BASIC = frozenset(
    ("unsigned", "signed", "char", "short", "int", "long", "void", "bool", "_Bool",
     "const", "volatile")
)  # fmt: skip
_SIZED = re.compile("_{0,2}[us](8|16|32|64)|__be(16|32|64)|u?int(8|16|32|64)_t")
_INTEGERS = {
    ("char",): "char", ("short",): "short", ("int",): "int", ("long",): "long",
    ("long", "long"): "long", ("void",): "void", ("bool",): "bool", ("_Bool",): "bool", (): "int",
}  # fmt: skip


def parse(text: str) -> Typed:
    """The tree of a whole expression. Raises ExpressionError."""
    if not text.strip():
        wrong(text, 0, "the expression is empty")
    return _Parser(text).whole()


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._words = words(text)
        self._next = 0
        self._depth = 0

    @property
    def word(self) -> Word:
        return self._words[self._next]

    def fail(self, what: str, word: Word | None = None) -> NoReturn:
        wrong(self._text, (word or self.word).at, what)

    def _take(self) -> Word:
        word = self.word
        if word.kind is not Token.END:
            self._next += 1
        return word

    def _is(self, *operators: str) -> bool:
        return self.word.kind is Token.OPERATOR and self.word.text in operators

    def _expect(self, operator: str) -> None:
        if not self._is(operator):
            self.fail(f"{operator} is missing here")
        self._take()

    def _deeper(self) -> None:
        self._depth += 1
        if self._depth > DEPTH_MAX:
            self.fail(f"more than {DEPTH_MAX} levels within each other")

    def whole(self) -> Typed:
        """Up to the end of the text."""
        tree = self._level(0)
        if self.word.kind is not Token.END:
            self.fail(f"an operator is missing before {self.word.text}")
        return tree

    def _level(self, number: int) -> Typed:
        if number == _NOT_LEVEL and self.word.text == "not" and self.word.kind is Token.NAME:
            self._deeper()
            at = self._take().at
            tree = Unary(at, "!", self._level(number))
            self._depth -= 1
            return tree
        if number == len(_LEVELS):
            return self._unary()
        left = self._level(number + 1)
        while self._is(*_LEVELS[number]):
            operator = self._take()
            left = Binary(operator.at, operator.text, left, self._level(number + 1))
        return left

    def _unary(self) -> Typed:
        self._deeper()
        try:
            if self._is("!", "~", "-", "*", "&"):
                operator = self._take()
                return Unary(operator.at, operator.text, self._unary())
            if self._is("("):
                start = self._next
                cast = self._cast()
                if cast is not None:
                    return cast
                self._next = start
            return self._reach(self._primary())
        finally:
            self._depth -= 1

    def _cast(self) -> Cast | None:
        """What begins with ``(``, if that is a type in parentheses."""
        at = self._take().at
        tag, names, sure = "", [], False
        while self.word.kind is Token.NAME and self.word.text not in NAMES:
            if self.word.text in _TAGS:
                tag, sure = self._take().text, True
                continue
            sure = sure or self.word.text in _BASIC or bool(_SIZED.fullmatch(self.word.text))
            names.append(self._take())
        stars = 0
        while self._is("*"):
            self._take()
            stars += 1
        if not (names or tag) or not self._is(")"):
            if sure:
                self.fail("a type and ) are missing here")
            return None
        self._take()
        begins = self._is("(") or self.word.kind not in (Token.OPERATOR, Token.END)
        if not sure and not stars and not begins:
            return None
        return Cast(at, tag, self._type_name(names), stars, self._unary())

    def _type_name(self, names: list[Word]) -> str:
        left = [word.text for word in names if word.text not in ("const", "volatile")]
        if len(left) == 1 and left[0] not in _BASIC:
            return left[0]
        sign = "unsigned " if "unsigned" in left else ""
        basic = tuple(name for name in left if name not in ("unsigned", "signed"))
        if len(basic) > 1 and basic[-1] == "int":
            basic = basic[:-1]
        if basic not in _INTEGERS:
            self.fail(f"{' '.join(left) or 'this'} is no type", names[0] if names else None)
        return sign + _INTEGERS[basic]

    def _reach(self, base: Typed) -> Typed:
        while self._is("->", ".", "["):
            operator = self._take()
            word = self._take()
            if operator.text == "[":
                if word.kind is not Token.NUMBER:
                    self.fail("an index is a number", word)
                base = Index(operator.at, base, _number(word.text))
                self._expect("]")
                continue
            if word.kind is not Token.NAME:
                self.fail("the name of a member is missing here", word)
            base = Reach(word.at, base, word.text, operator.text == ".")
        return base

    def _primary(self) -> Typed:
        word = self._take()
        if word.kind is Token.NUMBER:
            if not 0 <= _number(word.text) < 1 << 64:
                self.fail("the number needs more than 64 bits", word)
            return Number(word.at, _number(word.text))
        if word.kind is Token.TEXT:
            return Text(word.at, _unquoted(word.text))
        if word.kind in (Token.IPV4, Token.IPV6, Token.MAC):
            return Literal(word.at, word.kind, word.text)
        if word.kind is Token.NAME:
            if self._is("("):
                turned = word.text.lstrip("_").startswith(("ntoh", "hton", "be"))
                why = (
                    "fields of type __be… are turned already" if turned else "only fields are read"
                )
                self.fail(f"no function can be called: {why}", word)
            return Name(word.at, word.text)
        if word.kind is Token.OPERATOR and word.text == "(":
            tree = self._level(0)
            self._expect(")")
            return tree
        end = word.kind is Token.END
        self.fail("the expression ends too early" if end else "a value is missing here", word)


def _number(text: str) -> int:
    digits = text.rstrip("uUlL").lower()
    if digits.startswith("0x"):
        return int(digits, 16)
    octal = len(digits) > 1 and digits.startswith("0") and not set(digits) & {"8", "9"}
    return int(digits, 8 if octal else 10)


def _unquoted(text: str) -> str:
    out, escaped = [], False
    for character in text[1:-1]:
        if escaped or character != "\\":
            out.append(character)
            escaped = False
        else:
            escaped = True
    return "".join(out)
