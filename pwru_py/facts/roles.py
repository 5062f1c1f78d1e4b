# SPDX-License-Identifier: Apache-2.0
"""What is known of kernel functions beyond their types: who frees, who copies, who repeats. Pure.

Each set names the kernel source that says so.
"""

from __future__ import annotations

import re
from collections.abc import Collection

from .meanings import bare_function

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

NETWORKING = re.compile(
    r"sock|net|net_device|dst_entry|rtable|rt6_info|neighbour|neigh_\w+|in_device|inet6_dev"
    r"|nf_\w+|nft_\w+|xt_\w+|ip6?t_\w+|flowi\w*|fib\w*|Qdisc|netdev_queue|napi_struct|gro_\w+"
    r"|softnet_data|sk_buff_head|xfrm_\w+|net_bridge\w*|request_sock|msghdr|xdp_\w+"
    r"|raw_sock|raw_hashinfo|(?:inet|ipv6|tcp|udp|ip|ip6|tun|veth|vxlan|bond|tcf)_\w+"
)
"""Structures that functions of networking work on, beside the sk_buff."""

LOCKS = re.compile(
    r"(?:_raw|do_raw|queued|native_queued)_(?:spin|read|write)_\w+|rcu_\w+|__rcu_\w+"
)
"""The whole kernel calls these, and BPF's maps do: a guest stood still with probes there."""

FREES_MEMORY = frozenset({"kfree_skbmem", "napi_skb_cache_put"})
"""The last function that sees a packet: after it the address may be another packet's."""

BEHIND_ENTRY = FREES_MEMORY | {"skb_release_data", "skb_free_head"}
"""Those that see it when it has given conntrack's entry back: behind skb_release_head_state()."""

NO_VERDICT = re.compile(
    r"skb_release_\w+|(__traceiter|__probestub|__bpf_trace|perf_trace|trace_event_raw_event)_\w+"
)
"""These take a reason that says how to recycle pages, and are called for consumed packets too
(__kfree_skb in net/core/skbuff.c passes NOT_SPECIFIED); what serves a tracepoint repeats its
caller.
"""

CONSUMED_TRACEPOINT = "skb:consume_skb"
"""The end of a packet that is no drop, called when nobody else holds it (net/core/skbuff.c)."""

QUEUED_TRACEPOINT = "net:net_dev_queue"
"""A packet comes to its device's queue (__dev_queue_xmit() in net/core/dev.c)."""

GRO_ENTRIES = frozenset({"net:napi_gro_receive_entry", "net:napi_gro_frags_entry"})
"""A packet comes in, and GRO may join it to another without a word (net/core/gro.c)."""

ENTRIES = GRO_ENTRIES | frozenset(
    ("net:netif_rx_entry", "net:netif_receive_skb_entry", "net:netif_receive_skb_list_entry")
)
"""A packet comes in by a device: one of these, and once for each device (net/core/dev.c,
net/core/gro.c).
"""

TCP_TRACEPOINT = "tcp:tcp_probe"
"""A connection takes the packet in (tcp_rcv_established() in net/ipv4/tcp_input.c)."""

READ_TRACEPOINT = "skb:skb_copy_datagram_iovec"
"""A process reads the packet (net/core/datagram.c)."""

TAKES = frozenset({TCP_TRACEPOINT, READ_TRACEPOINT})
"""A socket has the packet: no device sees it again."""

ERROR_TRACEPOINT = "icmp:icmp_send"
"""An ICMP error is sent because of the packet (net/ipv4/icmp.c)."""

RESET_TRACEPOINT = "tcp:tcp_send_reset"
"""A RST is sent because of the packet (net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c)."""

RELEASES = "skb_release_head_state"
"""Called once for each packet, on every way by which it ends (net/core/skbuff.c)."""

FREES_LAST = frozenset({"__kfree_skb", RELEASES, "kfree_skb_partial", CONSUMED_TRACEPOINT})
"""Called when nobody else holds the packet: it ends here (net/core/skbuff.c)."""

