# SPDX-License-Identifier: Apache-2.0
"""What differs from one processor architecture to the next: one file for each, values alone."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Architecture:
    """One architecture, by uname's word for it.

    ``registers``: how many registers hold a function's arguments. ``syscalls``: numbers by name.
    ``entry_mark``: bytes of the instruction that may stand before ftrace's call and marks a
    target of indirect jumps. ``ftrace_call``: bytes of that call. ``breakpoint``: how far behind
    a breakpoint the instruction pointer stands at a hit.
    """

    name: str
    registers: int
    syscalls: Mapping[str, int]
    entry_mark: int
    ftrace_call: int
    breakpoint: int


from .x86_64 import X86_64  # noqa: E402  (it needs the class above)

ARCHITECTURES = {arch.name: arch for arch in (X86_64,)}

SUPPORTED = os.uname().machine in ARCHITECTURES
"""Whether pwru-py can trace on this machine."""

NATIVE = ARCHITECTURES.get(os.uname().machine, X86_64)
"""This machine's architecture; x86-64 on an unsupported one, where nothing is ever loaded."""
