# SPDX-License-Identifier: Apache-2.0
"""Sets up a WireGuard device, in place of wg(8): include/uapi/linux/wireguard.h, genetlink.

``python -m tests.kernel.inside.wireguard DEVICE PORT`` gives it that port and a key of its own, and
prints its public key. With ``KEY ADDRESS ALLOWED …`` behind it the device gets that peer, at the
same port, which may send from those addresses.
"""

from __future__ import annotations

import ipaddress
import os
import socket
import struct
import sys

_NETLINK_GENERIC, _CTRL, _CTRL_GETFAMILY = 16, 16, 3
_CTRL_FAMILY_ID, _CTRL_FAMILY_NAME = 1, 2
_REQUEST, _ACK, _DUMP, _NESTED = 1, 4, 0x300, 0x8000
_GET_DEVICE, _SET_DEVICE = 0, 1
_IFNAME, _PRIVATE_KEY, _PUBLIC_KEY, _LISTEN_PORT, _PEERS = 2, 3, 4, 6, 8
_PEER_KEY, _PEER_ENDPOINT, _PEER_ALLOWED = 1, 4, 9
_ALLOWED_FAMILY, _ALLOWED_ADDRESS, _ALLOWED_BITS = 1, 2, 3


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def attributes(data: bytes) -> dict[int, bytes]:
    found, at = {}, 0
    while at + 4 <= len(data):
        size, kind = struct.unpack_from("=HH", data, at)
        found[kind & ~_NESTED] = data[at + 4 : at + size]
        at += size + 3 & ~3
    return found


def ask(
    link: socket.socket, family: int, command: int, flags: int, body: bytes
) -> dict[int, bytes]:
    """The first answer's attributes. Raises OSError for the error in it."""
    message = struct.pack("=BBH", command, 1, 0) + body
    head = struct.pack("=IHHII", 16 + len(message), family, _REQUEST | flags, 1, 0)
    link.send(head + message)
    answer = link.recv(1 << 16)
    size, kind = struct.unpack_from("=IH", answer)
    if kind == 2:  # NLMSG_ERROR
        (number,) = struct.unpack_from("=i", answer, 16)
        if number:
            raise OSError(-number, os.strerror(-number))
        return {}
    return attributes(answer[20:size])


def endpoint(address: str, port: int) -> bytes:
    """struct sockaddr_in or sockaddr_in6."""
    packed = ipaddress.ip_address(address).packed
    port_be = struct.pack("!H", port)
    if len(packed) == 4:
        return struct.pack("=H", socket.AF_INET) + port_be + packed + bytes(8)
    return struct.pack("=H", socket.AF_INET6) + port_be + bytes(4) + packed + bytes(4)


def allowed(address: str) -> bytes:
    packed = ipaddress.ip_address(address).packed
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    inner = attribute(_ALLOWED_FAMILY, struct.pack("=H", family))
    inner += attribute(_ALLOWED_ADDRESS, packed)
    return attribute(_NESTED, inner + attribute(_ALLOWED_BITS, bytes([8 * len(packed)])))


def main(device: str, port: str, *peer: str) -> None:
    link = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_GENERIC)
    name = attribute(_CTRL_FAMILY_NAME, b"wireguard\0")
    found = ask(link, _CTRL, _CTRL_GETFAMILY, 0, name)
    (family,) = struct.unpack("=H", found[_CTRL_FAMILY_ID])
    mine = attribute(_IFNAME, device.encode() + b"\0")
    if not peer:
        own = attribute(_PRIVATE_KEY, os.urandom(32))
        own += attribute(_LISTEN_PORT, struct.pack("=H", int(port)))
        ask(link, family, _SET_DEVICE, _ACK, mine + own)
        print(ask(link, family, _GET_DEVICE, _DUMP, mine)[_PUBLIC_KEY].hex())
        return
    key, address, *addresses = peer
    told = attribute(_PEER_KEY, bytes.fromhex(key))
    told += attribute(_PEER_ENDPOINT, endpoint(address, int(port)))
    told += attribute(_PEER_ALLOWED | _NESTED, b"".join(map(allowed, addresses)))
    ask(
        link,
        family,
        _SET_DEVICE,
        _ACK,
        mine + attribute(_PEERS | _NESTED, attribute(_NESTED, told)),
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
