# SPDX-License-Identifier: Apache-2.0
"""A kernel's types by its headers: the C text that a compiler turns into BTF. Pure.

The text has one function, whose argument leads to all that is asked for. What a kernel lacks is
left out by the compiler itself: a structure that no header defines is a forward declaration, and
``__if_exists`` (of Microsoft's C, which clang has) asks for functions. So one text does for all
kernels, and is compiled once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from .skb_functions import WITH_REASON, WITH_SKB

BTF_NAME = "the kernel's headers"
"""Of the BTF that comes of it, for messages."""
PROBE = "pwru_types"
"""The function's name: by it the object file is known."""
FUNCTIONS = "pwru_functions"
TRACEPOINTS = "pwru_tracepoints"
"""Structures with a member for each function, for each tracepoint's ``register_trace_NAME``."""

_HEADERS = """
linux/skbuff.h linux/netdevice.h linux/etherdevice.h linux/if_ether.h linux/filter.h linux/icmp.h
linux/icmpv6.h linux/igmp.h linux/mroute.h linux/mroute6.h linux/mroute_base.h linux/netfilter.h
linux/netfilter_ipv4.h linux/netfilter_ipv6.h linux/netlink.h linux/netpoll.h linux/ptp_classify.h
linux/rtnetlink.h linux/skmsg.h linux/sock_diag.h linux/tcp.h linux/udp.h linux/inetdevice.h
linux/bpf.h linux/perf_event.h linux/kprobes.h linux/fprobe.h linux/fdtable.h linux/fs.h
linux/cgroup.h linux/kernfs.h linux/module.h linux/sched.h linux/mm_types.h linux/rhashtable.h
linux/ipv6.h linux/if_vlan.h linux/netfilter/x_tables.h linux/ptr_ring.h
net/act_api.h net/addrconf.h net/af_unix.h net/arp.h net/bpf_sk_storage.h net/calipso.h
net/checksum.h net/cipso_ipv4.h net/devlink.h net/dst.h net/fib_rules.h net/flow_dissector.h
net/gen_stats.h net/genetlink.h net/gro.h net/gro_cells.h net/icmp.h net/if_inet6.h
net/inet6_connection_sock.h net/inet6_hashtables.h net/inet_common.h net/inet_connection_sock.h
net/inet_ecn.h net/inet_frag.h net/inet_hashtables.h net/inet_sock.h net/ioam6.h net/ip.h
net/ip6_checksum.h net/ip6_fib.h net/ip6_route.h net/ip_fib.h net/ip_tunnels.h net/ipv6.h
net/lwtunnel.h net/mptcp.h net/ndisc.h net/neighbour.h net/net_namespace.h net/netlabel.h
net/netlink.h net/ping.h net/pkt_cls.h net/pkt_sched.h net/raw.h net/rawv6.h net/route.h
net/sch_generic.h net/seg6.h net/seg6_local.h net/sock.h net/sock_reuseport.h net/strparser.h
net/tcp.h net/transp_v6.h net/tso.h net/udp.h net/udplite.h net/xdp.h net/xfrm.h
net/netfilter/nf_conntrack.h net/netfilter/nf_log.h net/netfilter/nf_queue.h
net/netfilter/nf_tables.h
trace/events/skb.h trace/events/net.h trace/events/napi.h trace/events/qdisc.h
trace/events/sock.h trace/events/tcp.h trace/events/udp.h trace/events/icmp.h
"""
HEADERS = tuple(_HEADERS.split())
"""Of include/: all that declare functions or structures for us, in 4.18 and later."""

UAPI = "uapi/linux/bpf.h"

_STRUCTURES = """
sk_buff sk_buff_head skb_shared_info skb_shared_hwtstamps skb_ext skb_frag bio_vec page_frag
net_device net net_device_ops net_device_core_stats netdev_queue Qdisc Qdisc_ops napi_struct
header_ops ethtool_ops rtnl_link_ops in_device inet6_dev in_ifaddr inet6_ifaddr vlan_group
netdev_rx_queue pcpu_sw_netstats pcpu_lstats packet_type softnet_data gro_list
sock sock_common sock_cgroup_data socket socket_alloc socket_wq proto proto_ops inet_sock
inet_connection_sock inet_connection_sock_af_ops tcp_sock udp_sock raw_sock unix_sock ipv6_pinfo
request_sock request_sock_queue inet_request_sock tcp_request_sock inet_timewait_sock
tcp_timewait_sock inet_bind_bucket tcp_congestion_ops tcp_skb_cb inet_skb_parm inet6_skb_parm
napi_gro_cb sk_filter sk_psock sock_reuseport
dst_entry dst_ops rtable rt6_info fib6_info fib6_nh fib_info fib_nh fib_nh_common fib_table
neighbour neigh_table neigh_parms hh_cache lwtunnel_state metadata_dst ip_tunnel_info ip_tunnel_key
xfrm_state xfrm_policy sec_path flowi flowi4 flowi6
iphdr ipv6hdr tcphdr udphdr icmphdr icmp6hdr arphdr ethhdr vlan_ethhdr ip_options ip_options_rcu
nf_hook_state nf_hook_entries nf_hook_ops nf_bridge_info nf_conn nf_conntrack_tuple_hash
nf_conntrack_tuple nf_conntrack ip_ct_tcp nft_chain nft_base_chain nft_rule nft_rule_dp nft_table
nft_pktinfo nft_traceinfo nft_verdict nft_regs nft_expr nft_expr_ops nft_immediate_expr
xt_table xt_table_info xt_action_param ipt_entry
cgroup cgroup_subsys_state css_set kernfs_node task_struct files_struct fdtable file inode dentry
path mm_struct cred nsproxy ns_common user_namespace pid pid_namespace
xdp_buff xdp_frame xdp_rxq_info xdp_mem_info bpf_map bpf_prog bpf_prog_aux bpf_ringbuf htab_elem
bpf_link_info bpf_raw_tp_link bpf_raw_tracepoint_args bpf_map_memory bpf_perf_event_data
kprobe pt_regs pcpu_hot module page rhltable refcount_struct possible_net_t spinlock
tc_action tcf_proto tcf_result tcf_block mini_Qdisc sockaddr_storage nlmsghdr netlink_skb_parms
"""
STRUCTURES = tuple(_STRUCTURES.split())
_ENUMS = """
skb_drop_reason skb_drop_reason_subsys bpf_attach_type bpf_func_id bpf_map_type bpf_prog_type
tcp_conntrack ip_conntrack_info ip_conntrack_status rx_handler_result netdev_tx
"""
ENUMS = tuple(_ENUMS.split())

