# SPDX-License-Identifier: Apache-2.0
"""Conditions on the keys of a JSON object: ``comm == "curl" and tuple.dport == 443``.

The same language as of field expressions, on what an event is in ``--output-json``.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Mapping
from difflib import get_close_matches
from typing import Any

from . import syntax
from .literals import address
from .tokens import Token, wrong

Value = Callable[[Mapping[str, Any]], Any]
"""None: not known."""

_WORDS = {"true": True, "false": False, "null": None, "NULL": None}
_ORDER: dict[str, Callable[[int, int], bool]] = {
    "<": lambda a, b: a < b,
    "<=": lambda a, b: a <= b,
    ">": lambda a, b: a > b,
    ">=": lambda a, b: a >= b,
}
_NUMBERS: dict[str, Callable[[int, int], int]] = {
    "+": lambda a, b: a + b,
    "-": lambda a, b: a - b,
    "*": lambda a, b: a * b,
    "&": lambda a, b: a & b,
    "|": lambda a, b: a | b,
    "^": lambda a, b: a ^ b,
    ">>": lambda a, b: a >> min(b, 64) if b >= 0 else 0,
    "<<": lambda a, b: a << b if 0 <= b < 64 else 0,
}


def condition(text: str, properties: Mapping[str, Any]) -> Callable[[Mapping[str, Any]], bool]:
    """``properties``: the keys that there are, as a JSON Schema has them. Raises ExpressionError.

    What is null or absent is unknown: a comparison with it is false, and so is its negation.
    Alone, a key is true unless it is null, absent, 0, false or empty.
    """
    holds = _Condition(text, properties).truth(syntax.parse(text))
    return lambda record: holds(record) is True


class _Condition:
    def __init__(self, text: str, properties: Mapping[str, Any]) -> None:
        self._text = text
        self._properties = properties

    def truth(self, tree: syntax.Typed) -> Value:
        """True, False or None."""
        if isinstance(tree, syntax.Unary) and tree.operator == "!":
            return _negated(self.truth(tree.of))
        if isinstance(tree, syntax.Binary):
            if tree.operator in ("&&", "||"):
                return _joined(tree.operator, self.truth(tree.left), self.truth(tree.right))
            if tree.operator in ("==", "!="):
                return self._same(tree)
            if tree.operator in _ORDER:
                return _ordered(
                    _ORDER[tree.operator], self._value(tree.left), self._value(tree.right)
                )
        value = self._value(tree)
        return lambda record: bool(value(record))

    def _same(self, tree: syntax.Binary) -> Value:
        left, right = tree.left, tree.right
        if isinstance(left, syntax.Literal):
            left, right = right, left
        equal = tree.operator == "=="
        value = self._value(left)
        if isinstance(right, syntax.Literal):
            return self._is_address(value, right, equal=equal)
        other = self._value(right)
        if isinstance(right, syntax.Name) and right.name in ("null", "NULL"):
            return lambda record: (value(record) is None) == equal

        def same(record: Mapping[str, Any]) -> bool | None:
            a, b = value(record), other(record)
            if a is None or b is None:
                return None
            a, b = _comparable(a, b), _comparable(b, a)
            return bool(a == b) == equal

        return same

    def _is_address(self, value: Value, literal: syntax.Literal, *, equal: bool) -> Value:
        if literal.kind is Token.MAC:
            wrong(self._text, literal.at, "an event has no link address")
        wanted, mask = address(self._text, literal)
        family = socket.AF_INET if literal.kind is Token.IPV4 else socket.AF_INET6

        def same(record: Mapping[str, Any]) -> bool | None:
            text = value(record)
            if not isinstance(text, str) or not text:
                return None
            try:
                found = socket.inet_pton(family, text)
            except OSError:
                return not equal  # of the other family
            inside = all(a & m == w for a, m, w in zip(found, mask, wanted, strict=True))
            return inside == equal

        return same

    def _value(self, tree: syntax.Typed) -> Value:
        if isinstance(tree, syntax.Number):
            return _constant(tree.value)
        if isinstance(tree, syntax.Text):
            return _constant(tree.text)
        if isinstance(tree, syntax.Literal):
            wrong(self._text, tree.at, "an address is only compared, with == and !=")
        if isinstance(tree, (syntax.Name, syntax.Reach, syntax.Index)):
            return self._key(tree)
        if isinstance(tree, syntax.Unary) and tree.operator in ("-", "~"):
            of, minus = self._value(tree.of), tree.operator == "-"
            return _calculated(lambda a, _: -a if minus else ~a, of, _constant(0))
        if isinstance(tree, syntax.Binary) and tree.operator in _NUMBERS:
            sides = self._value(tree.left), self._value(tree.right)
            return _calculated(_NUMBERS[tree.operator], *sides)
        if isinstance(tree, (syntax.Cast, syntax.Unary)):
            wrong(self._text, tree.at, "keys of an event have no C types")
        return self.truth(tree)

    def _key(self, tree: syntax.Typed) -> Value:
        if isinstance(tree, syntax.Name):
            if tree.name in _WORDS:
                return _constant(_WORDS[tree.name])
            self._check(tree.name, tree.at, self._properties, "an event")
            name = tree.name
            return lambda record: record.get(name)
        if isinstance(tree, syntax.Index):
            base, number = self._value(tree.base), tree.number
            return lambda record: _element(base(record), number)
        assert isinstance(tree, syntax.Reach)
        base, member = self._value(tree.base), tree.name
        inside = self._schema(tree.base).get("properties")
        if inside is not None:
            self._check(member, tree.at, inside, "it")
        return lambda record: _member(base(record), member)

    def _schema(self, tree: syntax.Typed) -> Mapping[str, Any]:
        """What is known of a key's value; empty where nothing is."""
        if isinstance(tree, syntax.Name):
            found = self._properties.get(tree.name, {})
        elif isinstance(tree, syntax.Index):
            found = self._schema(tree.base).get("items", {})
        elif isinstance(tree, syntax.Reach):
            found = self._schema(tree.base).get("properties", {}).get(tree.name, {})
        else:
            found = {}
        return found if isinstance(found, dict) else {}

    def _check(self, name: str, at: int, known: Mapping[str, Any], what: str) -> None:
        if name not in known:
            near = get_close_matches(name, known, n=1)
            hint = f": did you mean {near[0]}?" if near else f": it has {', '.join(sorted(known))}"
            wrong(self._text, at, f"{what} has no key '{name}'{hint}")


