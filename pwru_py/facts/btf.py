# SPDX-License-Identifier: Apache-2.0
"""BTF, the kernel's own description of its types (Documentation/bpf/btf.rst): bytes to types.

Pure: the caller reads ``/sys/kernel/btf/vmlinux``. A module's BTF is *split*: its type ids and
string offsets continue those of its base. Only what the tracer asks for is decoded; one pass over
the types notes where each begins.
"""

from __future__ import annotations

import re
import struct
import sys
from array import array
from bisect import bisect_right
from collections import Counter
from collections.abc import Container, Iterable, Iterator
from enum import IntEnum
from typing import NamedTuple, NewType

from ..errors import FeatureUnsupportedError

TypeId = NewType("TypeId", int)

MAGIC = 0xEB9F
VOID = TypeId(0)


class Kind(IntEnum):
    """``BTF_KIND_*`` of include/uapi/linux/btf.h."""

    INT = 1
    PTR = 2
    ARRAY = 3
    STRUCT = 4
    UNION = 5
    ENUM = 6
    FWD = 7
    TYPEDEF = 8
    VOLATILE = 9
    CONST = 10
    RESTRICT = 11
    FUNC = 12
    FUNC_PROTO = 13
    VAR = 14
    DATASEC = 15
    FLOAT = 16
    DECL_TAG = 17
    TYPE_TAG = 18
    ENUM64 = 19


# struct btf_type.info; 16 bits of length and 5 of kind before 7.2, commit f7a6b9eaff3e
_VLEN = 0xFFFFFF
_KIND_SHIFT, _KIND = 24, 0x7F
_OFFSET_BITS = 0xFFFFFF  # of a member; a bit field's width stands above
# 32-bit words behind the three of struct btf_type: always, for each of vlen
_FIXED = [0, 1, 0, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 1, 0, 0]
_EACH = [0, 0, 0, 0, 3, 3, 2, 0, 0, 0, 0, 0, 0, 2, 0, 3, 0, 0, 0, 3]
ALIASES = frozenset((Kind.TYPEDEF, Kind.VOLATILE, Kind.CONST, Kind.RESTRICT, Kind.TYPE_TAG))
_KINDS = {int(kind): kind for kind in Kind}


class Function(NamedTuple):
    """A ``BTF_KIND_FUNC`` and the id of its prototype."""

    name: str
    proto: TypeId


class Parameter(NamedTuple):
    """A parameter of a prototype; ``type`` 0 is the ``...`` of a variadic one."""

    name: str
    type: TypeId


class Member(NamedTuple):
    """A member of a struct or union; name '' of an anonymous one.

    ``at_bits``: bits before it. ``width_bits``: of a bit-field, 0 of others.
    """

    name: str
    type: TypeId
    at_bits: int
    width_bits: int


class Integer(NamedTuple):
    """What the bits of a ``BTF_KIND_INT`` mean."""

    signed: bool
    boolean: bool


class _Steps(dict[int, int]):
    """The words of a type by its info word; negative for functions and non-empty enums.

    Of these only functions take 3. Raises IndexError for an unknown kind.
    """

    def __init__(self, fixed: list[int], each: list[int]) -> None:
        super().__init__()
        self._fixed, self._each = fixed, each

    def __missing__(self, info: int) -> int:
        kind = info >> _KIND_SHIFT & _KIND
        step = 3 + self._fixed[kind] + self._each[kind] * (info & _VLEN)
        if kind == Kind.FUNC or (kind in (Kind.ENUM, Kind.ENUM64) and step > 3):
            step = -step
        self[info] = step
        return step


