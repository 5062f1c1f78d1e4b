# SPDX-License-Identifier: Apache-2.0
"""What fields are fields of: expressions begin with its name."""

from __future__ import annotations

from typing import NamedTuple


class Root(NamedTuple):
    """``name``: as it is written; ``struct``: of the kernel, to which it is a pointer."""

    name: str
    struct: str


SKB = Root("skb", "sk_buff")
XDP = Root("xdp", "xdp_buff")
NAMES = frozenset({SKB.name, XDP.name})
