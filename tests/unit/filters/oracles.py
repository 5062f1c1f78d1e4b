# SPDX-License-Identifier: Apache-2.0
"""Who else knows the verdict: libpcap itself, and the kernel through a socket filter."""

from __future__ import annotations

import ctypes
import socket
import struct
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol

import pcapy
from pwru_filters import CbpfInsn
from pwru_filters.front.libpcap import DLT_EN10MB, NETMASK_UNKNOWN, SNAPLEN

SO_ATTACH_FILTER = 26
SO_DETACH_FILTER = 27
BPF_MAXINSNS = 4096


class Program(Protocol):
    """What pcapy.compile() returns."""

    def filter(self, packet: bytes) -> int: ...


def libpcap_program(expression: str) -> Program:
    """libpcap's own program; filter(packet) takes the packet as whole, not truncated."""
    program: Program = pcapy.compile(DLT_EN10MB, SNAPLEN, expression, 1, NETMASK_UNKNOWN)
    return program


def pack(program: Sequence[CbpfInsn]) -> bytes:
    """`struct bpf_insn` of libpcap, which is `struct sock_filter` of the kernel."""
    return b"".join(struct.pack("=HBBI", i.code, i.jt, i.jf, i.k) for i in program)


class Libpcap:
    """bpf_filter() and bpf_image() of the library that pcapy brought along."""

    def __init__(self) -> None:
        self._library: Any = ctypes.CDLL(str(_library_path()))
        self._library.bpf_image.restype = ctypes.c_char_p

    def run(self, program: Sequence[CbpfInsn], packet: bytes, length: int | None = None) -> int:
        """The value that any valid program returns. length: on the wire."""
        wire = len(packet) if length is None else length
        verdict: int = self._library.bpf_filter(pack(program), packet, wire, len(packet))
        return verdict & 0xFFFFFFFF

    def validate(self, program: Sequence[CbpfInsn]) -> bool:
        """Whether bpf_validate() takes the program."""
        return bool(self._library.bpf_validate(pack(program), len(program)))

    def image(self, insn: CbpfInsn, index: int) -> str:
        """A line of `tcpdump -d`."""
        line: bytes = self._library.bpf_image(pack([insn]), index)
        return line.decode()


def _library_path() -> Path:
    """libpcap inside the wheel, else the one that the module was linked with."""
    folder = Path(pcapy.__file__).parent
    for path in sorted(folder.glob("pcapy_ng.libs/libpcap*")):
        return path
    return Path(pcapy.__file__)


class KernelFilter:
    """Classic BPF in the kernel, on datagrams between two sockets; needs no privilege."""

    def __init__(self) -> None:
        self._sender, self._receiver = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._receiver.setblocking(False)

    def __enter__(self) -> KernelFilter:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._sender.close()
        self._receiver.close()

    def attach(self, program: Sequence[CbpfInsn]) -> None:
        """Replace the filter. Raises OSError where the kernel refuses the program."""
        instructions = ctypes.create_string_buffer(pack(program))
        fprog = struct.pack("HL", len(program), ctypes.addressof(instructions))
        self._receiver.setsockopt(socket.SOL_SOCKET, SO_ATTACH_FILTER, fprog)

    def matches(self, packet: bytes) -> bool:
        """Send the packet (at least one byte) and see whether it arrives."""
        self._sender.send(packet)
        try:
            return bool(self._receiver.recv(1))
        except BlockingIOError:
            return False
