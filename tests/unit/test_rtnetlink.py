# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import socket
import struct
from pathlib import Path

import pytest

from pwru_py.kernel.rtnetlink import Link, Links, interface_index, parse, request, take_links


def test_every_interface_here() -> None:
    found = {name: interface_index(name) for _, name in socket.if_nameindex()}
    assert found == {name: index for index, name in socket.if_nameindex()}


@pytest.mark.parametrize("name", ["absent0", "x" * 16, "x" * 127, "x" * 128, "", "nul\0", "\udcff"])
def test_a_name_that_nothing_has(name: str) -> None:
    with pytest.raises(OSError) as raised:  # noqa: PT011
        interface_index(name)
    assert raised.value.errno == errno.ENODEV


@pytest.mark.parametrize(("name", "kind"), [(b"x" * 15, 3), (b"x" * 16, 53)])
def test_a_long_name_is_an_alternative_one(name: bytes, kind: int) -> None:
    """IFLA_IFNAME takes 15 bytes, IFLA_ALT_IFNAME 127."""
    message = request(name)
    size, message_type = struct.unpack_from("=IH", message)
    assert (size, message_type) == (len(message), 18)
    length, found = struct.unpack_from("=HH", message, 32)
    assert (length, found) == (4 + len(name) + 1, kind)
    assert message[36:].rstrip(b"\0") == name
    assert len(message) % 4 == 0


def test_an_answer() -> None:
    head = struct.pack("=IHHII", 32, 16, 0, 1, 1)
    assert parse(head + struct.pack("=BxHiII", 0, 1, 4711, 0, 0)) == 4711
    refusal = struct.pack("=IHHIIi", 36, 2, 0, 1, 1, -errno.EPERM) + bytes(16)
    with pytest.raises(PermissionError):
        parse(refusal)


def test_counters_of_every_interface_here() -> None:
    links = Links()
    try:
        for _ in range(2):
            found = links.read()
            assert found.keys() == {name for _, name in socket.if_nameindex()}
    finally:
        links.close()
    for name, link in found.items():
        folder = Path("/sys/class/net", name, "statistics")
        files = ("rx_errors", "rx_fifo_errors", "rx_missed_errors")
        assert link[:3] == tuple(int((folder / file).read_text()) for file in files)


def attribute(kind: int, value: bytes) -> bytes:
    return struct.pack("=HH", 4 + len(value), kind) + value + bytes(-len(value) % 4)


def test_what_a_device_lies_on_and_belongs_to() -> None:
    counted = attribute(23, bytes(25 * 8))
    kind = attribute(18, attribute(1, b"vlan\0"))
    number = struct.Struct("=I").pack

    def link(*more: bytes) -> Link:
        body = struct.pack("=BxHiII", 0, 1, 9, 0, 0) + attribute(3, b"x\0") + counted
        body += b"".join(more)
        found: dict[str, Link] = {}
        take_links(struct.pack("=IHHII", 16 + len(body), 16, 2, 1, 1) + body, found)
        return found["x"]

    assert link(attribute(5, number(3)), kind)[4:8] == (9, 0, 3, "vlan")
    assert link(attribute(10, number(4)))[4:8] == (9, 4, 0, "")
    elsewhere = link(attribute(5, number(3)), attribute(37, number(0)), attribute(10, number(4)))
    assert elsewhere[4:8] == (9, 4, 0, ""), "the other end of a veth pair is in another namespace"


def test_a_part_of_a_dump() -> None:
    """With attributes that are of no interest, an interface without counters, and the end."""
    counted = struct.pack("=25Q", *range(100, 125))
    named = struct.pack("=BxHiII", 0, 1, 7, 0, 0) + attribute(3, b"eth0\0")
    bodies = (named + attribute(4, b"12345") + attribute(23, counted), named.replace(b"h0", b"h1"))
    parts = b"".join(struct.pack("=IHHII", 16 + len(body), 16, 2, 1, 1) + body for body in bodies)
    end = struct.pack("=IHHIIi", 20, 3, 2, 1, 1, 0)
    found: dict[str, Link] = {}
    assert not take_links(parts, found)
    assert take_links(parts + end, found)
    assert found == {"eth0": Link(104, 114, 115, ifindex=7, received=100, sent=101)}
    with pytest.raises(PermissionError):
        take_links(struct.pack("=IHHIIi", 36, 2, 0, 1, 1, -errno.EPERM) + bytes(16), found)
