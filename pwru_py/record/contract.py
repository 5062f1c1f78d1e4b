# SPDX-License-Identifier: Apache-2.0
"""What ``bpf/event.h`` shares with Python. Made by ``python bpf/build.py contract``: do not edit.

Each structure has its size and its members (name, offset in bytes, format as in ``struct``), each
enum its constants.
"""

from __future__ import annotations

from typing import Final

Members = tuple[tuple[str, int, str], ...]

# struct event_tuple
EVENT_TUPLE_BYTES: Final = 40
EVENT_TUPLE: Final[Members] = (
    ("saddr", 0, "16s"),
    ("daddr", 16, "16s"),
    ("sport", 32, "H"),
    ("dport", 34, "H"),
    ("l3", 36, "B"),
    ("l4", 37, "B"),
    ("ids", 38, "B"),
    ("icmp_type", 39, "B"),
)

# struct event
EVENT_BYTES: Final = 136
EVENT: Final[Members] = (
    ("ts_ns", 0, "Q"),
    ("skb", 8, "Q"),
    ("func", 16, "Q"),
    ("pid", 24, "I"),
    ("target", 28, "I"),
    ("netns", 32, "I"),
    ("mark", 36, "I"),
    ("ifindex", 40, "I"),
    ("mtu", 44, "I"),
    ("len", 48, "I"),
    ("reason", 52, "I"),
    ("proto", 56, "H"),
    ("cpu", 58, "H"),
    ("flags", 60, "B"),
    ("context", 61, "B"),
    ("tcp_flags", 62, "B"),
    ("stack_len", 63, "B"),
    ("comm", 64, "16s"),
    ("ifname", 80, "16s"),
    ("tuple", 96, "40s"),
)

# struct table_verdict
TABLE_VERDICT_BYTES: Final = 104
TABLE_VERDICT: Final[Members] = (
    ("table_handle", 0, "Q"),
    ("rule", 8, "Q"),
    ("net_cookie", 16, "Q"),
    ("table", 24, "32s"),
    ("chain", 56, "32s"),
    ("verdict", 88, "I"),
    ("nft", 92, "B"),
    ("family", 93, "B"),
    ("pf", 94, "B"),
    ("hook", 95, "B"),
    ("policy", 96, "B"),
    ("hot", 97, "B"),
    ("step", 98, "B"),
    ("by_policy", 99, "B"),
    ("replaced", 100, "I"),
)

# struct arrival
ARRIVAL_BYTES: Final = 8
ARRIVAL: Final[Members] = (
    ("tag", 0, "I"),
    ("iif", 4, "I"),
)

# struct tunnel
TUNNEL_BYTES: Final = 48
TUNNEL: Final[Members] = (
    ("tuple", 0, "40s"),
    ("tcp_flags", 40, "B"),
    ("unused", 41, "7s"),
)

# struct packet_head
PACKET_HEAD_BYTES: Final = 200
PACKET_HEAD: Final[Members] = (
    ("proto", 0, "H"),
    ("caplen", 2, "H"),
    ("tag_proto", 4, "H"),
    ("tag_tci", 6, "H"),
    ("bytes", 8, "192s"),
)

# struct conntracked
CONNTRACKED_BYTES: Final = 72
CONNTRACKED: Final[Members] = (
    ("state", 0, "B"),
    ("reply", 1, "?"),
    ("has_entry", 2, "?"),
    ("unused", 3, "5s"),
    ("why", 8, "64s"),
)

# struct socket_owner
SOCKET_OWNER_BYTES: Final = 24
SOCKET_OWNER: Final[Members] = (
    ("pid", 0, "I"),
    ("unused", 4, "I"),
    ("comm", 8, "16s"),
)

# struct call_section
CALL_SECTION_BYTES: Final = 32
CALL_SECTION: Final[Members] = (
    ("sp", 0, "Q"),
    ("entered_ns", 8, "Q"),
    ("value", 16, "Q"),
    ("thread", 24, "I"),
    ("unused", 28, "I"),
)

# struct map_access
MAP_ACCESS_BYTES: Final = 672
MAP_ACCESS: Final[Members] = (
    ("id", 0, "I"),
    ("key_size", 4, "I"),
    ("value_size", 8, "I"),
    ("has_key", 12, "?"),
    ("has_value", 13, "?"),
    ("unused", 14, "2s"),
    ("name", 16, "16s"),
    ("key", 32, "128s"),
    ("value", 160, "512s"),
)

