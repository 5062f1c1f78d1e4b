# SPDX-License-Identifier: Apache-2.0
"""Values by the kernel's types: which member, how many bits, where."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

from ..escape import quote
from ..facts.btf import Btf, TypeId
from ..facts.header_types import BTF_NAME
from . import shapes, syntax, tree
from .arithmetic import calculate, complement
from .constants import CONSTANTS
from .roots import NAMES, Root
from .shapes import Array, Found, Opaque, Pointer, Shape, Shapes, Struct, Whole, near
from .tokens import wrong

COMPARISONS = ("==", "!=", "<", "<=", ">", ">=")
_INDEX_MAX = 1 << 16
_BITWISE = ("&", "|", "^")


@dataclass(frozen=True, slots=True)
class Operand:
    """A value of a type. ``value``: None of a structure or array, which has a ``place`` alone.

    ``place``: None of what is calculated, and of a bit-field. ``name``: of a member.
    """

    shape: Shape
    value: tree.Value | None
    place: tree.Place | None = None
    name: str = ""


class Values:
    """Of one text, by fields of ``root``. Raises ExpressionError."""

    def __init__(self, text: str, btf: Btf, root: Root) -> None:
        self.text = text
        self._root = root
        self.shapes = Shapes(btf)
        self._btf = btf

    def fail(self, at: syntax.Typed, what: str) -> NoReturn:
        wrong(self.text, at.at, what)

    @property
    def _described(self) -> str:
        if self._btf.name != BTF_NAME:
            return "the kernel's BTF describes"
        return f"{BTF_NAME} describe: a file with BTF for exactly this kernel (`kernel_btf`) may"

    def number(self, typed: syntax.Typed, found: Operand) -> tree.Value:
        """The value of what has one: a number, a pointer, where an array begins."""
        if isinstance(found.shape, Array) and found.place is not None:
            return tree.Address(found.place)
        if found.value is None:
            if isinstance(found.shape, Opaque):
                self.fail(typed, f"{found.shape.name} cannot be read")
            self.fail(typed, "a structure has members: name one")
        return found.value

    def value(self, typed: syntax.Typed, names: TypeId | None = None) -> Operand:
        """``names``: the enum whose names are meant."""
        if isinstance(typed, syntax.Number):
            return constant(typed.value)
        if isinstance(typed, syntax.Name):
            return self._name(typed, names)
        if isinstance(typed, syntax.Reach):
            return self._reach(typed)
        if isinstance(typed, syntax.Index):
            return self._index(typed)
        if isinstance(typed, syntax.Cast):
            return self._cast(typed)
        if isinstance(typed, syntax.Unary):
            return self._unary(typed, names)
        if isinstance(typed, syntax.Binary):
            return self._binary(typed)
        self.fail(typed, "a string or an address can only be compared, with == or !=")

    def _name(self, typed: syntax.Name, names: TypeId | None) -> Operand:
        if typed.name == self._root.name:
            struct = self.shapes.struct(self._root.struct)
            if struct is None:
                self.fail(typed, f"the kernel's BTF has no struct {self._root.struct}")
            return Operand(Pointer(struct), tree.Given())
        of = self.shapes.enumerators(names) if names is not None else {}
        number = of.get(typed.name, CONSTANTS.get(typed.name))
        if number is None:
            number = self.shapes.enumerator(typed.name)
        if number is None:
            self._unknown(typed, of)
        return constant(number)

    def _unknown(self, typed: syntax.Name, of: dict[str, int]) -> NoReturn:
        name, close = typed.name, near(typed.name, of or CONSTANTS)
        given = self._root.name
        struct = self.shapes.struct(self._root.struct)
        if struct is not None:
            shape = self.shapes.shape(struct)
            if isinstance(shape, Struct) and self.shapes.member(shape, name):
                close = f"{given}->{name}"
        hint = f": did you mean {close}?" if close else f": fields begin with {given}->"
        self.fail(typed, f"{quote(name)} is no name that the kernel's types have{hint}")

    def _reach(self, typed: syntax.Reach) -> Operand:
        base = self.value(typed.base)
        pointer = isinstance(base.shape, Pointer)
        if pointer and typed.dot:
            self.fail(typed, f"what stands before .{typed.name} is a pointer: write ->")
        if not pointer and not typed.dot:
            self.fail(typed, f"what stands before ->{typed.name} is no pointer: write .")
        struct = self.shapes.target(base.shape) if isinstance(base.shape, Pointer) else base.shape
        if not isinstance(struct, Struct):
            what = getattr(struct, "name", "") or "this"
            self.fail(typed, f"{what} has no members that {self._described}")
        place = tree.Place(self.number(typed.base, base), 0) if pointer else base.place
        found = self.shapes.member(struct, typed.name)
        if found is None or place is None:
            close = self.shapes.nearest(struct, typed.name)
            hint = f": did you mean {close}?" if close else ""
            self.fail(typed, f"struct {struct.name} has no member {quote(typed.name)}{hint}")
        return self._member(typed, place, found)

    def _member(self, typed: syntax.Reach, place: tree.Place, found: Found) -> Operand:
        at = tree.Place(place.base, place.offset + found.at_bits // 8)
        if not found.width_bits:
            return self.at(at, found.shape, typed.name)
        shift = found.at_bits % 8
        count = -(-(shift + found.width_bits) // 8)
        if count > 8 or not isinstance(found.shape, Whole):
            self.fail(typed, "a bit-field across nine bytes cannot be read")
        load = tree.Load(at, count, shift, found.width_bits, found.shape.signed, False)
        return Operand(found.shape, load, None, typed.name)

    def at(self, place: tree.Place, shape: Shape, name: str = "") -> Operand:
        """What lies at a place."""
        if isinstance(shape, Whole):
            load = tree.Load(place, shape.bits // 8, 0, shape.bits, shape.signed, shape.swap)
            return Operand(shape, load, place, name)
        if isinstance(shape, Pointer):
            return Operand(shape, tree.Load(place, 8, 0, 64, False, False), place, name)
        return Operand(shape, None, place, name)

    def _index(self, typed: syntax.Index) -> Operand:
        base = self.value(typed.base)
        if typed.number >= _INDEX_MAX:
            self.fail(typed, f"the number is larger than {_INDEX_MAX - 1}")
        if isinstance(base.shape, Array):
            if base.shape.count and typed.number >= base.shape.count:
                self.fail(typed, f"the array has {base.shape.count} elements, from 0 on")
            assert base.place is not None
            offset = base.place.offset + typed.number * self.shapes.size(base.shape.of)
            return self.at(tree.Place(base.place.base, offset), base.shape.of, base.name)
        if isinstance(base.shape, Pointer):
            of = self.shapes.target(base.shape)
            place = tree.Place(self.number(typed.base, base), typed.number * self.shapes.size(of))
            return self.at(place, of, base.name)
        self.fail(typed, "what stands before [ is no array")

    def _cast(self, typed: syntax.Cast) -> Operand:
        shape = self.shapes.named(typed.tag, typed.name)
        if shape is None:
            what = f"{typed.tag} {typed.name}".strip()
            self.fail(typed, f"the kernel's types have no {quote(what)}")
        for _ in range(typed.stars):
            shape = Pointer(shape)
        found = self.value(typed.of)
        value = self.number(typed.of, found)
        if isinstance(shape, Pointer):
            return Operand(shape, value, None, found.name)
        if not isinstance(shape, Whole):
            self.fail(typed, "a cast makes numbers and pointers: add * to the type")
        source = found.shape
        if isinstance(source, Whole) and source.swap and source.bits > 8:
            value = tree.Fit(value, source.bits, False, swap=True)
        value = tree.Fit(value, shape.bits, shape.signed, swap=shape.swap)
        return Operand(shape, value, None, found.name)

    def _unary(self, typed: syntax.Unary, names: TypeId | None) -> Operand:
        if typed.operator == "!":
            self.fail(typed, "! gives true or false, not a number: put ( ) behind it")
        found = self.value(typed.of, names)
        if typed.operator == "&":
            if found.place is not None:
                return Operand(Pointer(found.shape), tree.Address(found.place))
            self.fail(typed, "this has no address")
        if typed.operator == "*":
            base = pointed(found.shape)
            if not isinstance(base, Pointer):
                self.fail(typed, "what stands behind * is no pointer")
            place = tree.Place(self.number(typed.of, found), 0)
            return self.at(place, self.shapes.target(base), found.name)
        value = self.number(typed.of, found)
        if not isinstance(found.shape, Whole):
            self.fail(typed, f"{typed.operator} wants a number")
        if typed.operator == "-":
            return Operand(shapes.LONG, calculate("-", tree.Constant(0), value))
        if isinstance(value, tree.Constant):
            return constant(~value.value)
        shape = Whole(found.shape.name, found.shape.bits, found.shape.signed)
        return Operand(shape, complement(value, found.shape))

    def _binary(self, typed: syntax.Binary) -> Operand:
        if typed.operator in (*COMPARISONS, "&&", "||"):
            self.fail(typed, f"{typed.operator} gives true or false, not a number")
        for side in (typed.left, typed.right):
            if typed.operator in _BITWISE and (
                isinstance(side, syntax.Binary) and side.operator in COMPARISONS
            ):
                self.fail(
                    typed,
                    f"in C {side.operator} binds tighter than {typed.operator}: put ( ) around "
                    f"both sides of {typed.operator}",
                )
        left, right = self.pair(typed, typed.left, typed.right)
        one, two = self.number(typed.left, left), self.number(typed.right, right)
        if isinstance(pointed(left.shape), Pointer) or isinstance(pointed(right.shape), Pointer):
            return self._point(typed, (left, one), (right, two))
        shift = two.value if isinstance(two, tree.Constant) else -1
        if typed.operator in ("<<", ">>") and not 0 <= shift <= 63:
            self.fail(typed, "bits are shifted by a number from 0 to 63")
        signed = isinstance(left.shape, Whole) and left.shape.signed
        value = calculate(typed.operator, one, two, signed=signed)
        if isinstance(value, tree.Constant):
            return constant(value.value)
        return Operand(result(typed.operator, left, right), value)

    def _point(
        self,
        typed: syntax.Binary,
        first: tuple[Operand, tree.Value],
        second: tuple[Operand, tree.Value],
    ) -> Operand:
        """Arithmetic of pointers: in elements, as C has it."""
        (left, one), (right, two) = first, second
        base, other = pointed(left.shape), pointed(right.shape)
        if isinstance(base, Pointer) and isinstance(other, Pointer):
            if typed.operator == "-" and self.shapes.size(self.shapes.target(base)) == 1:
                return Operand(shapes.LONG, calculate("-", one, two))
        elif typed.operator == "+" and isinstance(other, Pointer):
            return self._point(typed, second, first)
        elif typed.operator in ("+", "-") and isinstance(base, Pointer):
            size = tree.Constant(self.shapes.size(self.shapes.target(base)))
            step = two if size.value == 1 else calculate("*", two, size)
            return Operand(base, calculate(typed.operator, one, step))
        self.fail(typed, f"{typed.operator} of a pointer: cast it, (unsigned long)")

    def pair(
        self, typed: syntax.Binary, left: syntax.Typed, right: syntax.Typed
    ) -> tuple[Operand, Operand]:
        """Both sides; a name on one side may be of the enum on the other."""
        if is_constant(left) and not is_constant(right):
            second = self.value(right)
            return self.value(left, names_of(second.shape)), second
        first = self.value(left)
        return first, self.value(right, names_of(first.shape))

    def text_place(self, found: Operand) -> tree.Place:
        """Where a string begins."""
        if isinstance(found.shape, Pointer):
            assert found.value is not None
            return tree.Place(found.value, 0)
        assert found.place is not None
        return found.place


def constant(number: int) -> Operand:
    """A number, as wide as it must be."""
    shape = shapes.LONG if number < 1 << 63 else shapes.UNSIGNED_LONG
    return Operand(shape, tree.Constant(number))


def wide(found: Operand) -> bool:
    """Whether it may be 2^63 or more: then C compares without signs."""
    shape = found.shape
    return not isinstance(shape, Whole) or (shape.bits == 64 and not shape.signed)


def names_of(shape: Shape) -> TypeId | None:
    """The enum that has names for it."""
    return shape.names if isinstance(shape, Whole) else None


def is_constant(typed: syntax.Typed) -> bool:
    """A name that no field begins with."""
    return isinstance(typed, syntax.Name) and typed.name not in NAMES


def pointed(shape: Shape) -> Shape:
    """An array is a pointer to its first element."""
    return Pointer(shape.of) if isinstance(shape, Array) else shape


def is_text(shape: Shape, known: Shapes) -> bool:
    """A ``char *``, or an array of ``char``."""
    of = shape.of if isinstance(shape, Array) else None
    if isinstance(shape, Pointer):
        of = known.target(shape)
    return isinstance(of, Whole) and of.char


def bytes_of(shape: Shape) -> int:
    """Of an array of bytes, or of an IPv6 address, how many; else 0."""
    if isinstance(shape, Struct) and shape.name == "in6_addr":
        return shape.size
    if isinstance(shape, Array) and isinstance(shape.of, Whole):
        return shape.count if shape.of.bits == 8 and not shape.of.char else 0
    return 0


def _upward_bits(side: Operand) -> int | None:
    """Bits of a number that is never negative."""
    if isinstance(side.value, tree.Constant):
        return max(1, side.value.value.bit_length()) if side.value.value >= 0 else None
    assert isinstance(side.shape, Whole)
    return None if side.shape.signed else side.shape.bits


def result(operator: str, left: Operand, right: Operand) -> Whole:
    """The type of a calculation: 64 bits, unless bits alone are combined."""
    if operator == ">>" and isinstance(left.shape, Whole):
        return Whole("this", left.shape.bits, left.shape.signed)
    known = [bits for bits in map(_upward_bits, (left, right)) if bits is not None]
    if operator == "&" and known:
        return Whole("this", min(known))
    if operator in _BITWISE and len(known) == 2:
        return Whole("this", max(known))
    return Whole("this", 64, not (wide(left) or wide(right)))
