# SPDX-License-Identifier: Apache-2.0
"""Texts to what the loaded program takes, and a record's section to values."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..errors import ExpressionError
from ..facts.btf import Btf
from .code import TooDeep, condition_code, values_code
from .conditions import Conditions
from .roots import SKB, Root
from .shown import Shown, understand
from .syntax import parse


@dataclass(frozen=True, slots=True)
class Compiled:
    """Instructions for a place of the object."""

    code: bytes


@dataclass(frozen=True, slots=True)
class CompiledValues(Compiled):
    """Of several values. The section has a byte for each, 1 where it was read, filled to a
    multiple of 8, then the values.
    """

    texts: tuple[str, ...]
    shown: tuple[Shown, ...]

    @property
    def size_bytes(self) -> int:
        """The section's size."""
        return _flags(len(self.shown)) + sum(shown.room for shown in self.shown)

    def decode(self, section: bytes) -> tuple[int | str | bool | None, ...]:
        """The values of a record; None of what could not be read."""
        found: list[int | str | bool | None] = []
        at = _flags(len(self.shown))
        for flag, shown in enumerate(self.shown):
            data = section[at : at + shown.room]
            found.append(shown.decode(data) if section[flag] else None)
            at += shown.room
        return tuple(found)


def _flags(count: int) -> int:
    return -(-count // 8) * 8


def check(field: str, texts: Sequence[str]) -> None:
    """Raises ExpressionError where a text is no expression, whatever the kernel's types."""
    for text in texts:
        try:
            parse(text)
        except ExpressionError as error:
            raise _named(error, field) from None
        except RecursionError:
            raise _too_deep(field, text) from None


def compile_filter(text: str, btf: Btf, root: Root = SKB) -> Compiled:
    """The condition of ``filter_skb_expr`` or ``filter_xdp_expr``. Raises ExpressionError."""
    field = f"filter_{root.name}_expr"
    try:
        return Compiled(condition_code(Conditions(text, btf, root).condition(parse(text))))
    except ExpressionError as error:
        raise _named(error, field) from None
    except (TooDeep, RecursionError):
        raise _too_deep(field, text) from None


def compile_values(
    texts: Sequence[str], btf: Btf, room_bytes: int, root: Root = SKB
) -> CompiledValues:
    """The values of ``output_skb_metadata`` or ``output_xdp_metadata``, in ``room_bytes``.

    Raises ExpressionError.
    """
    field = f"output_{root.name}_metadata"
    shown = []
    for text in texts:
        try:
            shown.append(understand(text, parse(text), btf, root))
            values_code(shown[-1:])
        except ExpressionError as error:
            raise _named(error, field) from None
        except (TooDeep, RecursionError):
            raise _too_deep(field, text) from None
    made = CompiledValues(values_code(shown), tuple(texts), tuple(shown))
    if made.size_bytes > room_bytes:
        raise ExpressionError(
            f"`{field}`: the values take {made.size_bytes} bytes of a record, where {room_bytes} "
            "are free: leave some out",
            ",".join(texts),
            1,
        )
    return made


def _named(error: ExpressionError, field: str) -> ExpressionError:
    return ExpressionError(f"`{field}`, {error}", error.text, error.column)


def _too_deep(field: str, text: str) -> ExpressionError:
    return ExpressionError(
        f"`{field}`: too many values wait for others in their parentheses: write it flatter",
        text,
        1,
    )
