# SPDX-License-Identifier: Apache-2.0
"""Names that the kernel's C has as macros, so that BTF does not tell them."""

from __future__ import annotations

CONSTANTS = {
    "NULL": 0,
    "true": 1,
    "false": 0,
    # include/uapi/linux/if_packet.h: skb->pkt_type
    "PACKET_HOST": 0,
    "PACKET_BROADCAST": 1,
    "PACKET_MULTICAST": 2,
    "PACKET_OTHERHOST": 3,
    "PACKET_OUTGOING": 4,
    "PACKET_LOOPBACK": 5,
    # include/linux/skbuff.h: skb->ip_summed
    "CHECKSUM_NONE": 0,
    "CHECKSUM_UNNECESSARY": 1,
    "CHECKSUM_COMPLETE": 2,
    "CHECKSUM_PARTIAL": 3,
    # include/uapi/linux/if_ether.h: skb->protocol
    "ETH_P_IP": 0x0800,
    "ETH_P_ARP": 0x0806,
    "ETH_P_8021Q": 0x8100,
    "ETH_P_IPV6": 0x86DD,
    "ETH_P_MPLS_UC": 0x8847,
    "ETH_P_PPP_SES": 0x8864,
    "ETH_P_8021AD": 0x88A8,
    # include/linux/socket.h: sk->__sk_common.skc_family
    "AF_UNIX": 1,
    "AF_INET": 2,
    "AF_INET6": 10,
    "AF_NETLINK": 16,
    "AF_PACKET": 17,
}
"""As a person writes them: host byte order."""
