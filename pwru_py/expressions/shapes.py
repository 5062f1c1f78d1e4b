# SPDX-License-Identifier: Apache-2.0
"""The kernel's types as expressions need them, out of BTF; members by name, and the nearest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import NamedTuple

from ..facts.btf import ALIASES, Btf, Kind, TypeId

_SWAPPED = frozenset(("__be16", "__be32", "__be64"))
_DEPTH_MAX = 4  # structures within each other where a member's name is looked for
_CLOSE = 0.6  # of difflib


@dataclass(frozen=True, slots=True)
class Whole:
    """An integer, an enum or a bit-field. ``swap``: it lies in network byte order.

    ``char``: the type of text. ``names``: the enum that has names for it.
    """

    name: str
    bits: int
    signed: bool = False
    swap: bool = False
    boolean: bool = False
    char: bool = False
    names: TypeId | None = None

    def holds(self, number: int) -> bool:
        low = -(1 << self.bits - 1) if self.signed else 0
        return low <= number < low + (1 << self.bits)

    @property
    def range(self) -> str:
        low = -(1 << self.bits - 1) if self.signed else 0
        return f"{low} to {low + (1 << self.bits) - 1}"


@dataclass(frozen=True, slots=True)
class Pointer:
    """``to``: a shape, or the type of one."""

    to: Shape | TypeId


@dataclass(frozen=True, slots=True)
class Array:
    """``count`` 0: however many."""

    of: Shape
    count: int


@dataclass(frozen=True, slots=True)
class Struct:
    """A struct or union; ``id`` is its own, without typedefs."""

    name: str
    id: TypeId
    size: int


@dataclass(frozen=True, slots=True)
class Opaque:
    """Void, functions, and what BTF does not describe."""

    name: str


Shape = Whole | Pointer | Array | Struct | Opaque
INT, LONG, UNSIGNED_LONG = Whole("int", 32, True), Whole("long", 64, True), Whole("u64", 64)
CHAR = Whole("char", 8, True, char=True)

_BASIC: dict[str, Shape] = {
    "char": CHAR,
    "unsigned char": Whole("unsigned char", 8),
    "short": Whole("short", 16, True),
    "unsigned short": Whole("unsigned short", 16),
    "int": INT,
    "unsigned int": Whole("unsigned int", 32),
    "long": LONG,
    "unsigned long": Whole("unsigned long", 64),
    "long long": LONG,
    "unsigned long long": Whole("unsigned long long", 64),
    "bool": Whole("bool", 8, boolean=True),
    "_Bool": Whole("bool", 8, boolean=True),
    "void": Opaque("void"),
    **{f"{p}{s}{n}": Whole(f"{p}{s}{n}", n, s == "s")
       for p in ("", "__") for s in "us" for n in (8, 16, 32, 64)},
    **{f"uint{n}_t": Whole(f"uint{n}_t", n) for n in (8, 16, 32, 64)},
    **{f"int{n}_t": Whole(f"int{n}_t", n, True) for n in (8, 16, 32, 64)},
    **{f"__be{n}": Whole(f"__be{n}", n, swap=True) for n in (16, 32, 64)},
}  # fmt: skip


class Found(NamedTuple):
    """A member: what it is, and where. ``width_bits``: of a bit-field, else 0."""

    shape: Shape
    at_bits: int
    width_bits: int


class Shapes:
    """The shapes of one kernel's types."""

    def __init__(self, btf: Btf) -> None:
        self._btf = btf

    def named(self, tag: str, name: str) -> Shape | None:
        """What a cast names; None where the kernel has no such type."""
        if not tag and name in _BASIC:
            return _BASIC[name]
        kinds = {"struct": Kind.STRUCT, "union": Kind.UNION, "": Kind.TYPEDEF}
        wanted = (Kind.ENUM, Kind.ENUM64) if tag == "enum" else (kinds[tag],)
        found = sorted(self._btf.named(name, wanted))
        return self.shape(found[0]) if found else None

    def shape(self, type_id: TypeId) -> Shape:
        """What a type is."""
        btf, swap, named = self._btf, False, ""
        while type_id and btf.kind(type_id) in ALIASES:
            alias = btf.type_name(type_id)
            if btf.kind(type_id) is Kind.TYPEDEF:
                named, swap = named or alias, swap or alias in _SWAPPED
            type_id = btf.target(type_id)
        kind, name = btf.kind(type_id), btf.type_name(type_id)
        if kind is Kind.PTR:
            return Pointer(btf.target(type_id))
        if kind is Kind.ARRAY:
            return Array(self.shape(btf.element(type_id)), btf.array_length(type_id))
        if kind in (Kind.STRUCT, Kind.UNION):
            return Struct(name or named, type_id, btf.size(type_id))
        bits = 8 * btf.size(type_id)
        if kind in (Kind.ENUM, Kind.ENUM64):
            negative = any(number < 0 for number in btf.enumerators(type_id).values())
            return Whole(f"enum {name}".rstrip(), bits, negative, names=type_id)
        if kind is Kind.INT and 0 < bits <= 64:
            about = btf.integer(type_id)
            char = name == "char"
            return Whole(named or name, bits, about.signed, swap, about.boolean, char)
        return Opaque(name or "void")

    def target(self, pointer: Pointer) -> Shape:
        """What it points to."""
        return self.shape(pointer.to) if isinstance(pointer.to, int) else pointer.to

    def size(self, shape: Shape) -> int:
        """Bytes; of what has no size 1, as GNU C has it."""
        if isinstance(shape, Whole):
            return shape.bits // 8
        if isinstance(shape, Pointer):
            return 8
        if isinstance(shape, Array):
            return shape.count * self.size(shape.of)
        return shape.size if isinstance(shape, Struct) else 1

    def member(self, struct: Struct, name: str) -> Found | None:
        """A member by its name, anonymous structures looked into."""
        for type_id, at_bits, width, found in self._flat(struct.id, 0):
            if found == name:
                shape = self.shape(type_id)
                if width and isinstance(shape, Whole):
                    shape = replace(shape, name=f"{width} bits of {shape.name}", bits=width)
                return Found(shape, at_bits, width)
        return None

    def _flat(self, struct: TypeId, before: int) -> Iterator[tuple[TypeId, int, int, str]]:
        for member in self._btf.layout(struct):
            at_bits, plain = before + member.at_bits, self._btf.resolve(member.type)
            if member.name:
                yield member.type, at_bits, member.width_bits, member.name
            elif self._btf.kind(plain) in (Kind.STRUCT, Kind.UNION):
                yield from self._flat(plain, at_bits)

    def nearest(self, struct: Struct, name: str) -> str:
        """The member whose name is nearest, ``__sk_common.skc_dport``; '' when none is near."""
        paths: dict[str, str] = {}
        for path in sorted(self._paths(struct.id, "", 1), key=lambda path: path.count(".")):
            paths.setdefault(path.rpartition(".")[2], path)
        for likely in (name, name.replace("sk_", "skc_", 1), name.lower()):
            if likely in paths:
                return paths[likely]
        close = near(name, paths)
        return paths[close] if close else ""

    def _paths(self, struct: TypeId, before: str, depth: int) -> Iterator[str]:
        for type_id, _at, _width, name in self._flat(struct, 0):
            yield before + name
            plain = self._btf.resolve(type_id)
            if depth < _DEPTH_MAX and self._btf.kind(plain) in (Kind.STRUCT, Kind.UNION):
                yield from self._paths(plain, f"{before}{name}.", depth + 1)

    def enumerators(self, enum: TypeId) -> dict[str, int]:
        return self._btf.enumerators(enum)

    def enumerator(self, name: str) -> int | None:
        """In any enum of the kernel."""
        return self._btf.enumerator(name)

    def struct(self, name: str) -> TypeId | None:
        return min(self._btf.named(name, (Kind.STRUCT,)), default=None)


def near(name: str, names: dict[str, str] | dict[str, int]) -> str:
    """The one of these that is most like it, '' when none is."""
    from difflib import get_close_matches

    return (*get_close_matches(name, names, 1, _CLOSE), "")[0]