ENDS = FREES_MEMORY | {RELEASES, CONSUMED_TRACEPOINT}
"""Without one of these, an address used again counts as the same packet."""

FREE_PATH = (
    FREES_MEMORY
    | FREES_LAST
    | frozenset(
        (
            "kfree_skb", "kfree_skb_reason", "sk_skb_reason_drop", "kfree_skb_list",
            "kfree_skb_list_reason", "consume_skb", "__consume_stateless_skb", "napi_consume_skb",
            "skb_release_all", "skb_release_data", "skb_free_head", "skb_attempt_defer_free",
            "napi_skb_free_stolen_head", "tcp_drop", "tcp_drop_reason", "sock_wfree",
            "__sock_wfree", "sock_rfree", "sock_efree", "sock_pfree", "sock_ofree", "sock_edemux",
            "tcp_wfree", "unix_destruct_scm", "skb_orphan_partial",
        )
    )
)  # fmt: skip
"""What may still see a packet between its last word and the end of its memory: the functions that
free it, and destructors (net/core/skbuff.c, net/core/sock.c, net/ipv4/tcp_output.c).
"""

EVERY_COPY = "__copy_skb_header"
"""What all copies go through, unless the compiler has put it into each (net/core/skbuff.c)."""

_COPIES = ("skb_clone", "skb_copy", "__pskb_copy_fclone", "skb_copy_expand")
_MADE_BY = {
    "ip_copy_metadata": "fragments of IPv4 packets",
    "ip6_copy_metadata": "fragments of IPv6 packets",
    "ip_fraglist_init": "fragments of IPv4 packets that had been joined before",
    "ip6_fraglist_init": "fragments of IPv6 packets that had been joined before",
    "skb_split": "TCP segments that are split",
    "skb_gro_receive": "packets that GRO joins",
    "skb_gro_receive_list": "packets that GRO joins in a list",
}


def not_followed(hooks: Collection[str]) -> list[str]:
    """What of a followed packet is lost on a kernel where these functions alone can be watched.

    Where what is made of one packet is made: net/ipv4/ip_output.c, net/ipv6/ip6_output.c,
    net/core/skbuff.c, net/core/gro.c, net/ipv4/udp_offload.c.
    """
    copies = () if EVERY_COPY in hooks else [f for f in _COPIES if f not in hooks]
    lost = [what for function, what in _MADE_BY.items() if function not in hooks]
    return [f"copies made by {function}" for function in copies] + lost


UNSAID = "NOT_SPECIFIED"
"""The reason that says nothing."""

TOO_LONG = "PKT_TOO_BIG"
"""The packet does not fit the MTU of its way, and may not be cut."""

NO_REASON = "no reason given by this kernel"
"""What a summary says in place of one."""

LIST_FREES = frozenset({"kfree_skb_list", "kfree_skb_list_reason", "skb_release_data"})
"""Free a list: a queue's packets, or pieces of a packet that has arrived (skb_release_data(), into
which the others may be inlined). Before 6.4 (commit a4650da2a2d6) they free pieces as they free
drops, with no reason of their own.
"""

PIECE_FREES = frozenset({"skb_release_data"})
"""Frees the pieces of a packet that has arrived, on later kernels too: consume_skb() says nothing
to __kfree_skb(), which passes NOT_SPECIFIED on (net/core/skbuff.c).
"""


def is_piece(reason: str, function: str, lists: Collection[str]) -> bool:
    """Whether what ``function`` frees may be a piece of a packet that has arrived.

    ``lists``: those of LIST_FREES, on kernels that do not tell.
    """
    return function in lists and reason in ("", UNSAID)


CLOSES = frozenset({"sk_stream_kill_queues"})
"""Frees what a TCP socket had not read when it was closed. Of a FIN, which every connection ends
with, no byte is left by then (net/core/stream.c, tcp_data_queue() in net/ipv4/tcp_input.c).
"""


