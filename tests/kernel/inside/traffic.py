# SPDX-License-Identifier: Apache-2.0
"""Packets for the network of ``filter_network.py``: raw frames, and what stacks send."""

from __future__ import annotations

import fcntl
import os
import socket
import struct
import tempfile
from collections.abc import Sequence

from tests.kernel.inside.netns import inside
from tests.unit.filters import packets

SO_MARK = 36
IPV6_HOPOPTS, IPV6_DSTOPTS = 54, 59  # include/uapi/linux/in6.h
TUNSETIFF, IFF_TUN, IFF_NO_PI = 0x400454CA, 1, 0x1000
ETHERNET_HEADER = 14


def raw_frames() -> list[bytes]:
    """The unit tests' frames, each once; number n is sent with mark n + 1."""
    return [f for f in dict.fromkeys(packets.frames()) if len(f) > ETHERNET_HEADER]


def send_raw(frames: Sequence[bytes]) -> None:
    with inside("fr"):
        sender = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    sender.bind(("p0", 0))
    for number, frame in enumerate(frames, 1):
        sender.setsockopt(socket.SOL_SOCKET, SO_MARK, number)
        sender.send(frame)
    sender.close()


Option = tuple[int, int, bytes]
"""Level, name, value."""


def _udp(to: str, dport: int, size: int, *, sport: int = 0, options: Sequence[Option] = ()) -> None:
    """One datagram of ``size`` bytes, from a socket with ``options``."""
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_DGRAM) as sender:
        sender.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in options:
            sender.setsockopt(level, option, value)
        if sport:
            sender.bind(("", sport))
        sender.sendto(bytes(range(256)) * (size // 256) + bytes(size % 256), (to, dport))


def _int(value: int) -> bytes:
    return struct.pack("=i", value)


def _raw_ip(to: str, proto: int, body: bytes) -> None:
    family = socket.AF_INET6 if ":" in to else socket.AF_INET
    with socket.socket(family, socket.SOCK_RAW, proto) as sender:
        sender.sendto(body, (to, 0))


def _datagrams() -> None:
    ip, ip6, any_ = socket.IPPROTO_IP, socket.IPPROTO_IPV6, socket.SOL_SOCKET
    for number, (dport, sport) in enumerate(((53, 0), (80, 53), (443, 0), (5353, 1024))):
        _udp("1.1.1.1", dport, 20 + number, sport=sport)
        _udp("2001:db8::2", dport, 30 + number, sport=sport)
    options = bytes.fromhex("94040000") + b"\1" * 8  # router alert, no-ops
    _udp("1.1.1.1", 53, 41, options=[(ip, socket.IP_OPTIONS, options)])
    _udp("1.1.1.1", 53, 42, options=[(ip, socket.IP_TTL, _int(1))])
    extension = bytes([0, 0, 1, 4, 0, 0, 0, 0])  # PadN
    _udp("2001:db8::2", 53, 43, options=[(ip6, IPV6_HOPOPTS, extension)])
    _udp("2001:db8::2", 80, 44, options=[(ip6, IPV6_DSTOPTS, extension)])
    _udp("1.1.1.1", 53, 4000)
    _udp("2001:db8::2", 53, 4001)
    _udp("1.1.1.1", 9, 1400)
    _udp("224.0.0.5", 53, 45, options=[(ip, socket.IP_MULTICAST_LOOP, _int(0))])
    device = struct.pack("=i", socket.if_nametoindex("sa"))
    multicast = [
        (ip6, socket.IPV6_MULTICAST_IF, device),
        (ip6, socket.IPV6_MULTICAST_LOOP, _int(0)),
    ]
    _udp("ff0e::5", 53, 46, options=multicast)
    _udp("255.255.255.255", 67, 47, options=[(any_, socket.SO_BROADCAST, _int(1))])
    _udp("1.1.1.3", 53, 48)  # asks by ARP first
    for to in ("10.7.0.2", "10.100.0.2", "10.8.0.2", "10.9.0.2", "10.6.0.2", "127.0.0.1",
               "2001:db8:7::2", "2001:db8:100::2", "2001:db8:8::2", "2001:db8:9::2",
               "2001:db8:6::2", "::1"):  # fmt: skip
        for dport, size in ((53, 50), (80, 1100)):
            try:
                _udp(to, dport, size)
            except OSError:  # WireGuard without a peer: refused after the interface saw it
                if "6.0" not in to and ":6:" not in to:
                    raise


def _echo(kind: int, size: int) -> bytes:
    """An echo request; the checksum of ICMP is its sender's to fill in."""
    body = struct.pack(">BBHHH", kind, 0, 0, 1, 1) + bytes(size)
    total = sum(struct.unpack(f">{len(body) // 2}H", body))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return body[:2] + struct.pack(">H", ~total & 0xFFFF) + body[4:]


def _others() -> None:
    for to in ("1.1.1.1", "10.7.0.2", "10.100.0.2", "10.8.0.2"):
        _raw_ip(to, packets.ICMP, _echo(8, 62))
    for to in ("2001:db8::2", "2001:db8:7::2"):
        _raw_ip(to, packets.ICMP6, _echo(128, 64))  # the kernel fills in this checksum
    _raw_ip("1.1.1.1", packets.SCTP, packets.be(80) + packets.be(1025) + bytes(30))
    _raw_ip("1.1.1.1", packets.IGMP, b"\x16" + bytes(31))
    _raw_ip("1.1.1.1", packets.ESP, bytes(34))


def _answer_arp() -> None:
    """A request from outside makes the stack of fb answer."""
    body = packets.be(1) + packets.be(0x800) + b"\6\4" + packets.be(1) + packets.MAC_1
    body += socket.inet_aton("10.0.0.2") + bytes(6) + socket.inet_aton("1.1.1.1")
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as sender:
        sender.bind(("sa", 0))
        sender.send(packets.ether(packets.ETHER_ARP, body, packets.MAC_ALL))


def _receive(source: socket.socket, size: int) -> None:
    while size > 0:
        got = len(source.recv(1 << 16))
        assert got, "the connection ended early"
        size -= got


def _connection(family: int, to: str, port: int) -> None:
    """TCP: little data each way, then much from a file (pages, which the kernel does not copy)."""
    with inside("fb"):
        listener = socket.socket(family, socket.SOCK_STREAM)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((to, port))
    listener.listen()
    client = socket.create_connection((to, port), 30)
    server, _ = listener.accept()
    server.settimeout(30)
    client.sendall(packets.PAYLOAD)
    _receive(server, len(packets.PAYLOAD))
    server.sendall(b"HTTP/1.1 200 OK\r\n\r\n")
    _receive(client, 19)
    with tempfile.TemporaryFile() as file:
        file.write(bytes(20000))
        file.flush()
        assert os.sendfile(client.fileno(), file.fileno(), 0, 20000) == 20000
        _receive(server, 20000)
        datagrams = socket.socket(family, socket.SOCK_DGRAM)
        datagrams.connect((to, 4444))
        os.sendfile(datagrams.fileno(), file.fileno(), 0, 1200)
        datagrams.close()
    client.close()
    assert server.recv(1) == b""
    server.close()
    listener.close()


def open_tun() -> int:
    """The other end of ``ft``."""
    with inside("fa"):
        tun = os.open("/dev/net/tun", os.O_RDWR)
        fcntl.ioctl(tun, TUNSETIFF, struct.pack("16sH14x", b"ft", IFF_TUN | IFF_NO_PI))
    return tun


def _from_tun(tun: int) -> None:
    packet = packets.ipv4(packets.UDP, packets.udp(53, 5353), pair=("10.9.0.2", "10.9.0.1"))
    header = packet[:20]
    total = sum(struct.unpack(">10H", header))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    os.write(tun, header[:10] + packets.be(~total & 0xFFFF) + packet[12:])
    os.write(
        tun,
        packets.ipv6(packets.UDP, packets.udp(53, 80), pair=("2001:db8:9::2", "2001:db8:9::1")),
    )


def send_stack(tun: int) -> None:
    """Everything that the stacks of fa and fb send and receive."""
    with inside("fa"):
        _datagrams()
        _others()
        _answer_arp()
        _connection(socket.AF_INET, "1.1.1.1", 80)
        _connection(socket.AF_INET6, "2001:db8::2", 80)
        _from_tun(tun)
