# SPDX-License-Identifier: Apache-2.0
"""What an expression means: values and conditions, with every offset known.

A value is 64 bits, extended from what was read by its sign, in host byte order.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Given:
    """The address of what is looked at: an sk_buff, an xdp_buff."""


@dataclass(frozen=True, slots=True)
class Constant:
    """A number, from -2^63 to 2^64 - 1."""

    value: int


@dataclass(frozen=True, slots=True)
class Place:
    """Kernel memory: ``offset`` bytes behind where ``base`` points."""

    base: Value
    offset: int


@dataclass(frozen=True, slots=True)
class Load:
    """A number in memory: ``count`` bytes (1 to 8), of which the bits from ``shift`` on.

    ``bits``: how many. ``swap``: it lies in network byte order.
    """

    place: Place
    count: int
    shift: int
    bits: int
    signed: bool
    swap: bool


@dataclass(frozen=True, slots=True)
class Address:
    """Where something is."""

    place: Place


@dataclass(frozen=True, slots=True)
class Fit:
    """``of`` cut to ``bits`` and extended again; ``swap``: bytes the other way round first."""

    of: Value
    bits: int
    signed: bool
    swap: bool = False


@dataclass(frozen=True, slots=True)
class Calculation:
    """``left operator right``: one of + - * & | ^ << >>. ``signed``: of a shift to the right."""

    operator: str
    left: Value
    right: Value
    signed: bool = False


Value = Given | Constant | Load | Address | Fit | Calculation


@dataclass(frozen=True, slots=True)
class Compare:
    """Two numbers: one of == != < <= > >=."""

    operator: str
    left: Value
    right: Value
    signed: bool


@dataclass(frozen=True, slots=True)
class Same:
    """Whether memory holds ``data``, as far as the bits of ``mask`` say.

    ``text``: a string lies there, which may end, and memory with it, before as many bytes.
    """

    place: Place
    data: bytes
    mask: bytes
    equal: bool
    text: bool = False


@dataclass(frozen=True, slots=True)
class Both:
    """``and``."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Either:
    """``or``."""

    left: Condition
    right: Condition


@dataclass(frozen=True, slots=True)
class Negation:
    """``not``. Of what is unknown the negation is unknown, too."""

    of: Condition


Condition = Compare | Same | Both | Either | Negation
