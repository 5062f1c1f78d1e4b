# SPDX-License-Identifier: Apache-2.0
"""Counters of drivers (``ethtool -S``): which of them tell of losses. Pure.

Each driver names its own: veth, virtio_net, mlx5, ixgbe, ice, ena, bnxt, tg3 and hv_netvsc were
read. A name says here what it says there, without the queue: ``rx_queue_0_xdp_drops`` and
``rx1_xdp_drop`` are ``rx_xdp_drops`` and ``rx_xdp_drop``, added up.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum

_STANDARD = frozenset(
    f"{way}_{name}"
    for way in ("rx", "tx")
    for name in (
        "dropped", "errors", "missed_errors", "fifo_errors", "over_errors", "crc_errors",
        "frame_errors", "length_errors", "aborted_errors", "carrier_errors", "heartbeat_errors",
        "window_errors",
    )
)  # fmt: skip
"""``ip -s -s link`` has them (struct rtnl_link_stats64): those are read there."""


class Loss(StrEnum):
    """What a counter of a driver tells of."""

    XDP = "xdp"
    LIMIT = "limit of the provider"
    MEMORY = "memory"
    RING = "ring"
    RECEIVED = "received"
    SENT = "sent"


_KINDS = (  # the first that matches
    (Loss.LIMIT, re.compile(r"allowance_exceeded$")),
    (Loss.XDP, re.compile(r"xdp.*(drop|abort|err)")),
    (Loss.MEMORY, re.compile(r"alloc.*(fail|err)|no_memory")),
    (Loss.RING, re.compile(r"^rx.*(no_?buf|out_of_buffer|missed|no_dma)|^rxbds_empty")),
    (Loss.SENT, re.compile(r"(^|_)tx_.*(drop|discard)")),
    (Loss.RECEIVED, re.compile(r"drop|discard")),
)
_NO_LOSS = ("csum", "peer_ifindex", "steer_missed")


def kind(name: str) -> Loss | None:
    """``name``: without the queue."""
    if name in _STANDARD or any(part in name for part in _NO_LOSS):
        return None
    return next((loss for loss, pattern in _KINDS if pattern.search(name)), None)


def losses(counters: Mapping[str, int]) -> dict[str, int]:
    """Those that tell of losses, by names without the queue.

    Where a driver has the sum of its queues under the same name, too, that is not added to them.
    """
    queues: dict[str, int] = {}
    whole: dict[str, int] = {}
    for told, value in counters.items():
        name = _bare(told)
        if kind(name) is None:
            continue
        if name == told:
            whole[name] = value
        else:
            queues[name] = queues.get(name, 0) + value
    return {name: max(queues.get(name, 0), whole.get(name, 0)) for name in queues | whole}


def _bare(name: str) -> str:
    words = re.split(r"[^a-z]+", name.lower())
    return "_".join(word for word in words if word not in ("", "queue"))
