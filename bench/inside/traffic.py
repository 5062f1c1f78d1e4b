# SPDX-License-Identifier: Apache-2.0
"""Two namespaces over veth, and packets between them, many for each system call."""

from __future__ import annotations

import contextlib
import ctypes
import os
import socket
import struct
import subprocess
from collections.abc import Iterator

SOURCE, TARGET = "10.2.0.1", "10.2.0.2"
PORT, OTHER_PORT = 5000, 5001
_CLONE_NEWNET = 0x40000000
_BATCH = 32
_PAYLOAD = bytes(32)

NETWORK = f"""
modprobe veth
for n in a b; do ip netns add $n; done
ip link add eth0 netns a type veth peer name eth0 netns b
for n in a b; do
    ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=1 net.ipv4.icmp_ratelimit=0
    ip -n $n link set lo up
    ip -n $n link set eth0 up
done
ip -n a addr add {SOURCE}/24 dev eth0
ip -n b addr add {TARGET}/24 dev eth0
ip netns exec a ping -c1 -W5 {TARGET}
ip -n a neigh replace {TARGET} lladdr $(ip netns exec b cat /sys/class/net/eth0/address) dev eth0
ip -n b neigh replace {SOURCE} lladdr $(ip netns exec a cat /sys/class/net/eth0/address) dev eth0
"""

_libc = ctypes.CDLL(None, use_errno=True)


class _Vector(ctypes.Structure):
    """struct iovec."""

    _fields_ = (("base", ctypes.c_char_p), ("len", ctypes.c_size_t))


class _Message(ctypes.Structure):
    """struct mmsghdr."""

    _fields_ = (
        ("name", ctypes.c_void_p),
        ("namelen", ctypes.c_uint32),
        ("iov", ctypes.POINTER(_Vector)),
        ("iovlen", ctypes.c_size_t),
        ("control", ctypes.c_void_p),
        ("controllen", ctypes.c_size_t),
        ("flags", ctypes.c_int),
        ("len", ctypes.c_uint),
    )


def make_network() -> None:
    subprocess.run(["bash", "-ec", NETWORK], check=True, capture_output=True)


@contextlib.contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread in ``ip netns`` NAMESPACE; sockets made there stay there."""
    with open("/proc/thread-self/ns/net") as home, open(f"/run/netns/{namespace}") as away:
        _libc.setns(away.fileno(), _CLONE_NEWNET)
        try:
            yield
        finally:
            _libc.setns(home.fileno(), _CLONE_NEWNET)


class Batch:
    """The same payload again and again, many packets for each system call."""

    def __init__(self, connected: socket.socket, payload: bytes) -> None:
        self._socket = connected
        self._vector = _Vector(payload, len(payload))
        self._messages = (_Message * _BATCH)()
        for message in self._messages:
            message.iov, message.iovlen = ctypes.pointer(self._vector), 1

    def send(self, packets: int) -> int:
        """Up to 32 of them; returns how many."""
        done = int(_libc.sendmmsg(self._socket.fileno(), self._messages, min(_BATCH, packets), 0))
        if done < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
        return done


class Flow:
    """Packets of one kind from namespace a to b: ``udp``, to a port, or ``icmp``.

    A socket takes the UDP packets, and is emptied after each batch, so that every packet goes the
    same way. ICMP packets are echo replies that nobody asked for: they cause no answer.
    """

    def __init__(self, kind: str, port: int = PORT) -> None:
        with inside("b"):
            self._sink = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._sink.bind((TARGET, port))
        with inside("a"):
            if kind == "udp":
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
                payload = _PAYLOAD
            else:
                self._socket = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP)
                payload = struct.pack("!BBHHH", 0, 0, 0xFFFF, 0, 0) + _PAYLOAD
            self._socket.connect((TARGET, port))
        self._batch = Batch(self._socket, payload)
        room = ctypes.create_string_buffer(256)
        self._room = _Vector(ctypes.cast(room, ctypes.c_char_p), len(room))
        self._taken = (_Message * _BATCH)()
        for message in self._taken:
            message.iov, message.iovlen = ctypes.pointer(self._room), 1
        self._keep = room

    def send(self, packets: int) -> int:
        """Sends ``packets``; returns how many."""
        sent = 0
        while sent < packets:
            sent += self._batch.send(packets - sent)
            while _libc.recvmmsg(
                self._sink.fileno(), self._taken, _BATCH, socket.MSG_DONTWAIT, None
            ) == _BATCH:  # fmt: skip
                pass
        return sent

    def close(self) -> None:
        self._socket.close()
        self._sink.close()
