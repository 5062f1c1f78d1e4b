# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Callable

import pytest

from pwru_py.facts.btf import Kind, TypeId
from pwru_py.plan.arguments import argument_registers, argument_slots

from .btf_builder import Builder

# name: (how to build it, bytes)
TYPES: dict[str, Callable[[Builder], int]] = {
    "ptr": lambda b: b.ptr(0),
    "int": lambda b: b.integer(),
    "enum": lambda b: b.enum("e", {"A": 0}),
    "empty": lambda b: b.struct("empty", 0),
    "s4": lambda b: b.struct("s4", 4),
    "s8": lambda b: b.struct("s8", 8),
    "s9": lambda b: b.struct("s9", 9),
    "s16": lambda b: b.struct("s16", 16),
    "s17": lambda b: b.struct("s17", 17),
    "s24": lambda b: b.struct("s24", 24),
    "u16": lambda b: b.union("u16", 16),
    "int128": lambda b: b.integer("__int128", 16),
    "typedef": lambda b: b.alias(Kind.TYPEDEF, b.struct("sockptr", 16), "sockptr_t"),
    "void": lambda b: 0,
}


@pytest.mark.parametrize(
    ("arguments", "registers"),
    [
        ("", ()),
        ("ptr", (1,)),
        ("int ptr enum", (1, 2, 3)),
        ("s4 ptr", (1, 2)),
        ("s8 ptr", (1, 2)),
        ("s9 ptr", (1, 3)),
        ("s16 ptr", (1, 3)),
        ("u16 ptr", (1, 3)),
        ("typedef ptr", (1, 3)),
        ("int128 ptr", (1, 3)),
        ("s17 ptr", (0, 1)),
        ("s24 ptr s24 ptr", (0, 1, 0, 2)),
        ("empty ptr", (0, 1)),
        ("ptr ptr ptr ptr ptr ptr ptr ptr", (1, 2, 3, 4, 5, 6, 0, 0)),
        ("ptr ptr ptr ptr s16 ptr", (1, 2, 3, 4, 5, 0)),
        ("ptr ptr ptr ptr ptr s16 ptr", (1, 2, 3, 4, 5, 0, 6)),
        ("ptr ptr ptr ptr ptr s16 s16 ptr ptr", (1, 2, 3, 4, 5, 0, 0, 6, 0)),
        ("ptr void", (1, 0)),
    ],
)
def test_where_arguments_are(arguments: str, registers: tuple[int, ...]) -> None:
    b = Builder()
    proto = b.proto(*[TYPES[name](b) for name in arguments.split()])
    assert argument_registers(b.btf(), TypeId(proto)) == registers


@pytest.mark.parametrize(
    ("returns", "first"),
    [("void", 1), ("ptr", 1), ("int", 1), ("s16", 1), ("s17", 2), ("s24", 2), ("typedef", 1)],
)
def test_a_large_structure_is_returned_through_a_hidden_pointer(returns: str, first: int) -> None:
    b = Builder()
    proto = b.proto(*[b.ptr(0)] * 6, returns=TYPES[returns](b))
    expected = tuple(range(first, 7)) + (0,) * (first - 1)
    assert argument_registers(b.btf(), TypeId(proto)) == expected


def test_a_large_union_behind_a_typedef_is_returned_so_too() -> None:
    b = Builder()
    large = b.alias(Kind.TYPEDEF, b.union("u", 32), "u_t")
    proto = b.proto(b.ptr(0), returns=large)
    assert argument_registers(b.btf(), TypeId(proto)) == (2,)


@pytest.mark.parametrize(
    ("arguments", "slots"),
    [
        ("ptr int enum", (1, 2, 3)),
        ("s4 ptr", (1, 2)),
        ("s9 ptr", (1, 3)),
        ("typedef ptr", (1, 3)),
        ("int128 ptr", (1, 3)),
        ("ptr ptr ptr ptr ptr ptr ptr ptr", (1, 2, 3, 4, 5, 6, 7, 8)),
        # on the stack as a whole, and yet in its place
        ("ptr ptr ptr ptr ptr s16 ptr", (1, 2, 3, 4, 5, 6, 8)),
        ("ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr s16", (1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11)),
        ("ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr ptr s16", ()),
        ("s17 ptr", ()),
        ("u16 ptr", ()),
        ("empty ptr", ()),
        ("ptr void", ()),
    ],
)
def test_what_a_trampoline_hands_on(arguments: str, slots: tuple[int, ...]) -> None:
    b = Builder()
    proto = b.proto(*[TYPES[name](b) for name in arguments.split()])
    assert argument_slots(b.btf(), TypeId(proto)) == slots


@pytest.mark.parametrize(("returns", "taken"), [("void", True), ("ptr", True), ("s4", False)])
def test_no_trampoline_where_a_structure_is_returned(returns: str, taken: bool) -> None:
    b = Builder()
    proto = b.proto(b.ptr(0), returns=TYPES[returns](b))
    assert argument_slots(b.btf(), TypeId(proto)) == ((1,) if taken else ())