class Btf:
    """The types of a kernel or, with ``base``, of one of its modules.

    Raises FeatureUnsupportedError when the bytes are not BTF of this machine's byte order, or cut
    short.
    """

    def __init__(self, raw: bytes, base: Btf | None = None, name: str = "vmlinux") -> None:
        self.name = name
        self.base = base
        if len(raw) < 24:
            raise self._broken("is cut short")
        magic, version, _flags, header = struct.unpack_from("=HBBI", raw)
        if magic != MAGIC or version != 1:
            raise self._broken(
                "cannot be read: it does not begin with the BTF magic of this machine's byte order"
            )
        type_off, type_len, str_off, str_len = struct.unpack_from("=IIII", raw, 8)
        if header + max(type_off + type_len, str_off + str_len) > len(raw):
            raise self._broken("is cut short")
        self._types = raw[header + type_off : header + type_off + (type_len & ~3)]
        self._words = memoryview(self._types).cast("I")
        self._strings = raw[header + str_off : header + str_off + str_len]
        if self._strings[-1:] not in (b"", b"\0"):
            raise self._broken("ends within a string")
        self._first_id = base._end_id if base else 1
        self._first_str = base._end_str if base else 0
        self._end_str: int = self._first_str + str_len
        self._starts: array[int] = array("I")
        self._funcs: array[int] = array("I")
        self._enums: array[int] = array("I")
        self._walk(*_word_counts(raw, header))
        self._end_id: int = self._first_id + len(self._starts)

    def _broken(self, how: str) -> FeatureUnsupportedError:
        return FeatureUnsupportedError(f"BTF of {self.name} {how}", feature="BTF")

    def _walk(self, fixed: list[int], each: list[int]) -> None:
        """Notes the word at which every type begins; the hot loop of a start."""
        words, end = self._words, len(self._words)
        start, func, enum = self._starts.append, self._funcs.append, self._enums.append
        steps = _Steps(fixed, each)
        at = 0
        try:
            while at < end:
                step = steps[words[at + 1]]
                start(at)
                if step < 0:
                    step = -step
                    (func if step == 3 else enum)(at)
                at += step
        except IndexError:
            if at + 1 < end:
                raise self._broken("has a type that this version does not know") from None
        if at != end:
            raise self._broken("ends within a type")

    def _string(self, offset: int) -> str:
        if offset < self._first_str:
            assert self.base is not None
            return self.base._string(offset)
        offset -= self._first_str
        return self._strings[offset : self._strings.index(b"\0", offset)].decode(errors="replace")

    def _string_offset(self, text: str) -> int | None:
        """Where ``text`` stands; base and module together hold each string once."""
        wanted = text.encode() + b"\0"
        if self._strings.startswith(wanted):  # a module's do not begin with an empty one
            return self._first_str
        found = self._strings.find(b"\0" + wanted)
        if found >= 0:
            return found + 1 + self._first_str
        return self.base._string_offset(text) if self.base else None

    def _at(self, type_id: TypeId) -> tuple[Btf, int]:
        """The BTF that holds ``type_id`` and the word at which it begins there."""
        owner = self
        while type_id < owner._first_id:
            assert owner.base is not None
            owner = owner.base
        return owner, owner._starts[type_id - owner._first_id]

    @property
    def count(self) -> int:
        """The number of the last type."""
        return self._end_id - 1

    def kind(self, type_id: TypeId) -> Kind | None:
        """The type's kind, None for void and for kinds that came later."""
        if not type_id:
            return None
        owner, at = self._at(type_id)
        return _KINDS.get(owner._words[at + 1] >> _KIND_SHIFT & _KIND)

    def type_name(self, type_id: TypeId) -> str:
        """The type's name, '' for void and anonymous types."""
        if not type_id:
            return ""
        owner, at = self._at(type_id)
        return owner._string(owner._words[at])

    def target(self, type_id: TypeId) -> TypeId:
        """What a pointer, typedef, qualifier, function or prototype refers to or returns."""
        owner, at = self._at(type_id)
        return TypeId(owner._words[at + 2])

    def resolve(self, type_id: TypeId) -> TypeId:
        """``type_id`` without typedefs and qualifiers."""
        while type_id and self.kind(type_id) in ALIASES:
            type_id = self.target(type_id)
        return type_id

    def size(self, type_id: TypeId) -> int:
        """Bytes of a parameter or return type: pointers 8, void and prototypes 0."""
        type_id = self.resolve(type_id)
        kind = self.kind(type_id)
        if kind is None or kind is Kind.FUNC_PROTO or kind is Kind.FWD:
            return 0
        if kind is Kind.PTR:
            return 8
        owner, at = self._at(type_id)
        if kind is Kind.ARRAY:
            element, _index, count = owner._words[at + 3 : at + 6]
            return self.size(TypeId(element)) * count
        return owner._words[at + 2]

    def element(self, array_id: TypeId) -> TypeId:
        """What an array is made of."""
        owner, at = self._at(array_id)
        return TypeId(owner._words[at + 3])

    def parameters(self, proto: TypeId) -> tuple[Parameter, ...]:
        """The parameters of a ``BTF_KIND_FUNC_PROTO``, in order."""
        owner, at = self._at(proto)
        words = owner._words
        count = words[at + 1] & _VLEN
        return tuple(
            Parameter(self._string(words[i]), TypeId(words[i + 1]))
            for i in range(at + 3, at + 3 + 2 * count, 2)
        )

    def parameter_types(self, proto: TypeId) -> tuple[int, ...]:
        """Only the type ids of ``parameters``: cheap enough for every function."""
        owner, at = self._at(proto)
        count = owner._words[at + 1] & _VLEN
        return tuple(owner._words[at + 4 : at + 3 + 2 * count : 2]) if count else ()

    def _mentions(self, type_id: TypeId) -> Iterator[tuple[int, int]]:
        """(which own type, word in it) wherever ``type_id`` stands in a word behind the name.

        A search of the bytes: types mention few others, so this beats decoding them all.
        """
        starts = self._starts
        for found in _occurrences(type_id.to_bytes(4, sys.byteorder), self._types):
            word, rest = divmod(found, 4)
            if not rest:
                index = bisect_right(starts, word) - 1
                yield index, word - starts[index]

    def _own_kind(self, index: int) -> int:
        return self._words[self._starts[index] + 1] >> _KIND_SHIFT & _KIND

    def referring(self, type_ids: Iterable[TypeId], kinds: Container[int]) -> set[TypeId]:
        """Own types of these kinds (pointers, typedefs, qualifiers) that refer to ``type_ids``."""
        return {
            TypeId(index + self._first_id)
            for type_id in type_ids
            for index, word in self._mentions(type_id)
            if word == 2 and self._own_kind(index) in kinds
        }

    def prototypes_with(self, type_ids: Iterable[TypeId]) -> set[TypeId]:
        """Own prototypes that have a parameter of exactly one of these types."""
        return {
            TypeId(index + self._first_id)
            for type_id in type_ids
            for index, word in self._mentions(type_id)
            if word >= 4 and word % 2 == 0 and self._own_kind(index) == Kind.FUNC_PROTO
        }

    def named(self, name: str, kinds: Container[int]) -> set[TypeId]:
        """Own types of these kinds that bear the name."""
        offset = self._string_offset(name)
        if offset is None:
            return set()
        return {
            TypeId(index + self._first_id)
            for index, word in self._mentions(TypeId(offset))
            if word == 0 and self._own_kind(index) in kinds
        }

    def _offsets_with(self, prefix: bytes) -> set[int]:
        """Where strings stand that begin so, in the base, too."""
        found = {m.start() + 1 for m in re.finditer(b"\0" + re.escape(prefix), self._strings)}
        if self._strings.startswith(prefix):  # a module's do not begin with an empty one
            found.add(0)
        own = {offset + self._first_str for offset in found}
        return own | self.base._offsets_with(prefix) if self.base else own

    def named_with(self, prefix: str, kind: int) -> list[TypeId]:
        """Own types of a kind whose names begin so: one pass over all."""
        offsets, words = self._offsets_with(prefix.encode()), self._words
        return [
            TypeId(index + self._first_id)
            for index, at in enumerate(self._starts)
            if words[at] in offsets and self._own_kind(index) == kind
        ]

    def functions(self) -> Iterator[Function]:
        """Every function of this BTF, without those of its base."""
        words = self._words
        for at in self._funcs:
            yield Function(self._string(words[at]), TypeId(words[at + 2]))

    def function_protos(self) -> Iterator[tuple[int, TypeId]]:
        """(where it stands, prototype) of every function; for ``name_at`` and ``id_at``."""
        words = self._words
        for at in self._funcs:
            yield at, TypeId(words[at + 2])

    def repeated_functions(self) -> dict[str, int]:
        """Names that several functions of this BTF bear, and how many do."""
        words = self._words
        offsets = Counter(words[at] for at in self._funcs)
        return {self._string(offset): count for offset, count in offsets.items() if count > 1}

    def name_at(self, at: int) -> str:
        """The name of the function that stands there."""
        return self._string(self._words[at])

    def id_at(self, at: int) -> TypeId:
        """Its type id."""
        return TypeId(bisect_right(self._starts, at) - 1 + self._first_id)

    def function(self, name: str) -> Function | None:
        """One function by its name, None when this BTF has none."""
        for type_id in sorted(self.named(name, (Kind.FUNC,))):
            return Function(name, self.target(type_id))
        return None

    def members(self, type_id: TypeId) -> Iterator[Parameter]:
        """Name and type of each member of a struct or union; '' for an anonymous one."""
        owner, at = self._at(type_id)
        words = owner._words
        for i in range(at + 3, at + 3 + 3 * (words[at + 1] & _VLEN), 3):
            yield Parameter(self._string(words[i]), TypeId(words[i + 1]))

    def layout(self, type_id: TypeId) -> Iterator[Member]:
        """Each member of a struct or union, and where it is."""
        owner, at = self._at(type_id)
        words = owner._words
        fields = (
            words[at + 1] >> 31
        )  # else a bit-field is told by its type alone: before pahole 1.12
        for i in range(at + 3, at + 3 + 3 * (words[at + 1] & _VLEN), 3):
            bits = words[i + 2]
            width = bits >> 24 if fields else 0
            place = bits & _OFFSET_BITS if fields else bits
            yield Member(self._string(words[i]), TypeId(words[i + 1]), place, width)

    def integer(self, type_id: TypeId) -> Integer:
        """Of a ``BTF_KIND_INT``."""
        owner, at = self._at(type_id)
        encoding = owner._words[at + 3] >> 24 & 0xF
        return Integer(bool(encoding & 1), bool(encoding & 4))

    def array_length(self, array_id: TypeId) -> int:
        """How many elements an array has; 0: it has no fixed number."""
        owner, at = self._at(array_id)
        return owner._words[at + 5]

    def enumerators(self, type_id: TypeId) -> dict[str, int]:
        """The names of a ``BTF_KIND_ENUM`` or ``ENUM64``, in order."""
        owner, at = self._at(type_id)
        return owner._enumerators(at)

    def enumerator(self, name: str) -> int | None:
        """The number of a name in any enum of this BTF, None where there is none."""
        offset = self._string_offset(name)
        if offset is None:
            return None
        for index, _ in self._mentions(TypeId(offset)):
            if self._own_kind(index) in (Kind.ENUM, Kind.ENUM64):
                found = self._enumerators(self._starts[index])
                if name in found:
                    return found[name]
        return None

    def has_member(self, struct_name: str, *path: str) -> bool:
        """Whether ``struct struct_name`` has the member ``path``, looking into anonymous ones."""
        return any(self._has_path(found, path) for found in self.named(struct_name, (Kind.STRUCT,)))

    def _has_path(self, type_id: TypeId, path: tuple[str, ...]) -> bool:
        type_id = self.resolve(type_id)
        if not path:
            return True
        if self.kind(type_id) not in (Kind.STRUCT, Kind.UNION):
            return False
        for name, member in self.members(type_id):
            if name == path[0] and self._has_path(member, path[1:]):
                return True
            if not name and self._has_path(member, path):
                return True
        return False

    def member_offset(self, struct_name: str, member: str) -> int | None:
        """Bytes before a member, looking into anonymous ones; None without it, or for bits."""
        for found in self.named(struct_name, (Kind.STRUCT,)):
            bits = self._offset_bits(found, member)
            return None if bits is None or bits % 8 else bits // 8
        return None

    def member_bits(self, struct_name: str, member: str) -> int | None:
        """Bits before a member, looking into anonymous ones; None without it."""
        for found in self.named(struct_name, (Kind.STRUCT,)):
            return self._offset_bits(found, member)
        return None

    def _offset_bits(self, type_id: TypeId, member: str) -> int | None:
        owner, at = self._at(self.resolve(type_id))
        offsets = owner._words[at + 5 : at + 3 + 3 * (owner._words[at + 1] & _VLEN) : 3]
        for (name, inner), bits in zip(self.members(self.resolve(type_id)), offsets, strict=True):
            if name == member:
                return bits & _OFFSET_BITS
            if not name and self.kind(self.resolve(inner)) in (Kind.STRUCT, Kind.UNION):
                deeper = self._offset_bits(inner, member)
                if deeper is not None:
                    return (bits & _OFFSET_BITS) + deeper
        return None

    def enums(self) -> Iterator[tuple[str, dict[str, int]]]:
        """(name, enumerators) of every named enum of this BTF that has any."""
        for at in self._enums:
            name = self._words[at]
            if name:
                yield self._string(name), self._enumerators(at)

    def enum(self, name: str) -> dict[str, int]:
        """The enumerators of ``enum name``, in order; empty when there is none."""
        offset = self._string_offset(name)
        if offset is None:
            return {}
        for at in self._enums:
            if self._words[at] == offset:
                return self._enumerators(at)
        return {}

    def enum_names(self) -> Iterator[str]:
        """The names of the named enums, without decoding them."""
        return (self._string(self._words[at]) for at in self._enums if self._words[at])

    def _enumerators(self, at: int) -> dict[str, int]:
        words = self._words
        info = words[at + 1]
        signed = info >> 31
        count = info & _VLEN
        values: dict[str, int] = {}
        if info >> _KIND_SHIFT & _KIND == Kind.ENUM64:
            for i in range(at + 3, at + 3 + 3 * count, 3):
                value = words[i + 1] | words[i + 2] << 32
                values[self._string(words[i])] = value - (1 << 64) * (signed & value >> 63)
        else:
            for i in range(at + 3, at + 3 + 2 * count, 2):
                value = words[i + 1]
                values[self._string(words[i])] = value - (1 << 32) * (signed & value >> 31)
        return values


