# SPDX-License-Identifier: Apache-2.0
"""Which register holds which argument of a function: the kernel's C calling convention. Pure."""

from __future__ import annotations

from .btf import Btf, Kind, TypeId

REGISTERS = 6
"""Argument registers of x86-64: rdi, rsi, rdx, rcx, r8, r9 (System V ABI, section 3.2.3)."""


def _words(btf: Btf, type_id: TypeId) -> int:
    """Registers that a value takes: 0 when it is passed in memory."""
    size = btf.size(type_id)
    return 0 if size > 16 else (size + 7) // 8


def argument_registers(btf: Btf, proto: TypeId) -> tuple[int, ...]:
    """For each parameter of ``proto``: its first register counted from 1, or 0 when on the stack.

    A structure of up to 16 bytes takes one or two registers, a larger one none; one that finds
    too few left goes to the stack as a whole, and later arguments still use them. A function
    that returns a larger structure gets a hidden pointer in the first register.
    """
    returned = btf.resolve(btf.target(proto))
    in_memory = btf.kind(returned) in (Kind.STRUCT, Kind.UNION) and btf.size(returned) > 16
    used = 1 if in_memory else 0
    registers = []
    for type_id in btf.parameter_types(proto):
        need = _words(btf, TypeId(type_id))
        if need and used + need <= REGISTERS:
            registers.append(used + 1)
            used += need
        else:
            registers.append(0)
    return tuple(registers)
