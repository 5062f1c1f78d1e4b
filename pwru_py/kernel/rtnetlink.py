# SPDX-License-Identifier: Apache-2.0
"""Questions to rtnetlink(7): which interface has this name, what is known of each, which route."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from typing import NamedTuple

_RTM_GETLINK, _NLMSG_ERROR, _NLMSG_DONE = 18, 2, 3
_RTM_GETROUTE, _RTA_DST, _RTA_OIF, _RTN_LOCAL = 26, 1, 4, 2
_NLM_F_REQUEST, _NLM_F_DUMP = 1, 0x300
_IFLA_IFNAME, _IFLA_STATS64, _IFLA_XDP, _IFLA_ALT_IFNAME = 3, 23, 43, 53
_IFLA_LINK, _IFLA_MASTER, _IFLA_LINKINFO, _IFLA_LINK_NETNSID = 5, 10, 18, 37
_IFLA_INFO_KIND, _IFLA_INFO_DATA = 1, 2
_NETWORK_ID = {"vxlan": 1, "geneve": 1}  # IFLA_VXLAN_ID, IFLA_GENEVE_ID
_IFLA_XDP_ATTACHED, _IFLA_XDP_PROG_ID, _IFLA_XDP_DRV_PROG_ID = 2, 4, 5
_XDP_ATTACHED_DRV = 1
_NESTED = 0x3FFF  # without NLA_F_NESTED and NLA_F_NET_BYTEORDER
_NAME_BYTES, _ALT_NAME_BYTES = 16, 128  # with the zero at the end: IFNAMSIZ, ALTIFNAMSIZ
_HEADER = struct.Struct("=IHHII")  # struct nlmsghdr
_LINK = struct.Struct("=BxHiII")  # struct ifinfomsg
_ROUTE = struct.Struct("=BBBBBBBBI")  # struct rtmsg
_ATTRIBUTE = struct.Struct("=HH")  # struct rtattr
_STATISTICS = struct.Struct("=16Q")  # struct rtnl_link_stats64 as far as rx_missed_errors
_ANSWER_BYTES = 1 << 17


class Link(NamedTuple):
    """An interface, and what it counted since its start (struct rtnl_link_stats64): frames.

    ``errors``: all that were bad. ``overruns``: ``rx_fifo_errors``. ``missed``: no room for them.
    ``received``, ``sent``: packets.
    ``xdp``: the number of the XDP program in its driver, 0 without one. ``ifindex``: its own;
    ``master``: that of the bridge, bond or VRF it belongs to; ``lower``: that of the interface
    below it in the same namespace; 0: none. ``kind``: ``bridge``, ``vlan``; '' of hardware.
    ``vni``: of a VXLAN or Geneve device the network's number; None of others.
    """

    errors: int
    overruns: int
    missed: int
    xdp: int = 0
    ifindex: int = 0
    master: int = 0
    lower: int = 0
    kind: str = ""
    received: int = 0
    sent: int = 0
    vni: int | None = None


class Route(NamedTuple):
    """What the kernel says of the way to an address. ``refused``: the errno, 0 where there is one;
    ``ifindex``: of the interface it leaves by; ``local``: the address is the namespace's own.
    """

    refused: int
    ifindex: int = 0
    local: bool = False


class Links:
    """Every interface of the namespace in which this is made.

    Its socket stays in that namespace. Raises OSError, as ``read`` does.
    """

    def __init__(self) -> None:
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, socket.NETLINK_ROUTE)

    def read(self) -> dict[str, Link]:
        """By the interface's name."""
        body = _LINK.pack(0, 0, 0, 0, 0)
        flags = _NLM_F_REQUEST | _NLM_F_DUMP
        head = _HEADER.pack(_HEADER.size + len(body), _RTM_GETLINK, flags, 1, 0)
        self._socket.sendto(head + body, (0, 0))
        found: dict[str, Link] = {}
        while not take_links(self._socket.recv(_ANSWER_BYTES), found):
            pass
        return found

    def route(self, address: str) -> Route:
        """The route that a packet to ``address``, IPv4 or IPv6, would take. Sends no packet."""
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        packed = socket.inet_pton(family, address)
        attribute = _ATTRIBUTE.pack(_ATTRIBUTE.size + len(packed), _RTA_DST) + packed
        body = _ROUTE.pack(family, len(packed) * 8, 0, 0, 0, 0, 0, 0, 0) + attribute
        size = _HEADER.size + len(body)
        self._socket.sendto(_HEADER.pack(size, _RTM_GETROUTE, _NLM_F_REQUEST, 1, 0) + body, (0, 0))
        return parse_route(self._socket.recv(_ANSWER_BYTES))

    def close(self) -> None:
        self._socket.close()