def _word_counts(raw: bytes, header: int) -> tuple[list[int], list[int]]:
    """``_FIXED`` and ``_EACH``, continued for kinds of which only the BTF itself tells the sizes.

    struct btf_layout: info_sz, elem_sz in bytes, flags (7.1, commit 222edc843c15).
    """
    fixed, each = list(_FIXED), list(_EACH)
    if header >= 32:
        offset, length = struct.unpack_from("=II", raw, 24)
        later = raw[header + offset :][: length & ~3][4 * len(each) :]
        whole = later[: len(later) & ~3]  # damaged BTF may end within
        for info_size, element_size, _flags in struct.iter_unpack("=BBH", whole):
            fixed.append(info_size // 4)
            each.append(element_size // 4)
    return fixed, each


def _occurrences(pattern: bytes, text: bytes) -> Iterator[int]:
    """Where ``pattern`` stands in ``text``, overlapping finds included."""
    if not any(pattern.endswith(pattern[:n]) for n in range(1, len(pattern))):
        # Several times faster than find, but it goes on behind a match.
        yield from (match.start() for match in re.finditer(re.escape(pattern), text, re.DOTALL))
        return
    found = text.find(pattern)
    while found >= 0:
        yield found
        found = text.find(pattern, found + 1)


_XZ = b"\xfd7zXZ\0"


def is_archive(path: str) -> bool:
    """Whether a file of BTF has to be unpacked first, by its name."""
    return path.endswith(".xz")


def _unpacked(raw: bytes, name: str) -> bytes:
    import io
    import lzma
    import tarfile

    try:
        with tarfile.open(fileobj=io.BytesIO(raw), mode="r:xz") as archive:
            files = [archive.extractfile(member) for member in archive if member.isfile()]
            held = [file.read() for file in files if file]
    except (tarfile.TarError, lzma.LZMAError, EOFError) as error:
        raise FeatureUnsupportedError(
            f"cannot unpack {name}: {str(error) or 'it is cut short'}", feature="BTF"
        ) from None
    if len(held) != 1:
        raise FeatureUnsupportedError(
            f"{name} holds {len(held)} files, not the BTF of one kernel", feature="BTF"
        )
    return held[0]


def raw_btf(raw: bytes, name: str) -> bytes:
    """What a file holds: raw BTF, or the ``.BTF`` section of an ELF file such as vmlinux.

    BTFHub's archives (``.btf.tar.xz``) hold one such file. Raises FeatureUnsupportedError when it
    is none of these.
    """
    if raw.startswith(_XZ):
        raw = _unpacked(raw, name)
    if raw.startswith(b"\x7fELF"):
        import io

        from elftools.common.exceptions import ELFError
        from elftools.elf.elffile import ELFFile

        try:
            file = ELFFile(io.BytesIO(raw))
            section = file.get_section_by_name(".BTF")
            raw = section.data() if section else b""
            with_dwarf = file.get_section_by_name(".debug_info") is not None
        except ELFError as error:
            raise FeatureUnsupportedError(
                f"cannot read ELF file {name}: {str(error) or 'it is cut short'}", feature="BTF"
            ) from None
        if not raw:
            made = f": pahole --btf_encode_detached=FILE {name} makes it" if with_dwarf else ""
            raise FeatureUnsupportedError(f"{name} is an ELF file without BTF{made}", feature="BTF")
    elif raw[:2] != MAGIC.to_bytes(2, sys.byteorder):
        raise FeatureUnsupportedError(f"{name} holds no BTF, raw or in an ELF file", feature="BTF")
    return raw


def from_file(raw: bytes, name: str) -> Btf:
    """The types of a file's bytes, see ``raw_btf``."""
    return Btf(raw_btf(raw, name), name=name)
