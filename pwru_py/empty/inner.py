# SPDX-License-Identifier: Apache-2.0
"""The packet inside a tunnel's: from an Ethernet frame's bytes to those of an inner one. Pure."""

from __future__ import annotations

import struct

_IP4, _IP6, _TAGS, _BRIDGED = 0x0800, 0x86DD, (0x8100, 0x88A8), 0x6558
_LINK_BYTES, _TAG_BYTES = 14, 4
_NO_ADDRESSES = bytes(12)
_IPIP, _SIXIN, _GRE, _UDP = 4, 41, 47, 17
_VXLAN_PORTS, _GENEVE_PORT = (4789, 8472), 6081  # RFC 7348 and Linux's own; RFC 8926
_UDP_BYTES, _VXLAN_BYTES, _GENEVE_BYTES = 8, 8, 8


def inner_frame(frame: bytes) -> bytes | None:
    """That within VXLAN, Geneve, GRE (RFC 2784, 2890), IPIP or IPv6 in IPv4; None without one."""
    try:
        return _inner(frame)
    except (struct.error, IndexError):
        return None


def _inner(frame: bytes) -> bytes | None:
    proto, at = _word(frame, 12), _LINK_BYTES
    while proto in _TAGS:
        proto, at = _word(frame, at + 2), at + _TAG_BYTES
    if proto == _IP4:
        if _word(frame, at + 6) & 0x1FFF:  # a later fragment
            return None
        kind, at = frame[at + 9], at + 4 * (frame[at] & 15)
    elif proto == _IP6:
        kind, at = frame[at + 6], at + 40
    else:
        return None
    if kind in (_IPIP, _SIXIN):
        return _framed(_IP4 if kind == _IPIP else _IP6, frame[at:])
    if kind == _GRE:
        flags = _word(frame, at)
        options = sum(4 for bit in (0x8000, 0x2000, 0x1000) if flags & bit)
        return _framed(_word(frame, at + 2), frame[at + 4 + options :])
    if kind == _UDP:
        return _in_udp(_word(frame, at + 2), frame[at + _UDP_BYTES :])
    return None


def _in_udp(port: int, payload: bytes) -> bytes | None:
    if port in _VXLAN_PORTS:
        return _framed(_BRIDGED, payload[_VXLAN_BYTES:])
    if port == _GENEVE_PORT:
        options = 4 * (payload[0] & 0x3F)
        return _framed(_word(payload, 2), payload[_GENEVE_BYTES + options :])
    return None


def _framed(proto: int, payload: bytes) -> bytes | None:
    if proto == _BRIDGED:
        return payload if len(payload) > _LINK_BYTES else None
    if proto not in (_IP4, _IP6) or not payload:
        return None
    return _NO_ADDRESSES + struct.pack(">H", proto) + payload


def _word(data: bytes, at: int) -> int:
    number: int = struct.unpack_from(">H", data, at)[0]
    return number