def parse_route(answer: bytes) -> Route:
    """Of an answer to RTM_GETROUTE."""
    _, kind, *_ = _HEADER.unpack_from(answer)
    if kind == _NLMSG_ERROR:
        (number,) = struct.unpack_from("=i", answer, _HEADER.size)
        return Route(-number)
    own = dict(attributes(answer[_HEADER.size + _ROUTE.size :]))
    local = _ROUTE.unpack_from(answer, _HEADER.size)[7] == _RTN_LOCAL
    return Route(0, _number(own.get(_RTA_OIF, b"")), local)


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


def take_links(answer: bytes, found: dict[str, Link]) -> bool:
    """Puts each interface of a part of a dump into ``found``; true: it was the last part.

    Raises OSError for the error in it.
    """
    at = 0
    while at + _HEADER.size <= len(answer):
        size, kind, *_ = _HEADER.unpack_from(answer, at)
        if kind == _NLMSG_DONE:
            return True
        message = answer[at : at + size]
        if kind == _NLMSG_ERROR:
            parse(message)
        own = dict(attributes(message[_HEADER.size + _LINK.size :]))
        if len(counted := own.get(_IFLA_STATS64, b"")) >= _STATISTICS.size:
            numbers = _STATISTICS.unpack_from(counted)
            name = os.fsdecode(own.get(_IFLA_IFNAME, b"").rstrip(b"\0"))
            found[name] = Link(
                numbers[4],
                numbers[14],
                numbers[15],
                _driver_program(own.get(_IFLA_XDP, b"")),
                int(_LINK.unpack_from(message, _HEADER.size)[2]),
                _number(own.get(_IFLA_MASTER, b"")),
                0 if _IFLA_LINK_NETNSID in own else _number(own.get(_IFLA_LINK, b"")),
                _kind(own.get(_IFLA_LINKINFO, b"")),
                numbers[0],
                numbers[1],
                _network(own.get(_IFLA_LINKINFO, b"")),
            )
        at += size + 3 & ~3
    return False


def _driver_program(nested: bytes) -> int:
    """Where another one runs as generic XDP, too, the driver's has its own attribute."""
    own = {kind: _number(value) for kind, value in attributes(nested)}
    alone = own.get(_IFLA_XDP_ATTACHED) == _XDP_ATTACHED_DRV
    return own.get(_IFLA_XDP_DRV_PROG_ID, own.get(_IFLA_XDP_PROG_ID, 0) if alone else 0)


def _number(value: bytes) -> int:
    return int.from_bytes(value, sys.byteorder)


def _kind(nested: bytes) -> str:
    return os.fsdecode(dict(attributes(nested)).get(_IFLA_INFO_KIND, b"").rstrip(b"\0"))


def _network(nested: bytes) -> int | None:
    own = dict(attributes(nested))
    value = dict(attributes(own.get(_IFLA_INFO_DATA, b""))).get(_NETWORK_ID.get(_kind(nested), 0))
    return _number(value) if value else None


def attributes(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and value of each, without the flags of the kind (struct rtattr)."""
    at = 0
    while at + _ATTRIBUTE.size <= len(data):
        size, kind = _ATTRIBUTE.unpack_from(data, at)
        yield kind & _NESTED, data[at + _ATTRIBUTE.size : at + size]
        at += max(size, _ATTRIBUTE.size) + 3 & ~3
