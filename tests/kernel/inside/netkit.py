# SPDX-License-Identifier: Apache-2.0
"""Makes a pair of netkit devices, which iproute2 before 6.8 cannot: include/uapi/linux/if_link.h.

``python -m tests.kernel.inside.netkit DEVICE``: what its other end sends is dropped.
"""

from __future__ import annotations

import os
import socket
import struct
import sys

from tests.kernel.inside.wireguard import attribute

_NEWLINK, _FLAGS = 16, 1 | 4 | 0x600  # REQUEST, ACK, CREATE and EXCL
_IFNAME, _LINKINFO, _KIND, _DATA, _PEER_POLICY = 3, 18, 1, 2, 4
_DROP = 2


def main(device: str) -> None:
    options = attribute(_PEER_POLICY, struct.pack("=I", _DROP))
    info = attribute(_KIND, b"netkit") + attribute(_DATA, options)
    body = bytes(16) + attribute(_IFNAME, device.encode() + b"\0") + attribute(_LINKINFO, info)
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.send(struct.pack("=IHHII", 16 + len(body), _NEWLINK, _FLAGS, 1, 0) + body)
        (number,) = struct.unpack_from("=i", link.recv(1 << 16), 16)
    if number:
        raise OSError(-number, os.strerror(-number))


if __name__ == "__main__":
    main(*sys.argv[1:])
