# SPDX-License-Identifier: Apache-2.0
"""Named sets of functions, which ``--filter-func`` takes as ``@NAME``. Pure.

Names are those of Linux 5.10 to 7.x: a kernel has some of each set, as functions come, go and are
inlined. Tracepoints of a set are for the backend that traces no functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from difflib import get_close_matches
from typing import NamedTuple

from ..errors import UsageError
from ..escape import quote
from .roles import JOURNEY_POINTS, TELLS_DROPS


class FunctionSet(NamedTuple):
    """``pattern``: a regular expression for whole names."""

    name: str
    purpose: str
    pattern: str


_CORE = (
    # a device gives a packet to the kernel, and GRO (net/core/dev.c, net/core/gro.c)
    "napi_gro_receive|gro_receive_skb|dev_gro_receive|netif_rx|__netif_rx|enqueue_to_backlog",
    "netif_receive_skb|__netif_receive_skb_one_core",
    # the bridge (net/bridge)
    "br_handle_frame_finish|br_forward|br_dev_queue_push_xmit|br_pass_frame_up|br_dev_xmit",
    # IP in, and forwarding (net/ipv4/ip_input.c, ip_forward.c, net/ipv6/ip6_input.c)
    "ip_rcv|ip_local_deliver|ip_protocol_deliver_rcu|ip_forward|ip_forward_finish",
    "ipv6_rcv|ip6_input|ip6_protocol_deliver_rcu|ip6_forward",
    # netfilter (net/netfilter/core.c)
    "nf_hook_slow",
    # protocols in (net/ipv4, net/ipv6)
    "tcp_v4_rcv|tcp_v6_rcv|tcp_rcv_established|tcp_rcv_state_process|udp_rcv|udpv6_rcv",
    "icmp_rcv|icmpv6_rcv|arp_rcv|ndisc_rcv",
    # into a socket, and out to the process (net/core/sock.c, datagram.c, net/packet)
    "tcp_data_queue|tcp_queue_rcv|__udp_enqueue_schedule_skb|sock_queue_rcv_skb(?:_reason)?",
    "packet_rcv|tpacket_rcv|skb_copy_datagram_iter",
    # protocols and IP out (net/ipv4/ip_output.c, net/ipv6/ip6_output.c)
    "__tcp_transmit_skb|udp_send_skb|udp_v6_send_skb|__ip_queue_xmit|__ip_local_out|ip_output",
    "ip_finish_output2|ip_do_fragment|ip6_xmit|__ip6_local_out|ip6_output|ip6_finish_output2",
    "ip6_fragment|arp_xmit",
    # queues, and a device takes it (net/core/dev.c, net/sched/sch_generic.c)
    "__dev_queue_xmit|sch_direct_xmit|validate_xmit_skb(?:_list)?|dev_hard_start_xmit|loopback_xmit",
    "veth_xmit",
    # the end (net/core/skbuff.c)
    "kfree_skb|kfree_skb_reason|sk_skb_reason_drop|consume_skb|napi_consume_skb|kfree_skbmem",
)

_DROPS = (
    # free with a reason (net/core/skbuff.c, net/ipv4/tcp_input.c)
    *TELLS_DROPS,
    "tcp_drop|tcp_drop_reason|\\w*_kfree_skb_reason|kfree_skb_with_reason",
    # return a reason, on the kernels that have it
    "ip_rcv_finish_core|ip_route_input_(?:noref|rcu|slow)|ip_route_use_hint|ip_mc_validate_source",
    "pskb_may_pull_reason|qdisc_pkt_len_segs_init|sk_filter_trim_cap|sock_queue_rcv_skb_reason",
    "(?:__)?ping_(?:queue_)?rcv(?:_skb)?|icmp_(?:discard|echo|redirect|timestamp|unreach)",
    "icmpv6_(?:echo_reply|notify)|ndisc_(rcv|recv_n[as]|recv_rs|redirect_rcv|router_discovery)",
    "tcp_inbound_(?:md5_|ao_)?hash|tcp_ao_verify_hash|tcp_add_backlog|tcp_child_process",
    "tcp_rcv_state_process|udp_v4_early_demux",
)

_JOURNEY = (
    *JOURNEY_POINTS,
    # where these are (net/core/dev.c, gro.c, datagram.c, skbuff.c, net/ipv4/tcp_input.c, icmp.c)
    "napi_gro_receive|gro_receive_skb|netif_rx|__netif_rx|netif_receive_skb|__dev_queue_xmit",
    "tcp_rcv_established|skb_copy_datagram_iter|__icmp_send|tcp_v[46]_send_reset",
    "consume_skb|kfree_skb|kfree_skb_reason|sk_skb_reason_drop",
)

_SETS = (
    ("core", "the main way in and out, layer by layer", _CORE),
    ("journey", "in and out of devices and sockets, and the end", _JOURNEY),
    ("drops", "free with a reason, or return one", _DROPS),
    (
        "netfilter",
        "hooks, tables, conntrack and NAT",
        (r"_*(?:nf|nft|nfqnl|xt|ipt|ip6t|arpt|ebt|br_nf)_\w+|(?:ip6?|arp)_tables_\w+",),
    ),
    ("tcp", "whole TCP", (r"_*(?:tcp|tcp4|tcp6|inet_csk)_\w+", "tcp:.*")),
    ("udp", "whole UDP", (r"_*(?:udp|udp4|udp6|udpv6)_\w+", "udp:.*")),
)
SETS = {
    name: FunctionSet(name, purpose, "|".join(sorted(patterns)))
    for name, purpose, patterns in _SETS
}
"""By name, the most asked for first."""

_NAMED = re.compile(r"@(\w*)")


def expand(pattern: str) -> str:
    """A regular expression in which each ``@NAME`` is the set's functions.

    No function has an ``@`` in its name. Raises UsageError for a set that there is not.
    """
    return _NAMED.sub(lambda found: f"(?:{_set(found[1]).pattern})", pattern)


def matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """Tells whether a whole name matches ``pattern``, which may name sets; '' is for every name."""
    return re.compile(expand(pattern) or ".*").fullmatch


INSIDE = "@inside"
"""Of functions without an sk_buff: every one that takes one of networking's structures."""


def plain_matcher(pattern: str) -> Callable[[str], re.Match[str] | None]:
    """The same of functions without an sk_buff, of which there is no set but ``INSIDE``.

    Raises UsageError for another set, and for what is no regular expression.
    """
    if pattern.startswith("@"):
        raise UsageError(
            f"there is no set {quote(pattern)} of functions without an sk_buff: give {INSIDE}, "
            "names, or regular expressions"
        )
    try:
        return re.compile(pattern).fullmatch
    except (re.error, OverflowError, RecursionError) as error:
        raise UsageError(f"cannot read the pattern {quote(pattern)}: {error}") from None


def _set(name: str) -> FunctionSet:
    try:
        return SETS[name]
    except KeyError:
        near = get_close_matches(name, SETS, n=1, cutoff=0.4)
        hint = f": did you mean @{near[0]}?" if near else ""
        known = ", ".join(f"@{each}" for each in SETS)
        raise UsageError(f"there is no set {quote(f'@{name}')}{hint} (sets: {known})") from None
