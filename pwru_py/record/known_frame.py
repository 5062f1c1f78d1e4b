# SPDX-License-Identifier: Apache-2.0
"""The frame of an event of which the addresses alone are known, for a pcap filter to look at.

::

    bytes   0     12        14        20           23      26    30    34
    IPv4    ??    0x0800    0x45 ??   offset ≠ 0?  proto   src   dst   ports, flags, icmp type …
    IPv6    ??    0x86dd    ??        next header (20)     src (22)    dst (38)    54 …
    ARP     ??    0x0806    ??        operation            src (28)    dst (38)
"""

from __future__ import annotations

import socket
from typing import NamedTuple

from .event import Tuple

_ALL = 0xFF
_ARP, _IPV4, _IPV6 = b"\x08\x06", b"\x08\x00", b"\x86\xdd"
_FRAGMENT_HEADER = 44  # of IPv6
_ICMP = (1, 58)
_TCP = 6
_BYTES = 54 + 20


class KnownFrame(NamedTuple):
    """``known``: the bits of ``data`` that are what the packet had."""

    data: bytes
    known: bytes


class _Making:
    def __init__(self) -> None:
        self.data, self.known = bytearray(_BYTES), bytearray(_BYTES)

    def put(self, at: int, value: bytes, known: int = _ALL) -> None:
        self.data[at : at + len(value)] = value
        self.known[at : at + len(value)] = bytes([known]) * len(value)

    @property
    def made(self) -> KnownFrame:
        return KnownFrame(bytes(self.data), bytes(self.known))


def known_frame(packet: Tuple, tcp_flags: int) -> KnownFrame | None:
    """None of what has no addresses, or none that can be read."""
    try:
        family = socket.AF_INET6 if ":" in packet.saddr else socket.AF_INET
        source, to = (socket.inet_pton(family, text) for text in (packet.saddr, packet.daddr))
    except OSError:
        return None
    made = _Making()
    if packet.proto < 0:
        made.put(12, _ARP)
        made.put(20, packet.arp.to_bytes(2), _ALL if packet.arp else 0)
        made.put(28, source)
        made.put(38, to)
        return made.made
    if family == socket.AF_INET:
        made.put(12, _IPV4)
        made.put(14, b"\x45", 0x0F)  # its options are not there: what is behind them is found
        # Not DF and MF; of an offset only that it is one, which is what filters ask.
        made.put(20, b"\0", 0x1F)
        made.put(21, bytes([packet.fragment]))
        made.put(23, bytes([packet.proto]))
        made.put(26, source + to)
        if not packet.fragment:
            _transport(made, 34, packet, tcp_flags)
    else:
        made.put(12, _IPV6)
        made.put(20, bytes([_FRAGMENT_HEADER if packet.fragment else packet.proto]))
        made.put(22, source + to)
        if packet.fragment:
            made.put(54, bytes([packet.proto]))
        else:
            _transport(made, 54, packet, tcp_flags)
    return made.made


def _transport(made: _Making, at: int, packet: Tuple, tcp_flags: int) -> None:
    if packet.has_ports:
        made.put(at, packet.sport.to_bytes(2) + packet.dport.to_bytes(2))
        if packet.proto == _TCP:
            made.put(at + 13, bytes([tcp_flags]))
    elif packet.icmp is not None and packet.proto in _ICMP:
        made.put(at, bytes([packet.icmp.type]))
        if packet.icmp.id is not None and packet.icmp.seq is not None:
            made.put(at + 4, packet.icmp.id.to_bytes(2) + packet.icmp.seq.to_bytes(2))
