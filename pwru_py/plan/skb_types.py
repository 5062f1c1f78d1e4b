# SPDX-License-Identifier: Apache-2.0
"""Which types of a kernel mean an sk_buff, and which a drop reason. Pure."""

from __future__ import annotations

from ..facts.btf import ALIASES, Btf, Kind, TypeId

_STRUCTURE = (Kind.STRUCT, Kind.FWD)


class SkbTypes:
    """The types of one BTF, and of its base, that mean an sk_buff.

    ``base``: those of its base, where they are at hand.
    """

    def __init__(self, btf: Btf, base: SkbTypes | None = None) -> None:
        if base is None and btf.base is not None:
            base = SkbTypes(btf.base)
        none = frozenset[TypeId]()
        self._btf = btf
        skb = btf.named("sk_buff", _STRUCTURE)
        self._plain: frozenset[TypeId] = self._with_aliases(skb, base._plain if base else none)
        self.pointers: frozenset[TypeId] = self._pointers(
            self._plain, base.pointers if base else none
        )
        self.prototypes: frozenset[TypeId] = frozenset(btf.prototypes_with(self.pointers))
        """Those with a ``[const] struct sk_buff *`` among their parameters."""
        queue = btf.named("sk_buff_head", _STRUCTURE)
        self._heads: frozenset[TypeId] = self._with_aliases(queue, base._heads if base else none)
        self._places: frozenset[TypeId] = self._pointers(
            self.pointers, base._places if base else none
        )
        self._lists: frozenset[TypeId] = self._pointers(self._heads, base._lists if base else none)
        self.with_place: frozenset[TypeId] = frozenset(btf.prototypes_with(self._places))
        """Those with a ``struct sk_buff **``: the address of a pointer to one."""
        self.with_list: frozenset[TypeId] = frozenset(btf.prototypes_with(self._lists))
        """Those with a ``struct sk_buff_head *``: a list of them."""
        if base:
            self.prototypes |= base.prototypes
            self.with_place |= base.with_place
            self.with_list |= base.with_list

    def _pointers(
        self, types: frozenset[TypeId], inherited: frozenset[TypeId]
    ) -> frozenset[TypeId]:
        return self._with_aliases(self._btf.referring(types, (Kind.PTR,)), inherited)

    def _with_aliases(self, own: set[TypeId], inherited: frozenset[TypeId]) -> frozenset[TypeId]:
        types = new = frozenset(own) | inherited
        while new:
            new = frozenset(self._btf.referring(new, ALIASES)) - types
            types |= new
        return types


def is_drop_reason(btf: Btf, type_id: int) -> bool:
    """``enum skb_drop_reason``, or a subsystem's (``enum ovs_drop_reason``), by value."""
    plain = btf.resolve(TypeId(type_id))
    return btf.kind(plain) is Kind.ENUM and btf.type_name(plain).endswith("drop_reason")
