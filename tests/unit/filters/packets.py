# SPDX-License-Identifier: Apache-2.0
"""Ethernet frames for tests, built byte by byte (no checksums: filters do not verify them)."""

from __future__ import annotations

import itertools
import socket
from collections.abc import Iterator

ETHER_IP, ETHER_IP6, ETHER_ARP, ETHER_VLAN, ETHER_QINQ = 0x800, 0x86DD, 0x806, 0x8100, 0x88A8
ETHER_MPLS, ETHER_PPPOED, ETHER_PPPOES = 0x8847, 0x8863, 0x8864
ICMP, IGMP, TCP, UDP, ESP, AH, ICMP6, SCTP = 1, 2, 6, 17, 50, 51, 58, 132
HOP_BY_HOP, ROUTING, FRAGMENT, DESTINATION = 0, 43, 44, 60
MAC_1, MAC_2, MAC_ALL = (bytes.fromhex(h) for h in ("020000000001", "020000000002", "ff" * 6))
PAYLOAD = b"GET / HTTP/1.1\r\nHost: example\r\n\r\n"


def be(value: int, size: int = 2) -> bytes:
    """Network byte order."""
    return value.to_bytes(size, "big")


def ether(kind: int, body: bytes, dst: bytes = MAC_2, src: bytes = MAC_1) -> bytes:
    """Ethernet II."""
    return dst + src + be(kind) + body


def tagged(vid: int, kind: int, body: bytes, tpid: int = ETHER_VLAN) -> bytes:
    """Ethernet II with one VLAN tag."""
    return ether(tpid, be(vid) + be(kind) + body)


def ipv4(
    proto: int, body: bytes, *, pair: tuple[str, str] = ("10.0.0.2", "1.1.1.1"),
    options: int = 0, fragment: int = 0, ttl: int = 64,
) -> bytes:  # fmt: skip
    """IPv4 header (RFC 791). options: words of 4 bytes. fragment: flags and offset field."""
    total = 20 + 4 * options + len(body)
    fixed = bytes([0x45 + options, 0]) + be(total) + be(0x1234) + be(fragment)
    addresses = b"".join(socket.inet_aton(a) for a in pair)
    return fixed + bytes([ttl, proto, 0, 0]) + addresses + b"\x01" * (4 * options) + body


def ipv6(proto: int, body: bytes, *, pair: tuple[str, str] = ("2001:db8::1", "fe80::2")) -> bytes:
    """IPv6 header (RFC 8200)."""
    addresses = b"".join(socket.inet_pton(socket.AF_INET6, a) for a in pair)
    return be(0x60000000, 4) + be(len(body)) + bytes([proto, 64]) + addresses + body


def extension(following: int, body: bytes, words: int = 0) -> bytes:
    """A hop-by-hop, routing or destination header of 8 * (words + 1) bytes."""
    return bytes([following, words]) + bytes(6 + 8 * words) + body


def fragment6(following: int, offset: int, body: bytes) -> bytes:
    """IPv6 fragment header; offset in units of 8 bytes, with the flag M."""
    return bytes([following, 0]) + be(offset << 3 | 1) + be(7, 4) + body


def tcp(sport: int, dport: int, flags: int = 0x18, options: int = 0) -> bytes:
    """TCP header (RFC 9293) with payload. options: words of 4 bytes."""
    fixed = (
        be(sport) + be(dport) + be(1, 4) + be(0x80000002, 4) + bytes([(5 + options) << 4, flags])
    )
    return fixed + be(512) + bytes(4) + b"\x01" * (4 * options) + PAYLOAD


def udp(sport: int, dport: int, body: bytes = b"\x80\x01query") -> bytes:
    """UDP header (RFC 768)."""
    return be(sport) + be(dport) + be(8 + len(body)) + b"\0\0" + body


