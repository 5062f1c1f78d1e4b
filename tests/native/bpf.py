# SPDX-License-Identifier: Apache-2.0
"""bpf(2) by system call, apart from the code that is tested. Layouts: include/uapi/linux/bpf.h."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterator

_BPF, _PROG_LOAD, _PROG_ATTACH, _PROG_DETACH = 321, 5, 8, 9
_CGROUP_SKB, _ALLOW_MULTI = 8, 2
GROUP_INGRESS, GROUP_EGRESS = 0, 1
RETURN_0 = struct.pack("=BBhiBBhi", 0xB7, 0, 0, 0, 0x95, 0, 0, 0)


def bpf(command: int, attr: bytes) -> int:
    """The result; -1 with errno set."""
    libc = ctypes.CDLL(None, use_errno=True)
    buffer = ctypes.create_string_buffer(attr, 128)
    return int(libc.syscall(_BPF, command, buffer, len(buffer)))


def _done(result: int) -> int:
    if result < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return result


@contextlib.contextmanager
def refusing(group: str, place: int, name: str) -> Iterator[None]:
    """A control group, a directory, whose program ``name`` refuses every packet at ``place``."""
    code, terms = ctypes.create_string_buffer(RETURN_0), ctypes.create_string_buffer(b"GPL")
    pointers = map(ctypes.addressof, (code, terms))
    attr = struct.pack("=IIQQ16xII16sII", _CGROUP_SKB, 2, *pointers, 0, 0, name.encode(), 0, place)
    program = _done(bpf(_PROG_LOAD, attr))
    directory = os.open(group, os.O_RDONLY | os.O_DIRECTORY)
    try:
        where = struct.pack("=III", directory, program, place)
        _done(bpf(_PROG_ATTACH, where + struct.pack("=I", _ALLOW_MULTI)))
        try:
            yield
        finally:
            _done(bpf(_PROG_DETACH, where))
    finally:
        os.close(directory)
        os.close(program)
