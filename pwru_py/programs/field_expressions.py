# SPDX-License-Identifier: Apache-2.0
"""The field expressions of a session, compiled for the kernel's types."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ..errors import ExpressionError
from ..options.config import Config
from ..record import contract
from .known import KernelTypes
from .splice import CONDITION, METADATA, Spliced, filter_places

if TYPE_CHECKING:
    from ..expressions.compiled import Compiled, CompiledValues


@dataclass(frozen=True, slots=True)
class FieldExpressions:
    """``condition``: of ``filter_skb_expr``. ``values``: of ``output_skb_metadata``."""

    condition: Compiled | None = None
    values: CompiledValues | None = None

    @property
    def code(self) -> dict[str, Spliced]:
        """What goes into the object, by its place."""
        found = {CONDITION: self.condition, METADATA: self.values}
        return {place: code for place, code in found.items() if code is not None}

    @property
    def metadata_bytes(self) -> int:
        """What the values take of a record."""
        return self.values.size_bytes if self.values is not None else 0


def check_field_expressions(config: Config) -> None:
    """Raises ExpressionError for what is wrong whatever the kernel's types are."""
    if config.filter_skb_expr or config.output_skb_metadata:
        from ..expressions.compiled import check

        check("filter_skb_expr", [config.filter_skb_expr] if config.filter_skb_expr else [])
        check("output_skb_metadata", config.output_skb_metadata)


def compile_field_expressions(config: Config, types: KernelTypes) -> FieldExpressions:
    """Raises ExpressionError, and as ``KernelTypes.btf``. Imports the compiler only now."""
    if not config.filter_skb_expr and not config.output_skb_metadata:
        return FieldExpressions()
    from ..expressions.compiled import compile_filter, compile_values

    condition = values = None
    if config.filter_skb_expr:
        condition = compile_filter(config.filter_skb_expr, types.btf)
        _check_room("filter_skb_expr", config.filter_skb_expr, CONDITION, condition)
    if config.output_skb_metadata:
        texts, room = config.output_skb_metadata, contract.SKB_METADATA_MAX
        values = compile_values(texts, types.btf, room)
        _check_room("output_skb_metadata", ",".join(texts), METADATA, values)
    return FieldExpressions(condition, values)


def _check_room(field: str, text: str, place: str, compiled: Compiled) -> None:
    needed, most = len(compiled.code) // 8, filter_places("typed-large")[place].capacity
    if needed > most:
        raise ExpressionError(
            f"`{field}` is too long: it takes {needed} instructions, where {most} are free", text, 1
        )
