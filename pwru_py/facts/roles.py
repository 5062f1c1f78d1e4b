# SPDX-License-Identifier: Apache-2.0
"""What is known of kernel functions beyond their types: who frees, who copies, who repeats. Pure.

Each set names the kernel source that says so.
"""

from __future__ import annotations

import re

DROP_FUNCTION = "kfree_skb"
"""Where the kernel has no reasons, this alone means a drop (consume_skb does not)."""

FIRST = tuple(
    re.compile(pattern)
    for pattern in (
        # where packets come in, go out, and die
        r"kfree_skb(_reason)?|sk_skb_reason_drop|ip_rcv|ip_local_out|ipv6_rcv|ip6_local_out",
        r"__kfree_skb|kfree_skb_list_reason|kfree_skbmem|(__)?consume_(stateless_)?skb",
        r"(__)?ip6?_(local_out|rcv(_finish)?|output|local_deliver|forward(_finish)?"
        r"|finish_output2?|queue_xmit)"
        r"|ipv6_rcv|ip6_input|nf_hook_slow|ipt_do_table|ip6t_do_table|nft_do_chain(_\w+)?",
        r"(tcp_v[46]|udp|udpv6|icmp|icmpv6|tcp|arp|ndisc)_\w+|__udp4_lib_\w+|__udp6_lib_\w+",
        r"(__)?dev_queue_xmit|dev_hard_start_xmit|(__)?netif_(receive_skb|rx)\w*|napi_gro_receive"
        r"|skb_scrub_packet|veth_xmit|loopback_xmit|validate_xmit_skb",
        r"nf_\w+|nft_\w+|ip6?_\w+|ipv6_\w+",
        r"(__)?(dev|netif|napi|neigh|br)_\w+",
    )
)
"""Most telling first: a slow backend traces these while it attaches the rest."""

COPIES_INTO_FIRST = frozenset(
    (
        "__copy_skb_header", "__skb_clone", "skb_copy_header", "skb_zerocopy", "skb_zerocopy_clone",
        "ip_copy_metadata", "ip6_copy_metadata",
    )
)  # fmt: skip
"""These copy one sk_buff into another. The memory of the first still holds an earlier packet; the
last is the packet (net/core/skbuff.c, net/ipv4/ip_output.c, net/ipv6/ip6_output.c).
"""

FREES_MEMORY = frozenset({"kfree_skbmem", "napi_skb_cache_put"})
"""The last function that sees a packet: after it the address may be another packet's."""

NO_VERDICT = re.compile(
    r"skb_release_\w+|(__traceiter|__probestub|__bpf_trace|perf_trace|trace_event_raw_event)_\w+"
)
"""These take a reason that says how to recycle pages, and are called for consumed packets too
(__kfree_skb in net/core/skbuff.c passes NOT_SPECIFIED); what serves a tracepoint repeats its
caller.
"""