def icmp(kind: int, code: int = 0) -> bytes:
    """ICMP or ICMPv6 echo-like message."""
    return bytes([kind, code, 0, 0]) + be(77) + be(1) + bytes(range(32))


def arp(op: int = 1, kind: int = 1) -> bytes:
    """ARP for IPv4 over Ethernet (RFC 826)."""
    ends = MAC_1 + socket.inet_aton("10.0.0.2") + bytes(6) + socket.inet_aton("1.1.1.1")
    return be(kind) + be(ETHER_IP) + bytes([6, 4]) + be(op) + ends


def mpls(label: int, body: bytes, *, bottom: bool) -> bytes:
    """One label stack entry (RFC 3032)."""
    return be(label << 12 | int(bottom) << 8 | 64, 4) + body


def pppoe(session: int, protocol: int, body: bytes) -> bytes:
    """PPPoE session header (RFC 2516) and PPP protocol."""
    return b"\x11\x00" + be(session) + be(len(body) + 2) + be(protocol) + body


def geneve(vni: int, body: bytes, options: int = 0) -> bytes:
    """Geneve (RFC 8926) that carries Ethernet."""
    return bytes([options, 0]) + be(0x6558) + be(vni << 8, 4) + bytes(4 * options) + body


def llc(header: bytes, body: bytes = bytes(40)) -> bytes:
    """IEEE 802.3 with LLC: the type field is a length."""
    return ether(len(header + body), header + body)


def _transports() -> Iterator[tuple[int, bytes]]:
    for sport, dport in ((53, 5353), (40000, 53), (80, 443), (1024, 80), (0, 65535)):
        yield TCP, tcp(sport, dport)
        yield UDP, udp(sport, dport)
        yield SCTP, be(sport) + be(dport) + bytes(20)
    yield TCP, tcp(1024, 80, flags=2, options=5)
    yield TCP, tcp(1024, 80, flags=1, options=10)


def _ip4() -> Iterator[bytes]:
    for proto, body in _transports():
        yield ipv4(proto, body)
    pairs = (("1.1.1.1", "1.1.1.1"), ("192.168.7.9", "10.0.0.2"), ("10.200.3.4", "224.0.0.5"))
    for pair in pairs:
        yield ipv4(TCP, tcp(80, 80), pair=pair)
        yield ipv4(UDP, udp(53, 53), pair=pair, options=3, ttl=1)
    for options, fragment in itertools.product((1, 10), (0, 0x2000, 0x4000, 0x2001, 185)):
        yield ipv4(TCP, tcp(443, 80), options=options, fragment=fragment)
        yield ipv4(UDP, udp(53, 53), options=options, fragment=fragment)
    for proto in (IGMP, ESP, AH, 9, 103, 112):
        yield ipv4(proto, bytes([0x21, TCP]) + bytes(30))
    for kind in (0, 3, 8):
        yield ipv4(ICMP, icmp(kind, kind))
    yield ipv4(TCP, tcp(80, 1024) + bytes(range(256)) * 2)
    yield ipv4(UDP, udp(40000, 6081, geneve(5, ether(ETHER_IP, ipv4(TCP, tcp(80, 80))))))
    yield ipv4(UDP, udp(40000, 6081, geneve(6, ether(ETHER_IP6, ipv6(UDP, udp(53, 53))), 2)))
    yield b"\x40" + ipv4(TCP, tcp(80, 80))[1:]  # header length 0


def _ip6() -> Iterator[bytes]:
    for proto, body in _transports():
        yield ipv6(proto, body)
    for kind in (1, 128, 129, 135):
        yield ipv6(ICMP6, icmp(kind))
    yield ipv6(UDP, udp(53, 53), pair=("fe80::2", "ff02::1"))
    yield ipv6(HOP_BY_HOP, extension(TCP, tcp(80, 443)))
    yield ipv6(HOP_BY_HOP, extension(ROUTING, extension(UDP, udp(53, 53)), 2))
    yield ipv6(FRAGMENT, fragment6(TCP, 0, tcp(80, 443)))
    yield ipv6(FRAGMENT, fragment6(UDP, 185, udp(80, 443)))
    yield ipv6(DESTINATION, extension(FRAGMENT, fragment6(TCP, 0, tcp(80, 443))))
    yield ipv6(UDP, udp(1, 6081, geneve(5, ether(ETHER_IP, ipv4(UDP, udp(53, 53))))))


