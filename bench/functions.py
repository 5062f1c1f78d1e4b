# SPDX-License-Identifier: Apache-2.0
"""What is attached where attaching is slow: the functions of a packet's way, for both tools."""

from __future__ import annotations

import subprocess

from tests.vm.kernels import fetch

# Attaching 1 500 single kprobes takes a minute of every start and stop in a guest.
FEW = "|".join(
    (
        "kfree_skb_reason|kfree_skb|consume_skb|kfree_skbmem|skb_release_data|__skb_.*",
        "ip_rcv|ip_rcv_core|ip_rcv_finish|ip_local_deliver|ip_local_deliver_finish",
        "ip_output|ip_finish_output2?|__ip_local_out|ip_local_out|ip_send_skb|ip_route_.*",
        "__dev_queue_xmit|dev_hard_start_xmit|veth_xmit|netif_rx|__netif_rx|netif_rx_internal",
        "enqueue_to_backlog|__netif_receive_skb_core|__netif_receive_skb_one_core|udp_.*|__udp.*",
    )
)


def has_multi(kernel: str) -> bool:
    """Whether the kernel was built with fprobe: many functions in one link."""
    wanted = "^CONFIG_FPROBE=y"
    config = fetch(kernel).config
    return subprocess.run(["grep", "-q", wanted, str(config)], check=False).returncode == 0


def arguments(kernel: str) -> list[str]:
    """What both tools are told besides the expression: nothing where attaching is fast."""
    return [] if has_multi(kernel) else ["--filter-func", FEW]
