# SPDX-License-Identifier: Apache-2.0
"""Structures of the kernel: their bytes, by BTF, to values and to text in C's form. Pure.

``shape_of`` walks the BTF once for a type; a ``Structure`` is its shape and the bytes of one.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, TypeAlias

from .btf import ALIASES, Btf, Kind, TypeId


@dataclass(frozen=True, slots=True)
class Number:
    """An integer, a bool, or an enum (``names``: value to name).

    ``swapped``: in network byte order, as types __be16, __be32 and __be64 say; its value is in that
    of this machine.
    """

    type: str
    bits: int
    signed: bool = False
    truth: bool = False
    swapped: bool = False
    names: Mapping[int, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class Pointer:
    """An address; what is there is not looked at."""

    type: str
    bits: int = 64


@dataclass(frozen=True, slots=True)
class Array:
    """``stride_bits``: from one element to the next."""

    type: str
    count: int
    stride_bits: int
    element: Shape


@dataclass(frozen=True, slots=True)
class Compound:
    """A struct or a union of so many bytes."""

    type: str
    bytes: int
    members: tuple[Member, ...]


@dataclass(frozen=True, slots=True)
class Member:
    """``name``: '' of an anonymous struct or union. ``at_bits``: from the structure's start.

    ``counted_by``: of an array, the member that says how many of its elements are used.
    """

    name: str
    at_bits: int
    shape: Shape
    bit_field: bool = False
    counted_by: str = ""


Shape: TypeAlias = Number | Pointer | Array | Compound


def shape_of(btf: Btf, name: str, counted: Mapping[str, str] | None = None) -> Compound | None:
    """``struct name``; None where BTF has none. ``counted``: see ``Member.counted_by``."""
    for type_id in sorted(btf.named(name, (Kind.STRUCT,))):
        shape = _shape(btf, type_id)
        if isinstance(shape, Compound):
            counts = counted or {}
            return replace(
                shape,
                members=tuple(replace(m, counted_by=counts.get(m.name, "")) for m in shape.members),
            )
    return None


def _shape(btf: Btf, type_id: TypeId) -> Shape | None:
    """None for what has no bytes, or none that can be told."""
    plain = btf.resolve(type_id)
    kind, name = btf.kind(plain), _type_name(btf, type_id)
    if kind is Kind.INT:
        signed, truth = btf.integer(plain)
        swapped = _has_alias(btf, type_id, _NETWORK_ORDER) and sys.byteorder == "little"
        return Number(name, 8 * btf.size(plain), signed, truth, swapped)
    if kind in (Kind.ENUM, Kind.ENUM64):
        names = {value: key for key, value in reversed(btf.enumerators(plain).items())}
        return Number(name, 8 * btf.size(plain), any(v < 0 for v in names), names=names)
    if kind is Kind.PTR:
        return Pointer(name)
    if kind is Kind.ARRAY:
        element = _shape(btf, btf.element(plain))
        size = btf.size(btf.element(plain))
        count = btf.size(plain) // (size or 1)
        return Array(name, count, 8 * size, element) if element and size and count else None
    if kind in (Kind.STRUCT, Kind.UNION):
        members = _members(btf, plain, union=kind is Kind.UNION)
        return Compound(name, btf.size(plain), tuple(members))
    return None


_NETWORK_ORDER = frozenset(("__be16", "__be32", "__be64"))


def _has_alias(btf: Btf, type_id: TypeId, names: frozenset[str]) -> bool:
    while btf.kind(type_id) in ALIASES:
        if btf.type_name(type_id) in names:
            return True
        type_id = btf.target(type_id)
    return False


def _members(btf: Btf, type_id: TypeId, *, union: bool) -> Iterator[Member]:
    made: list[Member] = []
    for name, inner, at_bits, bits in btf.layout(type_id):
        shape = _shape(btf, inner)
        if shape is None:
            continue
        if bits and isinstance(shape, Number):
            shape = replace(shape, bits=bits, swapped=False)
        made.append(Member(name, at_bits, shape, bit_field=bits > 0))
    for member in made:
        if not (union and member.name and _has_twin(member, made)):
            yield member


def _has_twin(member: Member, others: list[Member]) -> bool:
    """struct_group() of include/linux/stddef.h: the same members, once more under a name."""
    return isinstance(member.shape, Compound) and any(
        not other.name
        and isinstance(other.shape, Compound)
        and other.shape.members == member.shape.members
        for other in others
    )


def _type_name(btf: Btf, type_id: TypeId) -> str:
    """As C writes it, without qualifiers."""
    while btf.kind(type_id) in ALIASES and btf.kind(type_id) is not Kind.TYPEDEF:
        type_id = btf.target(type_id)
    kind, name = btf.kind(type_id), btf.type_name(type_id)
    if kind is None:
        return "void"
    if kind is Kind.PTR:
        pointed = btf.target(type_id)
        plain = btf.resolve(pointed)
        if btf.kind(plain) is Kind.FUNC_PROTO and btf.kind(pointed) is not Kind.TYPEDEF:
            return f"{_type_name(btf, btf.target(plain))} (*)()"
        inner = _type_name(btf, pointed)
        return f"{inner}*" if inner.endswith("*") else f"{inner} *"
    if kind is Kind.ARRAY:
        element = btf.element(type_id)
        count = btf.size(type_id) // (btf.size(element) or 1)
        return f"{_type_name(btf, element)}[{count}]"
    words = {Kind.STRUCT: "struct", Kind.UNION: "union", Kind.ENUM: "enum", Kind.ENUM64: "enum"}
    word = words.get(kind, "")
    if kind is Kind.FWD:
        word = "struct"
    return f"{word} {name}".strip()


class Structure:
    """One structure as it was; ``raw``: its bytes, in this machine's order. Equal by those."""

    __slots__ = ("_shape", "raw")

    def __init__(self, shape: Compound, raw: bytes) -> None:
        self._shape = shape
        self.raw = raw

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Structure):
            return NotImplemented
        return self.raw == other.raw and self._shape is other._shape

    def __hash__(self) -> int:
        return hash(self.raw)

    def values(self) -> dict[str, Any]:
        """Each member by its name, those of anonymous ones beside the others.

        Numbers, in this machine's byte order; true and false; enums by name where the value has
        one; addresses as text, ``0x…``; arrays as lists, structures as objects of the same kind.
        """
        return _values(self._shape, _bits_of(self.raw), 0)

    def text(self) -> str:
        """In C's form, a member a line; what is zero is left out."""
        lines = [*_lines(self._shape, _bits_of(self.raw), 0, "", "")]
        return "\n".join(lines).rstrip(",") if lines else f"({self._shape.type}){{}}"