def is_read(function: str, *, empty: bool) -> bool:
    """Whether what ``function`` frees had been taken in, although the kernel calls it a drop.

    ``empty``: no byte of the packet is left.
    """
    return empty and function in CLOSES


TAKE_LAST = frozenset({"tcp_v4_rcv", "tcp_v6_rcv"})
"""With no reason of their own these free, as a drop, the last packets of a connection, which a
TIME-WAIT socket has taken in (do_time_wait in net/ipv4/tcp_ipv4.c, net/ipv6/tcp_ipv6.c).
"""

UNREAD_FREES = frozenset({"inet_sock_destruct"})
"""Frees what a datagram socket had not read when it was closed: of ICMP, copies for raw sockets,
which get one of every message (net/ipv4/af_inet.c, net/ipv4/raw.c).
"""

ECHO_REPLIES = frozenset({"icmp_rcv", "icmpv6_rcv", "ping_rcv", "pingv6_rcv"})
"""Free an echo reply that no ping socket takes, as NO_SOCKET. Raw sockets, which most pings use,
have had their copies before (net/ipv4/icmp.c, net/ipv4/ip_input.c: raw_local_deliver()).
"""

_NO_SOCKET = frozenset({"", UNSAID, "NO_SOCKET"})


def is_echo(reason: str, function: str) -> bool:
    """Whether what ``function`` frees as a drop is an echo message that ICMP has taken in.

    Kernels without reasons (``reason`` '') free a bad message in the same way, and icmpv6_rcv()
    frees requests so, too (net/ipv6/icmp.c).
    """
    return function in ECHO_REPLIES and reason in _NO_SOCKET


def is_sealed(proto: int, target_port: int) -> bool:
    """Whether IPsec takes the packet in, and gives what is in it to the same device.

    ESP and AH, and ESP in UDP (net/xfrm/xfrm_input.c: gro_cells_receive(); RFC 3948).
    """
    return proto in (50, 51) or (proto == 17 and target_port == 4500)


DROP_TRACEPOINT = "skb:kfree_skb"
"""The kernel's own word for a drop (include/trace/events/skb.h)."""

TRACEPOINT_SYSTEMS = (
    (re.compile(r"kfree_skb|consume_skb|skb_\w+"), "skb"),
    (re.compile(r"(net|netif|napi)_\w+"), "net"),
    (re.compile(r"subflow_\w+"), "mptcp"),
    (re.compile(r"(tcp|udp|icmp|sock|qdisc)_\w+"), r"\1"),
)
"""TRACE_SYSTEM of the kernel's tracepoints by their names, which BTF does not tell
(include/trace/events: skb.h, net.h, mptcp.h, tcp.h, udp.h, icmp.h, sock.h, qdisc.h).
"""

TRACEPOINT_FRAMES = re.compile(
    r"bpf_prog_\w+|bpf_trace_run\d+|bpf_dispatcher_\w+|__bpf_trace_\w+|__traceiter_\w+"
)
"""On the stack of a tracepoint's program before the function that the tracepoint is in
(include/trace/bpf_probe.h, include/linux/tracepoint.h).
"""

RUNS_TRACEPOINT = re.compile(r"bpf_trace_run\d+")
"""Which of them is always there, and named: programs are not where kallsyms leaves them out
(kernel/trace/bpf_trace.c).
"""

RETURN_TRAMPOLINES = re.compile(
    r"return_to_handler|arch_rethook_trampoline|(__)?kretprobe_trampoline|bpf_trampoline_\w+"
    r"|ftrace_(regs_)?c(all|aller)|ftrace_trampoline"
)
"""What a tracer of returns has a function return to, in its caller's place
(arch/x86/kernel/ftrace_64.S, rethook.c and kprobes/core.c, kernel/bpf/trampoline.c).
"""

RETURN_TRAMPOLINE_NAMES = (
    "kretprobe_trampoline", "__kretprobe_trampoline", "arch_rethook_trampoline",
    "return_to_handler",
)  # fmt: skip
"""Those that lie where a return address was (5.10 to 7.x)."""

