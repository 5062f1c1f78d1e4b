# SPDX-License-Identifier: Apache-2.0
"""What the kernel knows of loaded BPF programs, by bpf(2)."""

from __future__ import annotations

import contextlib
import ctypes
import os
import struct
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

_SYS_BPF = 321  # x86-64
_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _OBJ_GET_INFO_BY_FD = 11, 13, 15
_NAME_MAX = 15
_INFO_BYTES = 256
# struct bpf_prog_info, include/uapi/linux/bpf.h
_LENGTHS = struct.Struct("=II")  # jited_prog_len, xlated_prog_len at 16
_NAME_AT = 64
_RUNS = struct.Struct("=QQ")  # run_time_ns, run_cnt at 192
_VERIFIED = struct.Struct("=I")  # verified_insns at 216 (5.16 and later)

_libc = ctypes.CDLL(None, use_errno=True)


@dataclass(frozen=True, slots=True)
class Program:
    """``verified``: instructions that the verifier walked to accept it, 0 where not told."""

    name: str
    jited_bytes: int
    xlated_insns: int
    run_ns: int
    runs: int
    verified: int


def enable(on: bool = True) -> None:
    """Counts runs and their time, which costs each run two looks at the clock."""
    Path("/proc/sys/kernel/bpf_stats_enabled").write_text(str(int(on)))


def programs(prefixes: Iterable[str]) -> list[Program]:
    """Every loaded program whose name, which the kernel cuts at 15 bytes, begins so."""
    wanted = tuple(prefix[:_NAME_MAX] for prefix in prefixes)
    found: list[Program] = []
    last = 0
    while True:
        attr = ctypes.create_string_buffer(struct.pack("=III", last, 0, 0), 128)
        if _bpf(_PROG_GET_NEXT_ID, attr) < 0:
            return found
        last = struct.unpack_from("=I", attr, 4)[0]
        with contextlib.suppress(OSError):
            program = _info(last)
            if program.name.startswith(wanted):
                found.append(program)


def _info(number: int) -> Program:
    fd = _bpf(_PROG_GET_FD_BY_ID, ctypes.create_string_buffer(struct.pack("=I", number), 128))
    if fd < 0:
        raise OSError(ctypes.get_errno(), "program is gone")
    try:
        info = ctypes.create_string_buffer(_INFO_BYTES)
        attr = struct.pack("=IIQ", fd, _INFO_BYTES, ctypes.addressof(info))
        if _bpf(_OBJ_GET_INFO_BY_FD, ctypes.create_string_buffer(attr, 128)) < 0:
            raise OSError(ctypes.get_errno(), "no information")
    finally:
        os.close(fd)
    jited, xlated = _LENGTHS.unpack_from(info, 16)
    run_ns, runs = _RUNS.unpack_from(info, 192)
    name = info.raw[_NAME_AT : _NAME_AT + 16].split(b"\0")[0].decode()
    return Program(name, jited, xlated // 8, run_ns, runs, _VERIFIED.unpack_from(info, 216)[0])


def _bpf(command: int, attr: ctypes.Array[ctypes.c_char]) -> int:
    return int(_libc.syscall(_SYS_BPF, command, attr, len(attr)))
