# SPDX-License-Identifier: Apache-2.0
"""/proc/net/igmp: which multicast groups an interface has joined (net/ipv4/igmp.c). Pure."""

from __future__ import annotations

import socket
import struct


def joined(text: str, ifname: str) -> list[str]:
    """Addresses of its groups. A line of an interface has its index first, one of a group none."""
    found, here = [], False
    for line in text.splitlines()[1:]:
        words = line.split()
        if line[:1].isdigit():
            here = words[1].rstrip(":") == ifname
        elif here and words:
            found.append(socket.inet_ntoa(struct.pack("=I", int(words[0], 16))))
    return found
