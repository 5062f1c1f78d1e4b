# SPDX-License-Identifier: Apache-2.0
"""BTF with more types behind those that it has: the numbers of the first ones stay. Pure."""

from __future__ import annotations

import struct
from collections.abc import Sequence

from .btf import Btf, Kind, TypeId

_HEADER = "=HBBIIIII"  # struct btf_header: magic, version, flags, its length, types, strings
_WHOLE = 0xFFFFFFFF  # component_idx of a BTF_KIND_DECL_TAG that is about the thing itself
_GLOBAL = 1  # enum btf_func_linkage, and of variables


class Appended:
    """Each method adds a type and returns its number; ``raw`` gives the bytes of all."""

    def __init__(self, raw: bytes, btf: Btf) -> None:
        """``btf``: of the same bytes. Without a base."""
        found = struct.unpack_from(_HEADER, raw)
        header, (types, types_len, strings, strings_len) = found[3], found[4:]
        self._types = [raw[header + types : header + types + types_len]]
        self._strings = bytearray(raw[header + strings : header + strings + strings_len])
        self._offsets: dict[bytes, int] = {}
        at = 0
        for text in bytes(self._strings).split(b"\0")[:-1]:
            self._offsets.setdefault(text, at)
            at += len(text) + 1
        self._last = btf.count

    def _string(self, text: str) -> int:
        """Where it stands; each stands there once."""
        encoded = text.encode()
        if encoded not in self._offsets:
            self._offsets[encoded] = len(self._strings)
            self._strings += encoded + b"\0"
        return self._offsets[encoded]

    def _add(self, kind: Kind, name: str, third: int, *rest: int, vlen: int = 0) -> TypeId:
        words = (self._string(name), kind << 24 | vlen, third, *rest)
        self._types.append(struct.pack(f"={len(words)}I", *words))
        self._last += 1
        return TypeId(self._last)

    def pointer(self, to: TypeId) -> TypeId:
        return self._add(Kind.PTR, "", to)

    def typedef(self, name: str, of: TypeId) -> TypeId:
        return self._add(Kind.TYPEDEF, name, of)

    def integer(self, name: str, size_bytes: int) -> TypeId:
        return self._add(Kind.INT, name, size_bytes, 8 * size_bytes)

    def prototype(self, parameters: Sequence[TypeId]) -> TypeId:
        """That returns nothing; its parameters have no names."""
        words = [word for parameter in parameters for word in (0, parameter)]
        return self._add(Kind.FUNC_PROTO, "", 0, *words, vlen=len(parameters))

    def function(self, name: str, proto: TypeId) -> TypeId:
        return self._add(Kind.FUNC, name, proto, vlen=_GLOBAL)

    def variable(self, name: str, of: TypeId) -> TypeId:
        return self._add(Kind.VAR, name, of, _GLOBAL)

    def tag(self, text: str, about: TypeId) -> TypeId:
        """A ``BTF_KIND_DECL_TAG``."""
        return self._add(Kind.DECL_TAG, text, about, _WHOLE)

    def raw(self) -> bytes:
        types = b"".join(self._types)
        fixed = (0xEB9F, 1, 0, 24, 0, len(types), len(types), len(self._strings))
        return struct.pack(_HEADER, *fixed) + types + bytes(self._strings)
