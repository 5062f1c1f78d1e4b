# SPDX-License-Identifier: Apache-2.0
"""Calculations of 64 bits; those of constants are made at once."""

from __future__ import annotations

import operator
from collections.abc import Callable

from . import tree
from .shapes import Whole

_MASK = (1 << 64) - 1
_OF_CONSTANTS: dict[str, Callable[[int, int], int]] = {
    "+": operator.add, "-": operator.sub, "*": operator.mul, "&": operator.and_,
    "|": operator.or_, "^": operator.xor, "<<": operator.lshift, ">>": operator.rshift,
}  # fmt: skip


def calculate(
    name: str, left: tree.Value, right: tree.Value, *, signed: bool = False
) -> tree.Value:
    """``left name right``. ``signed``: the left side, for a shift to the right."""
    if isinstance(left, tree.Constant) and isinstance(right, tree.Constant):
        number = _OF_CONSTANTS[name](left.value, right.value)
        if not -(1 << 63) <= number <= _MASK:
            number &= _MASK
        return tree.Constant(number)
    return tree.Calculation(name, left, right, signed)


def complement(value: tree.Value, shape: Whole) -> tree.Value:
    """Every bit the other way; of a type without sign those that it has."""
    bits = -1 if shape.signed or shape.bits == 64 else (1 << shape.bits) - 1
    return tree.Calculation("^", value, tree.Constant(bits))
