# SPDX-License-Identifier: Apache-2.0
"""The BTF of ``contract.c`` to the source of ``pwru_py/record/contract.py``. Pure."""

from __future__ import annotations

from collections.abc import Iterator

from pwru_py.facts.btf import Btf, Kind, TypeId, from_file

_HEAD = '''\
# SPDX-License-Identifier: Apache-2.0
"""What ``bpf/event.h`` shares with Python. Made by ``python bpf/build.py contract``: do not edit.

Each structure has its size and its members (name, offset in bytes, format as in ``struct``), each
enum its constants.
"""

from __future__ import annotations

from typing import Final

Members = tuple[tuple[str, int, str], ...]
'''
_CODES = {1: "B", 2: "H", 4: "I", 8: "Q"}


def contract_module(elf: bytes) -> str:
    """Python source: every structure and enum that ``struct contract`` uses, in its order."""
    btf = from_file(elf, "contract.c")
    (root,) = btf.named("contract", (Kind.STRUCT,))
    parts: dict[str, str] = {}
    for type_id in _used(btf, root):
        name = btf.type_name(type_id)
        if btf.kind(type_id) is Kind.ENUM:
            lines = [f"{key}: Final = {value}" for key, value in btf.enum(name).items()]
            parts.setdefault(name, "\n".join([f"# enum {name}", *lines]))
        else:
            parts.setdefault(name, _structure(btf, type_id))
    return "\n".join([_HEAD, *(f"{part}\n" for part in parts.values())]).rstrip() + "\n"


def _used(btf: Btf, root: TypeId) -> Iterator[TypeId]:
    """Named structures and enums among the members of ``root``, inner ones first."""
    for _, member in btf.members(root):
        plain = btf.resolve(member)
        if btf.kind(plain) is Kind.STRUCT:
            yield from _used(btf, plain)
            yield plain
        elif btf.kind(plain) is Kind.ENUM:
            yield plain


def _structure(btf: Btf, type_id: TypeId) -> str:
    name = btf.type_name(type_id)
    rows = [
        f'    ("{member}", {btf.member_offset(name, member)}, "{_format(btf, inner)}"),'
        for member, inner in btf.members(type_id)
    ]
    size = f"{name.upper()}_BYTES: Final = {btf.size(type_id)}"
    return "\n".join([f"# struct {name}", size, f"{name.upper()}: Final[Members] = (", *rows, ")"])


def _format(btf: Btf, type_id: TypeId) -> str:
    """Integers by their size; an array of bytes and a structure as bytes; other arrays repeated."""
    plain = btf.resolve(type_id)
    kind, size = btf.kind(plain), btf.size(plain)
    if kind is Kind.INT:
        return "?" if btf.type_name(plain) == "_Bool" else _CODES[size]
    if kind is Kind.ARRAY and btf.size(btf.element(plain)) > 1:
        element = btf.element(plain)
        return f"{size // btf.size(element)}{_format(btf, element)}"
    return f"{size}s"
