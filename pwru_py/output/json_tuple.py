# SPDX-License-Identifier: Apache-2.0
"""A packet's addresses in JSON, and the schema of that."""

from __future__ import annotations

from typing import Any

from ..record.event import Event, Tuple
from .formats import flag_names
from .protocols import TCP, arp_name, icmp_name


def json_tuple(event: Event) -> dict[str, Any] | None:
    """As ``TUPLE_SCHEMA`` describes; None without addresses."""
    return json_addresses(event.tuple, event.tcp_flags)


def json_tunnel(event: Event) -> dict[str, Any] | None:
    """The same of the packet within a tunnel's packet."""
    return json_addresses(event.tunnel, event.tunnel_flags)


def json_addresses(packet: Tuple | None, tcp_flags: int = 0) -> dict[str, Any] | None:
    """The same of a packet whose TCP flags nobody knows."""
    if packet is None:
        return None
    flags = tcp_flags if packet.proto == TCP and packet.has_ports else 0
    members: dict[str, Any] = {
        "saddr": packet.saddr,
        "daddr": packet.daddr,
        "sport": packet.sport,
        "dport": packet.dport,
        "proto": packet.proto if packet.proto >= 0 else None,
        "flags": flag_names(flags),
    }
    if packet.icmp is not None:
        kind, ident, sequence, mtu = packet.icmp
        name = icmp_name(packet.proto, kind) or None
        members["icmp"] = {"type": kind, "name": name, "id": ident, "seq": sequence}
        if mtu is not None:
            members["icmp"]["mtu"] = mtu
    if packet.fragment:
        members["fragment"] = True
    if packet.arp:
        members["arp"] = {"operation": packet.arp, "name": arp_name(packet.arp)}
    if packet.label:
        members["label"] = packet.label
    return members


TUPLE_SCHEMA: dict[str, Any] = {
    "description": "Addresses and ports, or what an ICMP message is, as the packet carries them "
    "at this event. null when no IP or ARP header was found. Absent with --output-"
    "tuple=false.",
    "type": ["object", "null"],
    "properties": {
        "saddr": {"description": "Source address; RFC 5952 text for IPv6.", "type": "string"},
        "daddr": {"description": "Destination address.", "type": "string"},
        "sport": {
            "description": "Source port; 0 when the packet has none here (see proto, icmp, "
            "fragment).",
            "type": "integer",
            "minimum": 0,
            "maximum": 65535,
        },
        "dport": {
            "description": "Destination port; 0 when the packet has none here (see proto, icmp, "
            "fragment).",
            "type": "integer",
            "minimum": 0,
            "maximum": 65535,
        },
        "proto": {
            "description": "IP protocol number, after IPv6 extension headers; null for ARP.",
            "type": ["integer", "null"],
            "minimum": 0,
            "maximum": 255,
        },
        "flags": {
            "description": "Names of the TCP flags, lowest bit first, joined by commas; '' when "
            "none or not TCP.",
            "type": "string",
            "pattern": "^((FIN|SYN|RST|PSH|ACK|URG|ECE|CWR)(,(?!$)|$))*$",
        },
        "icmp": {
            "description": "The ICMP or ICMPv6 message (proto tells which). Absent when the "
            "packet is none, or its header is not here.",
            "type": "object",
            "properties": {
                "type": {
                    "description": "The type's number.",
                    "type": "integer",
                    "minimum": 0,
                    "maximum": 255,
                },
                "name": {
                    "description": 'The type\'s name, as "echo request" or "unreachable"; '
                    "null when it has none.",
                    "type": ["string", "null"],
                },
                "id": {
                    "description": "Identifier; null in messages that have none (only echo, "
                    "timestamp, information and address mask have one).",
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "maximum": 65535,
                },
                "seq": {
                    "description": "Sequence number; null as id is.",
                    "type": ["integer", "null"],
                    "minimum": 0,
                    "maximum": 65535,
                },
                "mtu": {
                    "description": "Of an error for a packet that was too long: the MTU that it "
                    "did not fit. Absent in others, and where its sender tells none.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 4294967295,
                },
            },
            "required": ["type", "name", "id", "seq"],
        },
        "fragment": {
            "description": "true in a later fragment, which has no ports of its own. Absent in "
            "other packets.",
            "const": True,
        },
        "arp": {
            "description": "The operation of an ARP packet. Absent in other packets.",
            "type": "object",
            "properties": {
                "operation": {
                    "description": "1 asks for the MAC address of daddr, 2 answers.",
                    "type": "integer",
                    "minimum": 1,
                    "maximum": 255,
                },
                "name": {
                    "description": '"request", "reply", or "operation 8".',
                    "type": "string",
                },
            },
            "required": ["operation", "name"],
        },
        "label": {
            "description": 'What a packet is whose inside is no IP: "mpls 100", "pppoe session '
            "7\"; addresses are '' and proto is null then. Absent in other packets.",
            "type": "string",
        },
    },
    "required": ["saddr", "daddr", "sport", "dport", "proto", "flags"],
}

TUNNEL_SCHEMA: dict[str, Any] = {
    **TUPLE_SCHEMA,
    "description": "The same of the packet within a tunnel's packet (VXLAN, Geneve, GRE, IP in "
    "IP); null where there is none, or its headers are not certain. Only with --output-tunnel.",
}
