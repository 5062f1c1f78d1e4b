# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import socket
import struct

import pytest

from pwru_py.kernel.rtnetlink import interface_index, parse, request


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