def frames() -> tuple[bytes, ...]:
    """All complete frames, always in the same order."""
    ip4, ip6 = list(_ip4()), list(_ip6())
    found = [ether(ETHER_IP, p) for p in ip4] + [ether(ETHER_IP6, p) for p in ip6]
    found += [ether(ETHER_IP, p, MAC_ALL, MAC_2) for p in ip4[:2]]
    found += [ether(ETHER_ARP, arp(op)) for op in (1, 2)] + [ether(0x8035, arp(3))]
    some4, some6 = ip4[::7], ip6[::7]
    for vid in (7, 100, 0xE007):
        found += [tagged(vid, ETHER_IP, p) for p in some4]
        found += [tagged(vid, ETHER_IP6, p) for p in some6]
        found += [tagged(vid, ETHER_ARP, arp())]
        inner = [be(7) + be(ETHER_IP) + p for p in some4[:3]]
        found += [tagged(vid, ETHER_VLAN, p, ETHER_QINQ) for p in inner]
        found += [tagged(vid, ETHER_VLAN, p) for p in inner]
    for label in (16, 17):
        found += [ether(ETHER_MPLS, mpls(label, p, bottom=True)) for p in (*some4[:4], some6[0])]
        deeper = [mpls(17, p, bottom=True) for p in some4[:3]]
        found += [ether(ETHER_MPLS, mpls(label, p, bottom=False)) for p in deeper]
    found += [ether(ETHER_PPPOES, pppoe(s, 0x21, p)) for s in (3, 4) for p in some4[:4]]
    found += [ether(ETHER_PPPOES, pppoe(3, 0x57, p)) for p in some6]
    found += [
        ether(ETHER_PPPOED, b"\x11\x09" + bytes(20)),
        tagged(7, ETHER_PPPOES, pppoe(3, 0x21, ip4[0])),
    ]
    found += list(_others())
    return tuple(found)


def _others() -> Iterator[bytes]:
    snap = bytes.fromhex("aaaa03")
    for header in (
        "424203",
        "fefe03",
        "e0e003",
        "ffff",
        "f0f07f",
        "06060100",
        "0606050a",
        "fefe0383",
    ):
        yield llc(bytes.fromhex(header))
    for control in ("0f", "63", "43", "6f", "e3", "af", "87", "01", "05", "09", "00"):
        yield llc(bytes.fromhex("4242" + control))
    for oui_kind in ("000000809b", "080007809b", "00000080f3", "0000008137", "0000000800"):
        yield llc(snap + bytes.fromhex(oui_kind))
    for proto in range(0x81, 0x84):
        yield llc(bytes.fromhex("fefe03") + bytes([proto, 27, 1, 0, 15, 1, 0]))
    for kind in (0x6001, 0x6002, 0x6004, 0x80F3, 0x809B, 0x8137, 0x88CC, 0x05DC, 0x0600):
        yield ether(kind, bytes(46))
    decnet = bytes.fromhex("3c00") + bytes([2]) + be(0x0204) + be(0x0204) + bytes(30)
    yield ether(0x6003, decnet)
    yield ether(0x6003, bytes.fromhex("3c0081") + decnet[2:])
    yield ether(0, b"")
    yield bytes(60)
    yield b"\xff" * 300


def truncations(frame: bytes) -> tuple[bytes, ...]:
    """The frame cut at every length, 0 included."""
    return tuple(frame[:length] for length in range(len(frame)))
