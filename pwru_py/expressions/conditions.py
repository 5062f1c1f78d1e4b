# SPDX-License-Identifier: Apache-2.0
"""Conditions by the kernel's types: what is compared with what, and as what."""

from __future__ import annotations

from ..facts.btf import Btf
from . import syntax, tree
from .constants import CONSTANTS
from .literals import address, text_bytes
from .roots import Root
from .shapes import Array, Pointer, Whole
from .tokens import Token
from .values import COMPARISONS, Operand, Values, bytes_of, is_constant, is_text, wide

_FLIPPED = {"<": ">", "<=": ">=", ">": "<", ">=": "<=", "==": "==", "!=": "!="}
LONGEST = 64
"""Bytes that are compared, or shown, at once."""


class Conditions:
    """Of one text. Raises ExpressionError."""

    def __init__(self, text: str, btf: Btf, root: Root) -> None:
        self._text = text
        self._values = Values(text, btf, root)
        self._fail = self._values.fail

    def condition(self, typed: syntax.Typed) -> tree.Condition:
        if isinstance(typed, syntax.Unary) and typed.operator == "!":
            return tree.Negation(self.condition(typed.of))
        if isinstance(typed, syntax.Binary):
            if typed.operator in ("&&", "||"):
                kind = tree.Both if typed.operator == "&&" else tree.Either
                return kind(self.condition(typed.left), self.condition(typed.right))
            if typed.operator in COMPARISONS:
                return self._compare(typed)
        found = self._values.value(typed)
        if is_text(found.shape, self._values.shapes) and isinstance(found.shape, Array):
            self._fail(typed, 'a string is neither true nor false: compare it, == "…"')
        return tree.Compare("!=", self._values.number(typed, found), tree.Constant(0), False)

    def _compare(self, typed: syntax.Binary) -> tree.Condition:
        operator, left, right = typed.operator, typed.left, typed.right
        if isinstance(left, (syntax.Text, syntax.Literal)):
            left, right, operator = right, left, _FLIPPED[operator]
        if isinstance(left, (syntax.Text, syntax.Literal)):
            self._fail(typed, "two constants are compared: one side must be a field")
        if isinstance(right, syntax.Text):
            return self._compare_text(typed, operator, left, right)
        if isinstance(right, syntax.Literal):
            return self._compare_address(typed, operator, left, right)
        self._check_quotes(left, right)
        first, second = self._values.pair(typed, left, right)
        one, two = self._values.number(left, first), self._values.number(right, second)
        if isinstance(one, tree.Constant) and isinstance(two, tree.Constant):
            self._fail(typed, "two constants are compared: one side must be a field")
        self._check_types(typed, first, second)
        signed = not (wide(first) or wide(second))
        return tree.Compare(operator, one, two, signed)

    def _check_quotes(self, left: syntax.Typed, right: syntax.Typed) -> None:
        if not isinstance(right, syntax.Name) or is_constant(left):
            return
        text = is_text(self._values.value(left).shape, self._values.shapes)
        if text and is_constant(right) and right.name not in CONSTANTS:
            self._fail(right, f'a string stands in quotes: "{right.name}"')

    def _check_types(self, typed: syntax.Binary, first: Operand, second: Operand) -> None:
        for field, other in ((first, second), (second, first)):
            if not isinstance(other.value, tree.Constant):
                continue
            number = other.value.value
            if isinstance(field.shape, Whole) and not field.shape.holds(number):
                self._fail(
                    typed, f"{number} never occurs: {field.shape.name} holds {field.shape.range}"
                )
            if isinstance(field.shape, Pointer) and not 0 <= number < 1 << 64:
                self._fail(typed, f"{number} is no address")
            return
        if isinstance(first.shape, Pointer) != isinstance(second.shape, Pointer):
            self._fail(typed, "a pointer is compared with a number: cast one side, (unsigned long)")

    def _compare_text(
        self, typed: syntax.Binary, operator: str, left: syntax.Typed, text: syntax.Text
    ) -> tree.Condition:
        found = self._values.value(left)
        if not is_text(found.shape, self._values.shapes):
            self._fail(left, "a number is compared with a string")
        equal = self._equality(typed, operator, "strings")
        data = text_bytes(text.text)
        room = found.shape.count if isinstance(found.shape, Array) else 0
        if len(data) > min(room or LONGEST, LONGEST):
            most = min(room or LONGEST, LONGEST)
            self._fail(text, f"the string is longer than what it is compared with: {most} bytes")
        if not room or len(data) < room:
            data += b"\0"
        place = self._values.text_place(found)
        return tree.Same(place, data, b"\xff" * len(data), equal, text=not room)

    def _compare_address(
        self, typed: syntax.Binary, operator: str, left: syntax.Typed, literal: syntax.Literal
    ) -> tree.Condition:
        found = self._values.value(left)
        data, mask = address(self._text, literal)
        if literal.kind is Token.IPV4:
            if not (isinstance(found.shape, Whole) and found.shape.swap and found.shape.bits == 32):
                self._fail(left, "an IPv4 address is compared with something else than a __be32")
            number, bits = int.from_bytes(data), int.from_bytes(mask)
            value = self._values.number(left, found)
            if bits != 0xFFFFFFFF:
                self._equality(typed, operator, "networks")
                value = tree.Calculation("&", value, tree.Constant(bits))
            return tree.Compare(operator, value, tree.Constant(number), True)
        count = bytes_of(found.shape)
        if count != len(data) or found.place is None:
            self._fail(left, f"an address of {len(data)} bytes is compared with something else")
        equal = self._equality(typed, operator, "addresses")
        return tree.Same(found.place, data, mask, equal)

    def _equality(self, typed: syntax.Binary, operator: str, what: str) -> bool:
        if operator not in ("==", "!="):
            self._fail(typed, f"{what} are equal or not: write == or !=")
        return operator == "=="
