# SPDX-License-Identifier: Apache-2.0
"""perf_event_open(2) for one kprobe at an address."""

from __future__ import annotations

import ctypes
import os
import struct

from ..errors import AttachError

_NUMBER = {"x86_64": 298, "aarch64": 241}
_CLOEXEC = 8  # PERF_FLAG_FD_CLOEXEC
_ATTR_SIZE = 112  # PERF_ATTR_SIZE_VER5: known to every kernel with kprobe events (4.17)

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def open_kprobe(pmu: int, addr: int) -> int:
    """A perf event for a kprobe at ``addr``.

    Returns its file descriptor; closing it removes the probe. Raises AttachError.
    """
    attr = bytearray(_ATTR_SIZE)
    struct.pack_into("=II", attr, 0, pmu, _ATTR_SIZE)
    struct.pack_into("=Q", attr, 16, 1)  # sample_period; attr.config 0: not a return probe
    struct.pack_into("=QQ", attr, 56, 0, addr)  # config1: kprobe_func, config2: kprobe_addr
    buffer = ctypes.create_string_buffer(bytes(attr), _ATTR_SIZE)
    fd = _libc.syscall(
        ctypes.c_long(_NUMBER[os.uname().machine]), buffer, -1, 0, -1, ctypes.c_ulong(_CLOEXEC)
    )
    if fd < 0:
        number = ctypes.get_errno()
        raise AttachError(os.strerror(number), number)
    return int(fd)
