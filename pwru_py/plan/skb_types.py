# SPDX-License-Identifier: Apache-2.0
"""Which types of a kernel mean an sk_buff, and which a drop reason. Pure."""

from __future__ import annotations

from ..facts.btf import ALIASES, Btf, Kind, TypeId


class SkbTypes:
    """The types of one BTF, and of its base, that mean an sk_buff."""

    def __init__(self, btf: Btf) -> None:
        base = SkbTypes(btf.base) if btf.base is not None else None
        self._btf = btf
        plain = btf.named("sk_buff", (Kind.STRUCT, Kind.FWD))
        self._plain: frozenset[TypeId] = self._with_aliases(plain, base._plain if base else None)
        pointers = btf.referring(self._plain, (Kind.PTR,))
        self.pointers: frozenset[TypeId] = self._with_aliases(
            pointers, base.pointers if base else None
        )
        self.prototypes = btf.prototypes_with(self.pointers)
        """Those with a ``[const] struct sk_buff *`` among their parameters."""
        if base:
            self.prototypes |= base.prototypes

    def _with_aliases(
        self, own: set[TypeId], inherited: frozenset[TypeId] | None
    ) -> frozenset[TypeId]:
        types = new = frozenset(own) | (inherited or frozenset())
        while new:
            new = frozenset(self._btf.referring(new, ALIASES)) - types
            types |= new
        return types


def is_drop_reason(btf: Btf, type_id: int) -> bool:
    """``enum skb_drop_reason``, or a subsystem's (``enum ovs_drop_reason``), by value."""
    plain = btf.resolve(TypeId(type_id))
    return btf.kind(plain) is Kind.ENUM and btf.type_name(plain).endswith("drop_reason")
