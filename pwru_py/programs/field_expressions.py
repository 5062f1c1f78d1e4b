# SPDX-License-Identifier: Apache-2.0
"""The field expressions of a session, compiled for the kernel's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ExpressionError
from ..options.config import Config
from ..record import contract
from .known import KernelTypes
from .splice import (
    CONDITION,
    METADATA,
    XDP_CONDITION,
    XDP_METADATA,
    Spliced,
    filter_places,
)

if TYPE_CHECKING:
    from ..expressions.compiled import Compiled, CompiledValues
    from ..expressions.roots import Root


@dataclass(frozen=True, slots=True)
class FieldExpressions:
    """``condition``: of ``filter_skb_expr``. ``values``: of ``output_skb_metadata``. The others are
    of ``filter_xdp_expr`` and ``output_xdp_metadata``.
    """

    condition: Compiled | None = None
    values: CompiledValues | None = None
    xdp_condition: Compiled | None = None
    xdp_values: CompiledValues | None = None

    @property
    def code(self) -> dict[str, Spliced]:
        """What goes into the object, by its place."""
        found = {
            CONDITION: self.condition,
            METADATA: self.values,
            XDP_CONDITION: self.xdp_condition,
            XDP_METADATA: self.xdp_values,
        }
        return {place: code for place, code in found.items() if code is not None}

    @property
    def metadata_bytes(self) -> int:
        """What the values take of a record."""
        return self.values.size_bytes if self.values is not None else 0

    @property
    def xdp_bytes(self) -> int:
        """The same of those at XDP."""
        return self.xdp_values.size_bytes if self.xdp_values is not None else 0


def check_field_expressions(config: Config) -> None:
    """Raises ExpressionError for what is wrong whatever the kernel's types are."""
    if config.has_field_expressions:
        from ..expressions.compiled import check

        check("filter_skb_expr", [config.filter_skb_expr] if config.filter_skb_expr else [])
        check("output_skb_metadata", config.output_skb_metadata)
        check("filter_xdp_expr", [config.filter_xdp_expr] if config.filter_xdp_expr else [])
        check("output_xdp_metadata", config.output_xdp_metadata)


def compile_field_expressions(config: Config, types: KernelTypes) -> FieldExpressions:
    """Raises ExpressionError, and as ``KernelTypes.btf``. Imports the compiler only now."""
    if not config.has_field_expressions:
        return FieldExpressions()
    from ..expressions.roots import SKB, XDP

    return FieldExpressions(
        _condition(config.filter_skb_expr, types, SKB, CONDITION),
        _values(config.output_skb_metadata, types, SKB, METADATA),
        _condition(config.filter_xdp_expr, types, XDP, XDP_CONDITION),
        _values(config.output_xdp_metadata, types, XDP, XDP_METADATA),
    )


def _condition(text: str, types: KernelTypes, root: Root, place: str) -> Compiled | None:
    from ..expressions.compiled import compile_filter

    if not text:
        return None
    condition = compile_filter(text, types.btf, root)
    _check_room(f"filter_{root.name}_expr", text, place, condition)
    return condition


def _values(
    texts: tuple[str, ...], types: KernelTypes, root: Root, place: str
) -> CompiledValues | None:
    from ..expressions.compiled import compile_values

    if not texts:
        return None
    values = compile_values(texts, types.btf, contract.SKB_METADATA_MAX, root)
    _check_room(f"output_{root.name}_metadata", ",".join(texts), place, values)
    return values


def _check_room(field: str, text: str, place: str, compiled: Compiled) -> None:
    needed, most = len(compiled.code) // 8, filter_places("typed-large")[place].capacity
    if needed > most:
        raise ExpressionError(
            f"`{field}` is too long: it takes {needed} instructions, where {most} are free", text, 1
        )
