# SPDX-License-Identifier: Apache-2.0
"""Runs a command to which the kernel refuses some of bpf(2), as a container's seccomp(2) does.

``refuse COMMAND[,COMMAND ...] ERRNO program [argument ...]``: the numbers of enum bpf_cmd, and what
bpf(2) answers to them.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys

from pwru_py.arch import NATIVE

_NO_NEW_PRIVS, _SECCOMP, _MODE_FILTER = 38, 22, 2
_LD_ABS, _JEQ, _RET = 0x20, 0x15, 0x06  # linux/bpf_common.h
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
_NUMBER, _FIRST_ARGUMENT = 0, 16  # struct seccomp_data


def _insn(code: int, k: int, jt: int = 0, jf: int = 0) -> bytes:
    return struct.pack("=HBBI", code, jt, jf, k)


def filter_for(commands: list[int], number: int) -> bytes:
    """struct sock_filter[]: bpf(2) with one of these commands fails with this errno."""
    left = len(commands)
    code = _insn(_LD_ABS, _NUMBER) + _insn(_JEQ, NATIVE.syscalls["bpf"], 0, left + 1)
    code += _insn(_LD_ABS, _FIRST_ARGUMENT)
    for n, command in enumerate(commands):
        code += _insn(_JEQ, command, left - n, 0)
    return code + _insn(_RET, _ALLOW) + _insn(_RET, _ERRNO | number)


def main() -> None:
    commands, number = [int(word) for word in sys.argv[1].split(",")], int(sys.argv[2])
    code = filter_for(commands, number)
    buffer = ctypes.create_string_buffer(code, len(code))
    program = struct.pack("=H6xQ", len(code) // 8, ctypes.addressof(buffer))
    prctl = ctypes.CDLL(None, use_errno=True).prctl
    if prctl(_NO_NEW_PRIVS, 1, 0, 0, 0) or prctl(_SECCOMP, _MODE_FILTER, program, 0, 0):
        raise OSError(ctypes.get_errno(), "seccomp")
    os.execvp(sys.argv[3], sys.argv[3:])


if __name__ == "__main__":
    main()
