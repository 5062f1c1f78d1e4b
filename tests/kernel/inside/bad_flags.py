# SPDX-License-Identifier: Apache-2.0
"""A connection, then by hand a segment of it without any flag: TCP drops that."""

from __future__ import annotations

import socket
import struct
import time

HERE, THERE = "10.8.0.1", "10.8.0.2"


def checksum(data: bytes) -> int:
    total: int = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def main() -> None:
    connection = socket.create_connection((THERE, 5000))
    time.sleep(0.3)
    port = connection.getsockname()[1]
    segment = struct.pack("!HHIIBBHHH", port, 5000, 1, 1, 0x50, 0, 1000, 0, 0)
    pseudo = socket.inet_aton(HERE) + socket.inet_aton(THERE)
    pseudo += struct.pack("!HH", socket.IPPROTO_TCP, len(segment))
    segment = segment[:16] + struct.pack("!H", checksum(pseudo + segment)) + segment[18:]
    header = struct.pack(
        "!BBHHHBBH4s4s", 0x45, 0, 20 + len(segment), 1, 0, 64, socket.IPPROTO_TCP, 0,
        socket.inet_aton(HERE), socket.inet_aton(THERE),
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_RAW) as raw:
        raw.sendto(header + segment, (THERE, 0))
    time.sleep(0.3)


if __name__ == "__main__":
    main()
