# SPDX-License-Identifier: Apache-2.0
"""The expressions that are tried on live packets: every primitive that matters.

None reads what differs between packets that are alike otherwise (IP id, sequence numbers).
"""

from __future__ import annotations

EXPRESSIONS = tuple(
    line.strip()
    for line in r"""
    ip
    ip6
    arp
    tcp
    udp
    icmp
    icmp6
    sctp
    igmp or ip proto 50
    ip6 proto 17
    ip proto \udp or ip6 proto \tcp
    host 1.1.1.1
    src host 10.0.0.2
    dst host 1.1.1.1 and tcp
    host 2001:db8::1
    ip6 dst host 2001:db8::2 or ip6 dst host fe80::2
    net 10.0.0.0/8
    src net 1.1.1.0 mask 255.255.255.0
    net 2001:db8::/32
    not net 10
    port 53
    udp dst port 53
    tcp src port 80
    portrange 50-100
    tcp dst portrange 79-81
    sctp port 80
    tcp[tcpflags] & (tcp-syn|tcp-fin) != 0
    tcp[tcpflags] == tcp-syn
    icmp[icmptype] = icmp-echo
    icmp6[icmp6type] = icmp6-echo
    ether host 02:00:00:00:00:01
    ether dst 02:00:00:00:00:02
    ether src 02:00:00:00:00:02
    ether broadcast
    ether multicast
    ip multicast or ip6 multicast
    ether proto 0x806
    ether proto 0x86dd
    ether[12:2] = 0x0800
    vlan
    vlan 7
    vlan 7 and ip
    vlan 7 and ip6
    vlan and udp port 53
    vlan and vlan
    vlan 100 and vlan 7
    not vlan
    mpls
    mpls 16 and mpls 17
    pppoes 3 and ip
    pppoes and ip6
    len > 100
    len <= 74
    less 60
    greater 1000
    len - 14 = ip[2:2]
    ip[6:2] & 0x3fff != 0
    ip[6:2] & 0x1fff = 0 and udp
    ip[0] & 0xf > 5
    ip[0] & 0xf != 5 and port 53
    ip[(ip[0] & 0xf) + 4] = 17
    ip[8] = 1
    ip6[6] = 0 or ip6[6] = 44
    ip6[40] = 17
    udp[4:2] > 1000
    arp[6:2] = 1
    arp and host 10.0.0.2
    tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
    not (tcp or udp)
    ip and (tcp or udp) and not (port 80 or port 53)
    host 1.1.1.1 and (port 80 or port 443) and not host 10.200.3.4
    icmp or udp port 53 or tcp port 80 or arp or ip6
    """.strip().splitlines()
)

# Where the kernel has not written the length into the IPv4 header yet (__ip_local_out does it).
BEFORE_LENGTH = ("__ip_local_out", "ip_local_out")
READ_LENGTH = tuple(e for e in EXPRESSIONS if "ip[2:2]" in e)

# Bytes of the payload, which may lie in pages beside the linear memory.
PAYLOAD = (
    "tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420",
    "udp[8:2] = 0 and udp[20] = 0",
)
