# SPDX-License-Identifier: Apache-2.0
"""How the kernel's structures that records hold are made."""

from __future__ import annotations

from ..errors import FeatureUnsupportedError
from ..facts.btf import Btf
from ..facts.structures import Compound, shape_of
from ..options.config import Config
from ..record import contract
from ..record.details import NO_SHAPES, Shapes
from .conntrack import find_entry
from .known import KernelTypes

_COUNTED = {"frags": "nr_frags"}  # the others are what the memory held before


def find_shapes(config: Config, types: KernelTypes) -> Shapes:
    """Those that the session asks for. Raises FeatureUnsupportedError."""
    if not (config.has_structures or config.output_conntrack):
        return NO_SHAPES
    return Shapes(
        _shape(types.btf, "sk_buff", contract.SKB_MAX) if config.output_skb else None,
        _shape(types.btf, "skb_shared_info", contract.SHARED_MAX)
        if config.output_skb_shared_info
        else None,
        find_entry(config, types) if config.output_conntrack else None,
    )


def _shape(btf: Btf, name: str, most_bytes: int) -> Compound:
    found = shape_of(btf, name, _COUNTED)
    if found is None or found.bytes > most_bytes:
        what = f"has {found.bytes} bytes, more than {most_bytes}" if found else "is not in its BTF"
        raise FeatureUnsupportedError(
            f"struct {name} of this kernel {what}: leave `output_{_FIELDS[name]}` out",
            feature=f"struct {name}",
        )
    return found


_FIELDS = {"sk_buff": "skb", "skb_shared_info": "skb_shared_info"}