# struct record
RECORD_BYTES: Final = 6056
RECORD: Final[Members] = (
    ("event", 0, "136s"),
    ("stack", 136, "64Q"),
    ("table", 648, "104s"),
    ("udp", 752, "8s"),
    ("arrival", 760, "8s"),
    ("metadata", 768, "1024s"),
    ("xdp", 1792, "1024s"),
    ("caller", 2816, "12Q"),
    ("tunnel", 2912, "48s"),
    ("cb", 2960, "12I"),
    ("skb", 3008, "512s"),
    ("shared", 3520, "1024s"),
    ("head", 4544, "200s"),
    ("conntracked", 4744, "72s"),
    ("entry", 4816, "512s"),
    ("owner", 5328, "24s"),
    ("call", 5352, "32s"),
    ("map", 5384, "672s"),
)

# struct needs
NEEDS_BYTES: Final = 6
NEEDS: Final[Members] = (
    ("bytes", 0, "H"),
    ("on", 2, "?"),
    ("link", 3, "?"),
    ("length", 4, "?"),
    ("payload", 5, "?"),
)

# struct tables
TABLES_BYTES: Final = 66
TABLES: Final[Members] = (
    ("xt_name", 0, "H"),
    ("xt_private", 2, "H"),
    ("info_entries", 4, "H"),
    ("info_size", 6, "H"),
    ("eb_name", 8, "H"),
    ("eb_private", 10, "H"),
    ("eb_entries", 12, "H"),
    ("eb_size", 14, "H"),
    ("frame4", 16, "H"),
    ("frame6", 18, "H"),
    ("frame_arp", 20, "H"),
    ("frame_eb", 22, "H"),
    ("hot4", 24, "H"),
    ("hot6", 26, "H"),
    ("hot_arp", 28, "H"),
    ("hot_eb", 30, "H"),
    ("rule4", 32, "B"),
    ("rule6", 33, "B"),
    ("rule_arp", 34, "B"),
    ("rule_eb", 35, "B"),
    ("chain_table", 36, "H"),
    ("chain_name", 38, "H"),
    ("table_name", 40, "H"),
    ("table_family", 42, "H"),
    ("table_handle", 44, "H"),
    ("packet_state", 46, "H"),
    ("policy_before", 48, "H"),
    ("immediate_dreg", 50, "H"),
    ("ops_size", 52, "H"),
    ("info_packet", 54, "H"),
    ("info_rule", 56, "H"),
    ("info_verdict", 58, "H"),
    ("info_first", 60, "?"),
    ("steps", 61, "?"),
    ("rules_plain", 62, "?"),
    ("skb_second", 63, "?"),
    ("on", 64, "?"),
)

# struct conntrack
CONNTRACK_BYTES: Final = 20
CONNTRACK: Final[Members] = (
    ("bytes", 0, "H"),
    ("status", 2, "H"),
    ("mark_at", 4, "H"),
    ("states", 6, "H"),
    ("mark", 8, "I"),
    ("mark_mask", 12, "I"),
    ("judges", 16, "?"),
)

# struct config
CONFIG_BYTES: Final = 304
CONFIG: Final[Members] = (
    ("netns", 0, "I"),
    ("ifindex", 4, "I"),
    ("mark", 8, "I"),
    ("mark_mask", 12, "I"),
    ("record_bytes", 16, "I"),
    ("section_at", 20, "17H"),
    ("skb_bytes", 54, "H"),
    ("shared_bytes", 56, "H"),
    ("filter", 58, "6s"),
    ("inner_l2", 64, "6s"),
    ("inner_l3", 70, "6s"),
    ("tables", 76, "66s"),
    ("conntrack", 144, "20s"),
    ("meta", 164, "?"),
    ("checked", 165, "?"),
    ("adjacent", 166, "?"),
    ("func_ip", 167, "?"),
    ("track", 168, "?"),
    ("placed", 169, "?"),
    ("expression", 170, "?"),
    ("xdp_expression", 171, "?"),
    ("tuple", 172, "?"),
    ("queue", 173, "?"),
    ("pages", 174, "?"),
    ("shared", 175, "?"),
    ("drops_hidden", 176, "?"),
    ("drop_where", 177, "?"),
    ("drop_reasons", 178, "?"),
    ("drop_receivers", 179, "?"),
    ("flows", 180, "?"),
    ("tracepoint_cookies", 181, "?"),
    ("typed_task", 182, "?"),
    ("hardirq_mask", 184, "I"),
    ("nmi_mask", 188, "I"),
    ("cgroup", 192, "Q"),
    ("owner_comm", 200, "16s"),
    ("owner_pid", 216, "I"),
    ("owned", 220, "?"),
    ("lives", 221, "?"),
    ("read_target", 224, "I"),
    ("inside", 228, "?"),
    ("by_stack", 229, "?"),
    ("trampolines", 232, "4Q"),
    ("current_kprobe", 264, "Q"),
    ("preempt_count", 272, "Q"),
    ("per_cpu_offset", 280, "Q"),
    ("page_offset_base", 288, "Q"),
    ("vmemmap_base", 296, "Q"),
)