TELLS_DROPS = frozenset(
    (
        DROP_TRACEPOINT, DROP_FUNCTION, "kfree_skb_reason", "sk_skb_reason_drop", "kfree_skb_list",
        "kfree_skb_list_reason",
    )
)  # fmt: skip
"""Who asks for these asks for drops."""

JOURNEY_POINTS = (
    ENTRIES
    | TAKES
    | {QUEUED_TRACEPOINT, CONSUMED_TRACEPOINT, DROP_TRACEPOINT, ERROR_TRACEPOINT, RESET_TRACEPOINT}
)
"""What tells a packet's way from device to device, and its end."""

FRAGMENTATION = "fragmentation"
"""Who has cut a packet into fragments (net/ipv4/ip_output.c, net/ipv6/ip6_output.c)."""

SEGMENTATION = "segmentation"
"""Who has cut a packet into segments as its device cannot (validate_xmit_skb() in net/core/dev.c).
"""

_TAKERS = tuple(
    (re.compile(pattern), who)
    for pattern, who in (
        (r"icmp(v6)?_rcv|ping(v6)?_rcv", "ICMP"),
        (r"arp_\w+", "ARP"),
        (r"igmp_\w+|mld_\w+|igmp6_\w+", "multicast membership"),
        (r"tcp_\w+|sk_stream_kill_queues|inet_csk_\w+", "TCP"),
        (r"(tpacket|packet)_rcv\w*|packet_\w+", "a packet socket"),
        (r"ip_do_fragment|ip6?_fragment", FRAGMENTATION),
        (r"validate_xmit_skb", SEGMENTATION),
        (r"skb_pp_cow_data|veth_xdp_\w+", "XDP"),
        (r"tun_\w+|tap_\w+", "the program behind the device"),
        (r"(ip|ip6|nf_ct_frag6|inet_frag|ipv6_frag)_?\w*(defrag|frag|reasm)\w*", "reassembly"),
        (r"skb_defer_free_flush", "a socket"),
        (r"kfree_skb_list(_reason)?|skb_release_data", "a larger packet"),
        (r"vti?_rcv\w*|xfrm\w*_(rcv|input)\w*", "IPsec"),
    )
)


XDP_COPIES = frozenset({"skb_pp_cow_data"})
"""Consumes a packet as XDP gets a copy, with room before it, that goes on (net/core/skbuff.c)."""

REASSEMBLY = "reassembly"
"""Who takes fragments in."""

_UNJOINED = {
    "ip6_mc_input": "no one here has joined the group",
    "ipvlan_process_multicast": "no ipvlan device has joined the group",
    "ip_rcv_finish_core": "perhaps no one here has joined the group",
}


def unwanted(reason: str, function: str, target: str) -> str:
    """What to say of a drop that is as it should be; '' of others. ``target``: its address.

    A group's packets come to all, and most hosts have not joined it (net/ipv6/ip6_input.c,
    drivers/net/ipvlan/ipvlan_core.c; net/ipv4/route.c, which refuses other routes likewise).
    """
    if reason not in ("", UNSAID) or not _is_group(target):
        return ""
    return _UNJOINED.get(bare_function(function), "")


def _is_group(address: str) -> bool:
    """Whether it is a multicast address, RFC 5771 and RFC 4291."""
    first = address.partition(".")[0]
    return address.startswith("ff") or (first.isdigit() and 224 <= int(first) < 240)


READERS = re.compile(r"\w*_recvmsg|skb_consume_udp|(__)?skb_free_datagram\w*")
"""Free a packet that the process has read in which they run (net/core/datagram.c, net/ipv4/udp.c,
which copies what is in one piece past ``skb:skb_copy_datagram_iovec``).
"""


def taker(function: str) -> str:
    """Who takes in a packet that ``function`` frees as consumed, as users call it; '' unknown."""
    function = bare_function(function)
    return next((who for pattern, who in _TAKERS if pattern.fullmatch(function)), "")
