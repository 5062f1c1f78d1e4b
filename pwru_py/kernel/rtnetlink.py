# SPDX-License-Identifier: Apache-2.0
"""One question to rtnetlink(7): which interface has this name."""

from __future__ import annotations

import os
import socket
import struct

_RTM_GETLINK, _NLMSG_ERROR, _NLM_F_REQUEST = 18, 2, 1
_IFLA_IFNAME, _IFLA_ALT_IFNAME = 3, 53
_NAME_BYTES, _ALT_NAME_BYTES = 16, 128  # with the zero at the end: IFNAMSIZ, ALTIFNAMSIZ
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_ANSWER_BYTES = 1 << 17


def interface_index(name: str) -> int:
    """The index of the interface with that name or alternative name (5.5) in this namespace.

    Raises OSError, ENODEV when there is none.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE) as link:
        link.sendto(request(os.fsencode(name)), (0, 0))
        return parse(link.recv(_ANSWER_BYTES))


def request(name: bytes) -> bytes:
    """The message that asks for it: ``name`` goes where its length allows. Raises OSError."""
    text = name + b"\0"
    if len(text) > _ALT_NAME_BYTES or b"\0" in name or not name:
        raise OSError(19, os.strerror(19))
    kind = _IFLA_IFNAME if len(text) <= _NAME_BYTES else _IFLA_ALT_IFNAME
    attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(text), kind) + text
    body = _LINK.pack(0, 0, 0, 0, 0) + attribute + bytes(-len(attribute) % 4)
    return _HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, _NLM_F_REQUEST, 1, 0) + body


def parse(answer: bytes) -> int:
    """The index in the answer. Raises OSError for the error in it."""
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        raise OSError(-number, os.strerror(-number))
    return int(_LINK.unpack_from(answer, _HEADER.size)[2])