_EVENTS = """
consume_skb devlink_trap_report icmp_send kfree_skb napi_gro_frags_entry napi_gro_receive_entry
net_dev_queue net_dev_start_xmit net_dev_xmit netif_receive_skb netif_receive_skb_entry
netif_receive_skb_list_entry netif_rx netif_rx_entry netif_rx_ni_entry qdisc_dequeue qdisc_drop
qdisc_enqueue skb_copy_datagram_iovec sock_rcvqueue_full tcp_ao_handshake_failure
tcp_ao_key_not_found tcp_ao_mismatch tcp_ao_rnext_request tcp_ao_wrong_maclen tcp_bad_csum
tcp_hash_ao_required tcp_hash_bad_header tcp_hash_md5_mismatch tcp_hash_md5_required
tcp_hash_md5_unexpected tcp_probe tcp_retransmit_skb tcp_send_reset tcp_sendmsg_locked
udp_fail_queue_rcv_skb
"""
EVENTS = tuple(_EVENTS.split())
"""Tracepoints that are given an sk_buff, on the kernels from 5.10 to 7.3."""

_BEFORE = f"""\
#include <linux/types.h>
#undef asm_inline
#define asm_inline asm
#undef asm_volatile_goto
#define asm_volatile_goto(x...) asm volatile("invalid use of asm_volatile_goto")
#define CC_USING_FENTRY
#define BCC_SEC(name) __attribute__((section(name), used))
#undef _UAPI__LINUX_BPF_H__
#include <{UAPI}>
"""
_DECLARATION = re.compile(r"\b(\w+)\s*\(((?:[^(){};]|\([^(){};]*\))*)\)[\s\w]*[;{]")


_STRUCTURE = re.compile(r"\b(?:struct|union|enum) (\w+)")


def declared(header: str) -> set[str]:
    """Functions that the text of a header seems to declare with an sk_buff among the arguments."""
    if "sk_buff" not in header:
        return set()
    return {name for name, taken in _DECLARATION.findall(header) if "sk_buff" in taken}


def named_structures(header: str) -> set[str]:
    """Those that the text of a header names: clang may take one for a function of its name."""
    return {*_STRUCTURE.findall(header)}


def known_functions() -> set[str]:
    """Those that take an sk_buff on the kernels that we know."""
    return {*WITH_REASON, *(name for names in WITH_SKB.values() for name in names.split())}


def types_text(functions: Iterable[str], events: Iterable[str] = EVENTS) -> str:
    """The C text; ``functions``: names that may be declared.

    A structure is asked for behind ``const volatile``, as nothing in the kernel's own structures
    is: of what a member points to in plain, clang's BTF has the name alone.
    """
    functions, events = sorted(functions), [f"register_trace_{name}" for name in events]
    lines = [
        _BEFORE,
        *(f"#if __has_include(<{name}>)\n#include <{name}>\n#endif" for name in HEADERS),
    ]
    lines.append(
        "#define PWRU_TYPE(x) __if_exists(x) { typedef typeof(&x) pwru_##x; } \\\n"
        "  __if_not_exists(x) { typedef void *pwru_##x; }"
    )
    lines += [f"PWRU_TYPE({name})" for name in (*functions, *events)]
    lines += _structure(FUNCTIONS, functions)
    lines += _structure(TRACEPOINTS, events)
    taken = [f"const volatile struct {name} *" for name in STRUCTURES]
    taken += [f"const volatile enum {name} *" for name in ENUMS]
    lines.append(
        f"struct pwru_asked {{ void (*structures)({', '.join(taken)}); "
        f"struct {FUNCTIONS} functions; struct {TRACEPOINTS} tracepoints; }};"
    )
    lines.append(f"int {PROBE}(struct pwru_asked *all) {{ return 0; }}")
    return "\n".join(lines) + "\n"


def _structure(name: str, members: Iterable[str]) -> list[str]:
    return [f"struct {name} {{", *(f"  pwru_{each} {each};" for each in members), "};"]
