# SPDX-License-Identifier: Apache-2.0
"""x86-64: System V ABI; arch/x86/entry/syscalls/syscall_64.tbl; arch/x86/kernel/kprobes."""

from __future__ import annotations

from . import Architecture

X86_64 = Architecture(
    name="x86_64",
    registers=6,  # rdi, rsi, rdx, rcx, r8, r9 (System V ABI, section 3.2.3)
    syscalls={"perf_event_open": 298, "bpf": 321},
    entry_mark=4,  # endbr64, with IBT
    ftrace_call=5,  # call or nop, 5 bytes
    breakpoint=1,  # int3
)
