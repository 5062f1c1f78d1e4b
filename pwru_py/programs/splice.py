# SPDX-License-Identifier: Apache-2.0
"""The BPF objects of the package, and the filters and expressions that are put into them."""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from typing import TYPE_CHECKING, NamedTuple, Protocol

from ..errors import FilterError, LoadError, reason
from ..options.config import Config
from ..record import contract

if TYPE_CHECKING:
    from pwru_filters import Cast, CbpfInsn, CompiledFilter

    from ..facts.features import Features

OUTER, INNER_L2, INNER_L3 = "pcap_filter", "inner_l2", "inner_l3"
"""The functions of ``bpf/filter.bpf.h`` that take a filter."""
CONDITION, METADATA = "skb_expression", "skb_metadata"
XDP_CONDITION, XDP_METADATA = "xdp_expression", "xdp_metadata"
"""Those of ``bpf/expression.bpf.h`` that take field expressions."""

_DIRECTORY = os.path.join(os.path.dirname(os.path.dirname(__file__)), "bpf")
_INSN = 8
_INSN_FORM = struct.Struct("=BBhi")
_MOVE, _CALL = 0xB7, 0x85  # BPF_ALU64 | BPF_MOV | BPF_K, BPF_JMP | BPF_CALL
_KERNEL_FUNCTION = 2  # BPF_PSEUDO_KFUNC_CALL, in place of a source register
_BRANCH_OFFSET = struct.Struct("<h")


class Spliced(Protocol):
    """What goes into an object."""

    @property
    def code(self) -> bytes:
        """Its instructions."""


class Place(NamedTuple):
    """Where an object takes a filter: file offsets, and how many instructions at most."""

    offsets: tuple[int, ...]
    capacity: int


def filter_places(variant: str) -> dict[str, Place]:
    """The places of a variant (``bpf/build.py``) by name. Raises LoadError."""
    places: dict[str, Place] = {}
    for line in _packaged("places.txt").decode().splitlines():
        name, stub, offset, capacity = line.split()
        if name == variant:
            before = places[stub].offsets if stub in places else ()
            places[stub] = Place((*before, int(offset)), int(capacity))
    return places


def _packaged(name: str) -> bytes:
    try:
        with open(os.path.join(_DIRECTORY, name), "rb") as stream:
            return stream.read()
    except OSError as error:
        raise LoadError(
            f"cannot read the BPF program {name} of this installation "
            f"({reason(error)}): install pwru-py again, or run bpf/build.py in a source tree"
        ) from error


def compile_expression(
    expression: str,
    stub: str = OUTER,
    cast: Cast | None = None,
    program: tuple[CbpfInsn, ...] | None = None,
) -> CompiledFilter:
    """A pcap expression, compiled for ``stub``; ``program``: by libpcap, where that was done.

    Raises FilterError. Imports the compiler only now.
    """
    from pwru_filters import (
        FilterSyntaxError,
        FilterTooLargeError,
        FilterUnsupportedError,
        compile_cbpf,
        compile_filter,
    )

    try:
        capacity = filter_places("typed-large")[stub].capacity
        if program is not None:
            return compile_cbpf(expression, program, capacity=capacity, cast=cast)
        return compile_filter(expression, capacity=capacity, cast=cast)
    except (FilterSyntaxError, FilterUnsupportedError, FilterTooLargeError) as error:
        raise FilterError(str(error)) from error


def compile_all(config: Config) -> dict[str, CompiledFilter]:
    """The config's expressions by the stub that takes them. Raises FilterError."""
    expressions = {
        OUTER: config.filter,
        INNER_L2: config.filter_tunnel_l2,
        INNER_L3: config.filter_tunnel_l3,
    }
    return {
        stub: compile_expression(expression, stub)
        for stub, expression in expressions.items()
        if expression.strip()
    }


def cast_of(features: Features) -> Cast | None:
    """How the object for this kernel reads packets in place; None where it copies them."""
    if not features.typed_loads:
        return None
    from pwru_filters import Cast

    return Cast(features.cast_func, features.cast_type)


def adapt(compiled: dict[str, CompiledFilter], features: Features) -> dict[str, CompiledFilter]:
    """The same filters as the object for this kernel takes them.

    Raises FilterError as ``compile_expression``: such a filter can be longer.
    """
    if not compiled:
        return compiled  # without a filter the compiler need not even be imported
    cast = cast_of(features)
    if cast is None:
        return compiled
    return {
        stub: compile_expression(program.expression, stub, cast, program.cbpf)
        for stub, program in compiled.items()
    }


def hot_program(compiled: CompiledFilter) -> str | None:
    """The program that takes the short way with this filter (``filter_hot()``), if one can."""
    if (
        compiled.needs_link
        or compiled.needs_length
        or compiled.needs_stack
        or compiled.needs_payload
        or compiled.needs_caplen
        or not compiled.frame_bytes
        or (compiled.cast is not None and compiled.needs_frame)
    ):
        return None
    if compiled.needs_tag:
        return "trace_skb_tag"
    return "trace_skb_flat" if compiled.flat else "trace_skb"


def object_bytes(programs: str, compiled: Mapping[str, Spliced]) -> bytes:
    """The ELF bytes of the smallest variant that takes these, with them in it.

    ``programs``: "plain", "typed" or "fentry" (``bpf/build.py``). Each goes to the end of
    its stub's no-ops (``bpf/filter.bpf.h``). Raises LoadError.
    """
    variant, places = f"{programs}-small", filter_places(f"{programs}-small")
    if any(length(program) > places[stub].capacity for stub, program in compiled.items()):
        variant, places = f"{programs}-large", filter_places(f"{programs}-large")
    elf = _packaged(f"{variant}.bpf.o")
    return splice(elf, places, compiled) if compiled else elf


def with_session(elf: bytes, features: Features) -> bytes:
    """``elf`` with calls of the kernel's functions for kprobe sessions in place of their marks.

    See ``session_call()`` in bpf/returns.bpf.h.
    """
    for mark, function in (
        (contract.SESSION_IS_RETURN, features.session_is_return),
        (contract.SESSION_COOKIE, features.session_cookie),
    ):
        elf = elf.replace(_INSN_FORM.pack(_MOVE, 0, 0, mark), _kernel_call(function))
    return elf


def _kernel_call(function: int) -> bytes:
    """``function``: a BTF id of the kernel's own."""
    return _INSN_FORM.pack(_CALL, _KERNEL_FUNCTION << 4, 0, function)


def length(program: Spliced) -> int:
    """Its instructions."""
    return len(program.code) // _INSN


def splice(elf: bytes, places: dict[str, Place], compiled: Mapping[str, Spliced]) -> bytes:
    """``elf`` with these in their places; nothing else moves."""
    spliced = bytearray(elf)
    for stub, program in compiled.items():
        place, code = places[stub], program.code
        spare = place.capacity - length(program)
        for offset in place.offsets:
            branch = offset + _INSN
            spliced[branch + 2 : branch + 4] = _BRANCH_OFFSET.pack(spare)
            end = offset + (2 + place.capacity) * _INSN
            spliced[end - len(code) : end] = code
    return bytes(spliced)
