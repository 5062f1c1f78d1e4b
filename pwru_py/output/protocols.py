# SPDX-License-Identifier: Apache-2.0
"""Names of IP protocols and of ICMP messages, those that tcpdump and /etc/protocols use."""

from __future__ import annotations

from ..record.event import Icmp

TCP = 6
_ICMP6 = 58

# IANA protocol numbers; -1 stands for ARP.
_PROTOCOLS = {
    -1: "arp",
    1: "icmp",
    2: "igmp",
    4: "ipip",
    6: "tcp",
    17: "udp",
    33: "dccp",
    41: "ipv6",
    46: "rsvp",
    47: "gre",
    50: "esp",
    51: "ah",
    58: "icmp6",
    59: "no next header",
    88: "eigrp",
    89: "ospf",
    97: "etherip",
    103: "pim",
    108: "ipcomp",
    112: "vrrp",
    115: "l2tp",
    132: "sctp",
    135: "mobility",
    136: "udplite",
    137: "mpls",
    143: "ethernet",
}

# IANA "ICMP Type Numbers": RFC 792, 950, 1256, 8335.
_ICMP_TYPES = {
    0: "echo reply",
    3: "unreachable",
    4: "source quench",
    5: "redirect",
    8: "echo request",
    9: "router advertisement",
    10: "router solicitation",
    11: "time exceeded",
    12: "parameter problem",
    13: "timestamp request",
    14: "timestamp reply",
    15: "information request",
    16: "information reply",
    17: "address mask request",
    18: "address mask reply",
    42: "extended echo request",
    43: "extended echo reply",
}

# IANA "ICMPv6 type Numbers": RFC 4443, 2710, 4861, 3810, 8335.
_ICMP6_TYPES = {
    1: "unreachable",
    2: "packet too big",
    3: "time exceeded",
    4: "parameter problem",
    128: "echo request",
    129: "echo reply",
    130: "multicast query",
    131: "multicast report",
    132: "multicast done",
    133: "router solicitation",
    134: "router advertisement",
    135: "neighbor solicitation",
    136: "neighbor advertisement",
    137: "redirect",
    143: "multicast report v2",
    160: "extended echo request",
    161: "extended echo reply",
}

# A column is narrow, and nearly every line of a traced ping would be too long for it.
_SHORT = {"echo request": "echo", "echo reply": "reply"}


def protocol_name(proto: int) -> str:
    """``tcp``; ``proto 253`` for a number without a name."""
    return _PROTOCOLS.get(proto) or f"proto {proto}"


def icmp_name(proto: int, kind: int) -> str:
    """The name of an ICMP type, of an ICMPv6 type for protocol 58; '' when it has none."""
    return (_ICMP6_TYPES if proto == _ICMP6 else _ICMP_TYPES).get(kind, "")


def arp_name(operation: int) -> str:
    """``request``, ``reply``, else ``operation 8`` (RFC 826, RFC 5494)."""
    return {1: "request", 2: "reply"}.get(operation, f"operation {operation}")


def icmp_text(proto: int, icmp: Icmp) -> str:
    """``echo id 7 seq 1``, ``unreachable``, ``type 200``; ``echo id 7`` of all with that id;
    ``unreachable mtu 1400`` of what was too long."""
    name = icmp_name(proto, icmp.type) or f"type {icmp.type}"
    if icmp.id is None:
        return name if icmp.mtu is None else f"{name} mtu {icmp.mtu}"
    sequence = f" seq {icmp.seq}" if icmp.seq is not None else ""
    return f"{_SHORT.get(name, name)} id {icmp.id}{sequence}"