# struct drop_key
DROP_KEY_BYTES: Final = 40
DROP_KEY: Final[Members] = (
    ("location", 0, "Q"),
    ("reason", 8, "I"),
    ("empty", 12, "I"),
    ("netns", 16, "Q"),
    ("ifname", 24, "16s"),
)

# struct flow_key
FLOW_KEY_BYTES: Final = 80
FLOW_KEY: Final[Members] = (
    ("drop", 0, "40s"),
    ("tuple", 40, "40s"),
)

# enum limits
STACK_MAX: Final = 64
SKB_METADATA_MAX: Final = 1024
CALLER_MAX: Final = 12
CB_WORDS: Final = 12
SKB_MAX: Final = 512
SHARED_MAX: Final = 1024
ENTRY_MAX: Final = 512
RETURN_TRAMPOLINES: Final = 4
MAP_KEY_MAX: Final = 128
MAP_VALUE_MAX: Final = 512

# enum section
SECTION_STACK: Final = 0
SECTION_TABLE: Final = 1
SECTION_UDP: Final = 2
SECTION_ARRIVAL: Final = 3
SECTION_METADATA: Final = 4
SECTION_XDP: Final = 5
SECTION_CALLER: Final = 6
SECTION_TUNNEL: Final = 7
SECTION_CB: Final = 8
SECTION_SKB: Final = 9
SECTION_SHARED: Final = 10
SECTION_HEAD: Final = 11
SECTION_CONNTRACK: Final = 12
SECTION_ENTRY: Final = 13
SECTION_OWNER: Final = 14
SECTION_CALL: Final = 15
SECTION_MAP: Final = 16
SECTION_MAX: Final = 17

# enum arrival_tag
VLAN_ID: Final = 4095
VLAN_TAGGED: Final = 65536

# enum nft_step
STEP_POLICY: Final = 1
STEP_END: Final = 2
STEP_RULE: Final = 3

# enum event_flags
EVENT_REASON: Final = 1
EVENT_TRACKED: Final = 2
EVENT_SHARED: Final = 4
EVENT_LINK: Final = 16
EVENT_DROP: Final = 8
EVENT_TRACEPOINT: Final = 32
EVENT_VERDICT: Final = 128
EVENT_LOCAL: Final = 64
EVENT_RETURN: Final = 144
EVENT_PROGRAM: Final = 40
EVENT_INSIDE: Final = 48

# enum event_target
TARGET_FIRST: Final = 1073741824

# enum event_context
CONTEXT_TASK: Final = 0
CONTEXT_SOFTIRQ: Final = 1
CONTEXT_HARDIRQ: Final = 2
CONTEXT_UNKNOWN: Final = 3

# enum event_l3
L3_NONE: Final = 0
L3_ARP: Final = 1
L3_IPV4: Final = 4
L3_IPV6: Final = 6
L3_MPLS: Final = 7
L3_PPPOE: Final = 8

# enum event_ids
IDS_NONE: Final = 0
IDS_PORTS: Final = 1
IDS_ICMP: Final = 2
IDS_ICMP_ECHO: Final = 3
IDS_FRAGMENT: Final = 4

# enum ct_state
CT_UNTOLD: Final = 0
CT_NONE: Final = 1
CT_NEW: Final = 2
CT_ESTABLISHED: Final = 3
CT_RELATED: Final = 4
CT_INVALID: Final = 5
CT_UNTRACKED: Final = 6
CT_TEMPLATE: Final = 7
CT_SNAT: Final = 8
CT_DNAT: Final = 9

# enum map_function
MAP_NONE: Final = 0
MAP_KEY: Final = 1
MAP_KEY_VALUE: Final = 2
MAP_VALUE: Final = 3
MAP_FILLS: Final = 4
MAP_FINDS: Final = 5
MAP_ELEMENT: Final = 6

# enum cookie
COOKIE_REASON_SHIFT: Final = 4
COOKIE_TARGET_SHIFT: Final = 8
COOKIE_NO_SKB: Final = 15
COOKIE_NO_REASON: Final = 15

# enum copy
COPY_MARK: Final = 1131376761

# enum session
SESSION_IS_RETURN: Final = 1936028498
SESSION_COOKIE: Final = 1936028483

# enum arguments_table
ARGUMENTS_BITS: Final = 16
ARGUMENTS_HASH: Final = 1640531527
ARGUMENTS_CROWDED: Final = 255

# enum counter
COUNT_BUFFER_FULL: Final = 0
COUNT_TRACK_FULL: Final = 1
COUNT_TRACK_NEW: Final = 2
COUNT_TRACK_END: Final = 3
COUNT_NESTED: Final = 4
COUNT_DROPS_LEFT: Final = 5
COUNT_TAGGED: Final = 6
COUNT_UNKNOWN: Final = 7
COUNT_CALLS: Final = 8
COUNT_RETURNS: Final = 9
COUNT_NO_SKB: Final = 10
COUNT_MAX: Final = 11
