# SPDX-License-Identifier: Apache-2.0
"""Copies of a program that each tell of themselves by a number in their code."""

from __future__ import annotations

import struct
from itertools import starmap

from ..record.contract import COPY_MARK

_INSN = struct.Struct("=BBhi")
_MOVE = 0xB7  # BPF_ALU64 | BPF_MOV | BPF_K


def numbered(instructions: bytes, number: int) -> bytes:
    """The same with ``number`` for COPY_MARK: ``copy_number()`` in bpf/record.bpf.h."""
    changed = [
        (code, registers, offset, number if (code, value) == (_MOVE, COPY_MARK) else value)
        for code, registers, offset, value in _INSN.iter_unpack(instructions)
    ]
    return b"".join(starmap(_INSN.pack, changed))
