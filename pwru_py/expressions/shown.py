# SPDX-License-Identifier: Apache-2.0
"""Values that are shown: what is read of the kernel, and what Python makes of the bytes."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum, auto

from ..escape import escape
from ..facts.btf import Btf
from . import syntax, tree
from .conditions import LONGEST
from .roots import Root
from .shapes import Array, Pointer, Struct, Whole
from .values import COMPARISONS, Operand, Values, bytes_of, is_text

_IPV4_BITS, _IPV6_BYTES, _MAC_BYTES = 32, 16, 6


class Form(Enum):
    """How a value is shown."""

    SIGNED = auto()
    UNSIGNED = auto()
    BOOLEAN = auto()
    POINTER = auto()
    IPV4 = auto()
    TEXT = auto()
    BYTES = auto()


@dataclass(frozen=True, slots=True)
class Shown:
    """A value. ``of``: a number to calculate, or the place that ``count`` bytes are copied from.

    ``ends``: a string lies there, which may end before. ``names``: of an enum's numbers.
    """

    form: Form
    of: tree.Value | tree.Place
    count: int = 8
    ends: bool = False
    names: Mapping[int, str] = field(default_factory=dict)

    @property
    def room(self) -> int:
        """Bytes that it takes in a record, a multiple of 8."""
        return -(-self.count // 8) * 8

    def decode(self, data: bytes) -> int | str | bool:
        """What its bytes of a record say."""
        data = data[: self.count]
        if self.form is Form.TEXT:
            return escape(data)
        if self.form is Form.BYTES:
            return _bytes_text(data)
        number = int.from_bytes(data, "little", signed=self.form is Form.SIGNED)
        if self.form is Form.BOOLEAN:
            return bool(number)
        if self.form is Form.POINTER:
            return hex(number)
        if self.form is Form.IPV4:
            return socket.inet_ntoa((number & 0xFFFFFFFF).to_bytes(4))
        return self.names.get(number, number)


def _bytes_text(data: bytes) -> str:
    if len(data) == _IPV6_BYTES:
        return socket.inet_ntop(socket.AF_INET6, data)
    return data.hex(":") if len(data) == _MAC_BYTES else data.hex()


def understand(text: str, typed: syntax.Typed, btf: Btf, root: Root) -> Shown:
    """What a value is and how it is shown. Raises ExpressionError."""
    values = Values(text, btf, root)
    if isinstance(typed, syntax.Binary) and typed.operator in (*COMPARISONS, "&&", "||"):
        values.fail(typed, "a value is shown, not a condition")
    found = values.value(typed)
    if is_text(found.shape, values.shapes):
        count = found.shape.count if isinstance(found.shape, Array) else 0
        place = values.text_place(found)
        return Shown(Form.TEXT, place, min(count or LONGEST, LONGEST), ends=not count)
    if bytes_of(found.shape) and found.place is not None:
        return Shown(Form.BYTES, found.place, min(bytes_of(found.shape), LONGEST))
    if isinstance(found.shape, (Struct, Array)):
        what = "an array has elements" if isinstance(found.shape, Array) else "it has members"
        values.fail(typed, f"{what}: name one")
    return _number(values, typed, found)


def _number(values: Values, typed: syntax.Typed, found: Operand) -> Shown:
    value, shape = values.number(typed, found), found.shape
    if isinstance(shape, Pointer):
        return Shown(Form.POINTER, value)
    assert isinstance(shape, Whole)
    if shape.names is not None:
        names = {number: name for name, number in values.shapes.enumerators(shape.names).items()}
        return Shown(Form.SIGNED if shape.signed else Form.UNSIGNED, value, names=names)
    if shape.swap and shape.bits == _IPV4_BITS and found.name.endswith("addr"):
        return Shown(Form.IPV4, value)
    if shape.boolean:
        return Shown(Form.BOOLEAN, value)
    return Shown(Form.SIGNED if shape.signed else Form.UNSIGNED, value)
