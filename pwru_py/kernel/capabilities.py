# SPDX-License-Identifier: Apache-2.0
"""Giving capabilities up (capabilities(7)): a fault cannot use what its thread no longer has."""

from __future__ import annotations

import ctypes
import os

from ..errors import PrivilegeError
from .system import CAP_BPF, CAP_PERFMON, CAP_SYS_ADMIN, CAP_SYSLOG

_VERSION = 0x20080522  # _LINUX_CAPABILITY_VERSION_3
_HEADER = ctypes.c_uint32 * 2  # version, thread (0: the calling one)
_SETS = ctypes.c_uint32 * 6  # effective, permitted, inheritable: capabilities 0 to 31, then 32 on

# Before 5.19 (c8644cd0efe7) reading a map takes CAP_BPF where unprivileged users have no bpf(2);
# kallsyms hides addresses from who lacks CAP_SYSLOG. Detaching is closing files.
WHILE_TRACING = (CAP_BPF, CAP_SYSLOG)

# To look for BPF programs that come, and to attach to them.
WHILE_PROGRAMS_COME = (*WHILE_TRACING, CAP_PERFMON, CAP_SYS_ADMIN)


def keep(numbers: tuple[int, ...]) -> None:
    """Leaves the calling thread these capabilities alone, for good. Raises PrivilegeError."""
    libc = ctypes.CDLL(None, use_errno=True)
    header, sets = _HEADER(_VERSION, 0), _SETS()
    mask = sum(1 << number for number in numbers)
    if not libc.capget(header, sets):
        for word, bits in ((0, mask & 0xFFFFFFFF), (3, mask >> 32)):
            sets[word] &= bits
            sets[word + 1] &= bits
            sets[word + 2] = 0
        if not libc.capset(header, sets):
            return
    problem = os.strerror(ctypes.get_errno()).lower()
    raise PrivilegeError(f"cannot give capabilities up: {problem}")