def _constant(value: Any) -> Value:
    return lambda record: value


def _negated(of: Value) -> Value:
    def negated(record: Mapping[str, Any]) -> bool | None:
        truth = of(record)
        return None if truth is None else not truth

    return negated


def _joined(operator: str, left: Value, right: Value) -> Value:
    """Of what is unknown the other side may decide."""
    deciding = operator == "||"

    def joined(record: Mapping[str, Any]) -> bool | None:
        a, b = left(record), None
        if a is not deciding:
            b = right(record)
        if deciding in (a, b):
            return deciding
        return None if a is None or b is None else not deciding

    return joined


def _ordered(operator: Callable[[int, int], bool], left: Value, right: Value) -> Value:
    def ordered(record: Mapping[str, Any]) -> bool | None:
        a, b = _number(left(record)), _number(right(record))
        return None if a is None or b is None else operator(a, b)

    return ordered


def _calculated(operator: Callable[[int, int], int], left: Value, right: Value) -> Value:
    def calculated(record: Mapping[str, Any]) -> int | None:
        a, b = _number(left(record)), _number(right(record))
        return None if a is None or b is None else operator(a, b)

    return calculated


def _number(value: Any) -> int | None:
    """Addresses of the kernel are text, ``0x…``."""
    if isinstance(value, int):
        return value
    if isinstance(value, str) and value.startswith("0x"):
        try:
            return int(value, 16)
        except ValueError:
            return None
    return None


def _comparable(value: Any, other: Any) -> Any:
    return _number(value) if isinstance(other, int) and isinstance(value, str) else value


def _element(value: Any, number: int) -> Any:
    return value[number] if isinstance(value, list) and number < len(value) else None


def _member(value: Any, name: str) -> Any:
    return value.get(name) if isinstance(value, dict) else None