def _bits_of(raw: bytes) -> int:
    return int.from_bytes(raw, sys.byteorder)


def _number(shape: Number | Pointer, whole: int, at: int) -> int:
    value = whole >> at & ((1 << shape.bits) - 1)
    if isinstance(shape, Number):
        if shape.signed and value >> (shape.bits - 1):
            value -= 1 << shape.bits
        elif shape.swapped:
            value = int.from_bytes(value.to_bytes(shape.bits // 8, "little"), "big")
    return value


def _value(shape: Shape, whole: int, at: int, count: int | None = None) -> Any:
    if isinstance(shape, Compound):
        return _values(shape, whole, at)
    if isinstance(shape, Array):
        elements = range(shape.count if count is None else min(shape.count, count))
        return [_value(shape.element, whole, at + i * shape.stride_bits) for i in elements]
    number = _number(shape, whole, at)
    if isinstance(shape, Pointer):
        return hex(number)
    return bool(number) if shape.truth else shape.names.get(number, number)


def _values(shape: Compound, whole: int, at: int) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for member in shape.members:
        value = _value(member.shape, whole, at + member.at_bits, _used(shape, member, whole, at))
        if member.name:
            found[member.name] = value
        elif isinstance(value, dict):
            found.update(value)
    return found


def _used(shape: Compound, member: Member, whole: int, at: int) -> int | None:
    for other in shape.members:
        counts = member.counted_by and other.name == member.counted_by
        if counts and isinstance(other.shape, Number):
            return _number(other.shape, whole, at + other.at_bits)
    return None


def _lines(
    shape: Shape, whole: int, at: int, indent: str, name: str, count: int | None = None
) -> Iterator[str]:
    """``name``: what stands before the value. None when all is zero."""
    head = f"{indent}{name}({shape.type})"
    if isinstance(shape, Compound):
        inner = [line for member in shape.members
                 for line in _member_lines(shape, member, whole, at, indent + " ")]  # fmt: skip
        if inner:
            yield from (head + "{", *inner, indent + "},")
    elif isinstance(shape, Array):
        yield from _array_lines(shape, whole, at, indent, head, count)
    elif number := _number(shape, whole, at):
        yield f"{head}{_literal(shape, number, bit_field=False)},"


def _member_lines(
    shape: Compound, member: Member, whole: int, at: int, indent: str
) -> Iterator[str]:
    name = f".{member.name} = " if member.name else ""
    inner, place = member.shape, at + member.at_bits
    if isinstance(inner, Number) and member.bit_field:
        if number := _number(inner, whole, place):
            yield f"{indent}{name}({inner.type}){_literal(inner, number, bit_field=True)},"
        return
    used = _used(shape, member, whole, at)
    yield from _lines(inner, whole, place, indent, name, used)


def _array_lines(
    shape: Array, whole: int, at: int, indent: str, head: str, count: int | None
) -> Iterator[str]:
    used = shape.count if count is None else min(shape.count, count)
    places = [at + i * shape.stride_bits for i in range(used)]
    if isinstance(shape.element, (Number, Pointer)):
        element = shape.element
        numbers = [_number(element, whole, place) for place in places]
        if any(numbers):
            texts = (_literal(element, number, bit_field=False) for number in numbers)
            yield f"{head}[{', '.join(texts)}],"
        return
    deeper = indent + " "
    inner = [line for i, place in enumerate(places)
             for line in _lines(shape.element, whole, place, deeper, f"[{i}] = ")]  # fmt: skip
    if inner:
        yield from (head + "[", *inner, indent + "],")


_ADDRESS_MIN = 0xFFFF800000000000  # of the kernel, on 64-bit machines


def _literal(shape: Number | Pointer, number: int, *, bit_field: bool) -> str:
    if isinstance(shape, Pointer):
        return hex(number)
    if shape.truth:
        return "true" if number else "false"
    as_hex = bit_field or shape.swapped or number >= _ADDRESS_MIN
    return shape.names.get(number) or (hex(number) if as_hex else str(number))
