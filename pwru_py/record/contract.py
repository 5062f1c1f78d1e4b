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
TABLE_VERDICT_BYTES: Final = 96
TABLE_VERDICT: Final[Members] = (
    ("table_handle", 0, "Q"),
    ("rule", 8, "Q"),
    ("table", 16, "32s"),
    ("chain", 48, "32s"),
    ("verdict", 80, "I"),
    ("nft", 84, "B"),
    ("family", 85, "B"),
    ("pf", 86, "B"),
    ("hook", 87, "B"),
    ("policy", 88, "B"),
    ("unused", 89, "7s"),
)

# struct record
RECORD_BYTES: Final = 760
RECORD: Final[Members] = (
    ("event", 0, "136s"),
    ("stack", 136, "64Q"),
    ("table", 648, "96s"),
    ("udp", 744, "8s"),
    ("vlan", 752, "Q"),
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
TABLES_BYTES: Final = 24
TABLES: Final[Members] = (
    ("xt_name", 0, "H"),
    ("chain_table", 2, "H"),
    ("chain_name", 4, "H"),
    ("table_name", 6, "H"),
    ("table_family", 8, "H"),
    ("table_handle", 10, "H"),
    ("packet_state", 12, "H"),
    ("policy_before", 14, "H"),
    ("immediate_dreg", 16, "H"),
    ("ops_size", 18, "H"),
    ("rules_plain", 20, "?"),
    ("skb_second", 21, "?"),
    ("on", 22, "?"),
)

# struct config
CONFIG_BYTES: Final = 136
CONFIG: Final[Members] = (
    ("netns", 0, "I"),
    ("ifindex", 4, "I"),
    ("mark", 8, "I"),
    ("mark_mask", 12, "I"),
    ("record_bytes", 16, "I"),
    ("section_at", 20, "4H"),
    ("filter", 28, "6s"),
    ("inner_l2", 34, "6s"),
    ("inner_l3", 40, "6s"),
    ("tables", 46, "24s"),
    ("meta", 70, "?"),
    ("adjacent", 71, "?"),
    ("func_ip", 72, "?"),
    ("track", 73, "?"),
    ("placed", 74, "?"),
    ("tuple", 75, "?"),
    ("queue", 76, "?"),
    ("pages", 77, "?"),
    ("shared", 78, "?"),
    ("drops_hidden", 79, "?"),
    ("drop_where", 80, "?"),
    ("drop_reasons", 81, "?"),
    ("flows", 82, "?"),
    ("tracepoint_cookies", 83, "?"),
    ("typed_task", 84, "?"),
    ("hardirq_mask", 88, "I"),
    ("nmi_mask", 92, "I"),
    ("cgroup", 96, "Q"),
    ("preempt_count", 104, "Q"),
    ("per_cpu_offset", 112, "Q"),
    ("page_offset_base", 120, "Q"),
    ("vmemmap_base", 128, "Q"),
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

# enum section
SECTION_STACK: Final = 0
SECTION_TABLE: Final = 1
SECTION_UDP: Final = 2
SECTION_VLAN: Final = 3
SECTION_MAX: Final = 4

# enum vlan_section
VLAN_ID: Final = 4095
VLAN_TAGGED: Final = 65536

# enum event_flags
EVENT_REASON: Final = 1
EVENT_TRACKED: Final = 2
EVENT_SHARED: Final = 4
EVENT_LINK: Final = 16
EVENT_DROP: Final = 8
EVENT_TRACEPOINT: Final = 32
EVENT_VERDICT: Final = 128
EVENT_LOCAL: Final = 64

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

# enum cookie
COOKIE_REASON_SHIFT: Final = 4
COOKIE_TARGET_SHIFT: Final = 8
COOKIE_NO_REASON: Final = 15

# enum copy
COPY_MARK: Final = 1131376761

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
COUNT_MAX: Final = 8
