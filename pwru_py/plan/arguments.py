# SPDX-License-Identifier: Apache-2.0
"""Where a function's arguments are: in registers, and in what a BPF trampoline hands on. Pure."""

from __future__ import annotations

from ..arch import NATIVE
from ..facts.btf import Btf, Kind, TypeId

SLOTS = 12
"""MAX_BPF_FUNC_ARGS of include/linux/bpf.h: words that a BPF trampoline takes from a function."""

_BY_VALUE = (Kind.INT, Kind.PTR, Kind.ENUM, Kind.ENUM64, Kind.STRUCT)
_STRUCT_BYTES = 16


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
        if need and used + need <= NATIVE.registers:
            registers.append(used + 1)
            used += need
        else:
            registers.append(0)
    return tuple(registers)


def argument_slots(btf: Btf, proto: TypeId) -> tuple[int, ...]:
    """For each parameter of ``proto``: its first word, from 1, of those ``bpf_get_func_arg`` has.

    They are in the order of C, from registers and stack alike; a structure of 9 to 16 bytes takes
    two. Empty when the kernel makes no trampoline for the function: it is variadic, returns a
    structure, takes a larger one by value, or takes more than 12 words (btf_distill_func_proto()
    in kernel/bpf/btf.c, arch_prepare_bpf_trampoline()).
    """
    if btf.kind(btf.resolve(btf.target(proto))) in (Kind.STRUCT, Kind.UNION):
        return ()
    used, slots = 0, []
    for type_id in btf.parameter_types(proto):
        plain = btf.resolve(TypeId(type_id))
        size = btf.size(plain)
        if btf.kind(plain) not in _BY_VALUE or not 0 < size <= _STRUCT_BYTES:
            return ()
        slots.append(used + 1)
        used += _words(btf, plain)
    return tuple(slots) if used <= SLOTS else ()
