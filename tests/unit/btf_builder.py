# SPDX-License-Identifier: Apache-2.0
"""BTF made by hand: each method adds one type and returns its id."""

from __future__ import annotations

import struct
from collections.abc import Iterable

from pwru_py.facts.btf import Btf, Kind

SIGNED = 1 << 31


class Builder:
    """Types in the order of the calls; with ``base``, those of a module."""

    def __init__(self, base: Builder | None = None) -> None:
        self.base = base
        self._types: list[bytes] = []
        self._strings = b"" if base else b"\0"
        self._offsets: dict[str, int] = {"": 0}

    @property
    def count(self) -> int:
        return len(self._types) + (self.base.count if self.base else 0)

    @property
    def strings_end(self) -> int:
        return len(self._strings) + (self.base.strings_end if self.base else 0)

    def _known(self, text: str) -> int | None:
        if text in self._offsets:
            return self._offsets[text]
        return self.base._known(text) if self.base else None

    def string(self, text: str) -> int:
        known = self._known(text)
        if known is None:
            known = self._offsets[text] = self.strings_end
            self._strings += text.encode() + b"\0"
        return known

    def add(self, kind: int, name: str, third: int, *rest: int, vlen: int = 0) -> int:
        info = (kind & 0x7F) << 24 | (kind & SIGNED) | vlen
        self._types.append(struct.pack(f"={3 + len(rest)}I", self.string(name), info, third, *rest))
        return self.count

    def integer(self, name: str = "int", size: int = 4, encoding: int = 0) -> int:
        """``encoding``: 1 signed, 4 boolean."""
        return self.add(Kind.INT, name, size, encoding << 24 | size * 8)

    def ptr(self, to: int) -> int:
        return self.add(Kind.PTR, "", to)

    def array(self, of: int, count: int) -> int:
        return self.add(Kind.ARRAY, "", 0, of, of, count)

    def struct(
        self, name: str, size: int = 8, members: Iterable[tuple[str, int]] = (), kind: int = 4
    ) -> int:
        words = [word for text, type_id in members for word in (self.string(text), type_id, 0)]
        return self.add(kind, name, size, *words, vlen=len(words) // 3)

    def struct_at(self, name: str, places: dict[str, int], of: int) -> int:
        """Members that begin at these bytes, all of one type."""
        words = [w for text, at in places.items() for w in (self.string(text), of, 8 * at)]
        return self.add(Kind.STRUCT, name, 8 + max(places.values()), *words, vlen=len(places))

    def fields(
        self, name: str, size: int, members: Iterable[tuple[str, int, int, int]], kind: int = 4
    ) -> int:
        """Members with their type, the bits before them, and their width, 0 but of bit-fields."""
        words = [
            w for text, of, at, width in members for w in (self.string(text), of, width << 24 | at)
        ]
        return self.add(kind | SIGNED, name, size, *words, vlen=len(words) // 3)

    def union(self, name: str, size: int = 8, members: Iterable[tuple[str, int]] = ()) -> int:
        return self.struct(name, size, members, Kind.UNION)

    def enum(self, name: str, values: dict[str, int], signed: bool = False) -> int:
        words = [w for text, v in values.items() for w in (self.string(text), v & 0xFFFFFFFF)]
        return self.add(Kind.ENUM | SIGNED * signed, name, 4, *words, vlen=len(values))

    def enum64(self, name: str, values: dict[str, int], signed: bool = False) -> int:
        words = [
            word
            for text, v in values.items()
            for word in (self.string(text), v & 0xFFFFFFFF, v >> 32 & 0xFFFFFFFF)
        ]
        return self.add(Kind.ENUM64 | SIGNED * signed, name, 8, *words, vlen=len(values))

    def fwd(self, name: str) -> int:
        return self.add(Kind.FWD, name, 0)

    def alias(self, kind: Kind, to: int, name: str = "") -> int:
        """A typedef, a qualifier or a type tag."""
        return self.add(kind, name, to)

    def proto(self, *parameters: int, returns: int = 0) -> int:
        words = [word for type_id in parameters for word in (self.string("arg"), type_id)]
        return self.add(Kind.FUNC_PROTO, "", returns, *words, vlen=len(parameters))

    def func(self, name: str, *parameters: int, returns: int = 0) -> int:
        proto = self.proto(*parameters, returns=returns)
        return self.add(Kind.FUNC, name, proto, vlen=1)

    def everything(self) -> None:
        """One type of each kind that has no method of its own, between the others."""
        number = self.integer("every", 4)
        self.array(number, 3)
        self.add(Kind.VAR, "variable", number, 1)
        self.add(Kind.DATASEC, ".data", 4, number, 0, 4, number, 4, 4, vlen=2)
        self.add(Kind.FLOAT, "double", 8)
        self.add(Kind.DECL_TAG, "tag", number, 0xFFFFFFFF)
        self.fwd("opaque")

    def raw(self, layout: bytes | None = None) -> bytes:
        """The bytes; ``layout``: the section that tells the sizes of each kind."""
        types = b"".join(self._types)
        words = [0, len(types), len(types), len(self._strings)]
        body = types + self._strings
        if layout is not None:
            body += bytes(-len(body) % 4)
            words += [len(body), len(layout)]
            body += layout
        fixed = struct.pack("=HBBI", 0xEB9F, 1, 0, 8 + 4 * len(words))
        return fixed + struct.pack(f"={len(words)}I", *words) + body

    def btf(self, base: Btf | None = None, name: str = "vmlinux") -> Btf:
        return Btf(self.raw(), base, name)
