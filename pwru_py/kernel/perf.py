# SPDX-License-Identifier: Apache-2.0
"""perf_event_open(2) for kprobes: one at an address, or all of a kprobe event."""

from __future__ import annotations

import ctypes
import os
import struct

from ..arch import NATIVE
from ..errors import AttachError

_CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
_PERF_TYPE_TRACEPOINT = 2
_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5: known to every kernel with kprobe events (4.17)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_kprobe(pmu: int, addr: int) -> int:
    """A perf event for a kprobe at ``addr``.

    Returns its file descriptor; closing it removes the probe. Raises AttachError.
    """
    return _open(pmu, 0, addr)  # config 0: not a return probe


def open_named_kprobe(pmu: int, function: str, offset: int = 0, *, leaves: bool) -> int:
    """A perf event for a kprobe ``offset`` bytes into a function, or where it is left (kretprobe).

    Returns its file descriptor; closing it removes the probe. Raises AttachError.
    """
    name = ctypes.create_string_buffer(function.encode())
    return _open(pmu, int(leaves), offset, ctypes.addressof(name))


def open_tracepoint(number: int) -> int:
    """A perf event for the event that tracefs calls by this number.

    Returns its file descriptor; closing it disables the event. Raises AttachError.
    """
    return _open(_PERF_TYPE_TRACEPOINT, number, 0)


def _open(kind: int, config: int, addr: int, name_addr: int = 0) -> int:
    attr = bytearray(_ATTR_SIZE)
    struct.pack_into("=IIQQ", attr, 0, kind, _ATTR_SIZE, config, 1)  # sample_period: 1
    # config1: kprobe_func; config2: probe_offset behind it, or without it kprobe_addr
    struct.pack_into("=QQ", attr, 56, name_addr, addr)
    buffer = ctypes.create_string_buffer(bytes(attr), _ATTR_SIZE)
    fd = _libc.syscall(
        ctypes.c_long(NATIVE.syscalls["perf_event_open"]),
        buffer,
        -1,
        0,
        -1,
        ctypes.c_ulong(_CLOEXEC),
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise AttachError(os.strerror(number), number)
    return int(fd)
