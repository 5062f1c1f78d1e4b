# SPDX-License-Identifier: Apache-2.0
"""What tcpdump sees: AF_PACKET sockets, one for everything and one for each expression."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, NamedTuple

from pwru_filters import compile_filter

from tests.kernel.inside.netns import inside

ETH_P_ALL = 3
SOL_PACKET = 263
PACKET_STATISTICS = 6
PACKET_AUXDATA = 8
SO_ATTACH_FILTER = 26
SO_RCVBUFFORCE = 33
ARPHRD_ETHER, ARPHRD_LOOPBACK = 1, 772
TP_STATUS_VLAN_VALID = 1 << 4
AUXDATA = struct.Struct("=IIIHHHH")  # struct tpacket_auxdata: status … vlan_tci, vlan_tpid
BIGGEST = 1 << 17
KEPT = 400
"""Bytes of a frame that are told; no expression looks further."""


class Frame(NamedTuple):
    """``port``: the interface. ``raw``: as the socket gave it, at most KEPT bytes of ``length``.

    ``tpid``, ``tci``: of a VLAN tag that the kernel keeps beside the packet, tpid 0 without.
    ``type``: of the link layer. ``proto``: sockaddr_ll's, for interfaces without a link layer.
    """

    port: str
    outgoing: bool
    type: int
    proto: int
    raw: str
    length: int
    tpid: int
    tci: int


def _open(port: str, expression: str = "") -> socket.socket:
    """Listens on ``port`` of this namespace; the filter is there before the first packet."""
    found = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0)
    found.setsockopt(socket.SOL_SOCKET, SO_RCVBUFFORCE, 1 << 24)
    found.setsockopt(SOL_PACKET, PACKET_AUXDATA, 1)
    found.setblocking(False)
    if expression:
        program = compile_filter(expression).cbpf
        code = b"".join(struct.pack("=HBBI", i.code, i.jt, i.jf, i.k) for i in program)
        buffer = ctypes.create_string_buffer(code, len(code))
        fprog = struct.pack("HL", len(program), ctypes.addressof(buffer))
        found.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)
    found.bind((port, ETH_P_ALL))
    return found


def _drain(source: socket.socket) -> list[Frame]:
    frames = []
    while True:
        try:
            raw, ancillary, _, address = source.recvmsg(BIGGEST, 128)
        except BlockingIOError:
            break
        port, proto, packet_type, hatype, _ = address
        tpid = tci = 0
        for _, _, content in ancillary:
            status, *_, aux_tci, aux_tpid = AUXDATA.unpack(content)
            if status & TP_STATUS_VLAN_VALID:
                tpid, tci = aux_tpid, aux_tci
        outgoing = packet_type == socket.PACKET_OUTGOING
        frames.append(Frame(port, outgoing, hatype, proto, raw[:KEPT].hex(), len(raw), tpid, tci))
    _, dropped = struct.unpack("=II", source.getsockopt(SOL_PACKET, PACKET_STATISTICS, 8))
    assert not dropped, f"the socket on {source.getsockname()} dropped {dropped}"
    return frames


class Capture:
    """Everything on ``ports`` (namespace, interface); the expressions on those of ``exact``."""

    def __init__(
        self, ports: Sequence[tuple[str, str]], exact: Sequence[str], expressions: Sequence[str]
    ) -> None:
        self._whole: dict[str, socket.socket] = {}
        self._exact: dict[tuple[str, str], socket.socket] = {}
        for namespace, port in ports:
            with inside(namespace):
                self._whole[port] = _open(port)
                if port in exact:
                    for expression in expressions:
                        self._exact[expression, port] = _open(port, expression)

    def finish(self) -> dict[str, Any]:
        """``frames``: all. ``passed``: for each expression the indexes of what its sockets saw."""
        frames = [frame for source in self._whole.values() for frame in _drain(source)]
        index = defaultdict(list)
        for number, frame in enumerate(frames):
            index[frame].append(number)
        passed: dict[str, list[int]] = defaultdict(list)
        for (expression, _), source in self._exact.items():
            taken: dict[Frame, int] = defaultdict(int)
            for frame in _drain(source):
                passed[expression].append(index[frame][taken[frame]])
                taken[frame] += 1
        return {"frames": frames, "passed": passed}
