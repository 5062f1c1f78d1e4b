# SPDX-License-Identifier: Apache-2.0
"""BPF programs that are loaded, whoever loaded them. Needs CAP_SYS_ADMIN.

Layouts: include/uapi/linux/bpf.h.
"""

from __future__ import annotations

import ctypes
import os
import struct
from collections.abc import Iterator
from typing import NamedTuple

from ..facts.btf import Btf, TypeId
from .bpf import ATTR_BYTES, OBJ_GET_INFO_BY_FD, btf_by_id, call, call_buffer, failed
from .bpf import ids_after as _ids_after

_PROG_GET_NEXT_ID, _PROG_GET_FD_BY_ID, _PROG_QUERY = 11, 13, 16
_QUERIED_MAX = 64
_EFFECTIVE = 1  # BPF_F_QUERY_EFFECTIVE
_FUNC_INFO = struct.Struct("=II")  # struct bpf_func_info: insn_off, type_id
_BTF_INFO = struct.Struct("=QI20x")  # struct bpf_btf_info: btf, btf_size

# struct bpf_prog_info, as far as func_info
_INFO = struct.Struct("=II56x16s24xI4xQ8xIIQI4x")


class LoadedProgram(NamedTuple):
    """``kind``: BPF_PROG_TYPE_*. ``name``: cut at 15 bytes. ``btf``: the id of its own BTF, 0
    without one; ``function``: the id of its entry there. ``addr``: of its entry, 0 where the kernel
    does not say.
    """

    number: int
    kind: int
    name: str
    btf: int
    function: int
    addr: int


def ids_after(last: int) -> Iterator[int]:
    """Ids of the programs that are there, behind ``last``: a later program has a higher one."""
    return _ids_after(_PROG_GET_NEXT_ID, last)


def open_program(number: int) -> int:
    """A descriptor of the program with that id. Raises AttachError."""
    fd = call(_PROG_GET_FD_BY_ID, struct.pack("=I", number))
    if fd < 0:
        raise failed(f"open the BPF program {number}")
    return fd


def describe(program: int) -> LoadedProgram:
    """What the kernel tells of a program, a descriptor. Raises AttachError."""
    addr, entry = ctypes.c_uint64(), ctypes.create_string_buffer(_FUNC_INFO.size)
    info = ctypes.create_string_buffer(
        _INFO.pack(
            *(0, 0, b"", 1, ctypes.addressof(addr)),
            *(0, _FUNC_INFO.size, ctypes.addressof(entry), 1),
        ),
        _INFO.size,
    )
    attr = struct.pack("=IIQ", program, len(info), ctypes.addressof(info))
    if call(OBJ_GET_INFO_BY_FD, attr) < 0:
        raise failed("read what the kernel tells of a program")
    kind, number, short, _ksyms, _addr, btf, _size, _functions, count = _INFO.unpack(info.raw)
    _offset, function = _FUNC_INFO.unpack(entry.raw)
    btf, function = (btf, function) if count else (0, 0)
    return LoadedProgram(number, kind, _text(short), btf, function, addr.value)


def _text(name: bytes) -> str:
    return os.fsdecode(name.split(b"\0", 1)[0])


def whole_name(program: LoadedProgram) -> str:
    """As its BTF has it. Raises AttachError, FeatureUnsupportedError."""
    fd = btf_by_id(program.btf)
    try:
        size = _btf_bytes(fd, None)
        raw = ctypes.create_string_buffer(size)
        _btf_bytes(fd, raw)
    finally:
        os.close(fd)
    return Btf(raw.raw, name=program.name).type_name(TypeId(program.function))


def _btf_bytes(btf: int, to: ctypes.Array[ctypes.c_char] | None) -> int:
    """Its size; ``to`` gets as much of it as it can hold."""
    place = (ctypes.addressof(to), len(to)) if to is not None else (0, 0)
    info = ctypes.create_string_buffer(_BTF_INFO.pack(*place), _BTF_INFO.size)
    attr = struct.pack("=IIQ", btf, len(info), ctypes.addressof(info))
    if call(OBJ_GET_INFO_BY_FD, attr) < 0:
        raise failed("read the BTF of a program")
    size: int = _BTF_INFO.unpack(info.raw)[1]
    return size


def program_name(number: int) -> str:
    """The short name of the program with that id; '' where it has none, or may not be asked."""
    fd = call(_PROG_GET_FD_BY_ID, struct.pack("=I", number))
    if fd < 0:
        return ""
    try:
        info = ctypes.create_string_buffer(_INFO.size)
        attr = struct.pack("=IIQ", fd, len(info), ctypes.addressof(info))
        if call(OBJ_GET_INFO_BY_FD, attr) < 0:
            return ""
        return _text(_INFO.unpack(info.raw)[2])
    finally:
        os.close(fd)


def query(target: int, attach_type: int, *, effective: bool = False) -> list[int]:
    """Ids of the programs that are attached there; none where the kernel cannot tell.

    ``target``: the index of a device of the own namespace (6.6, tcx), or a descriptor of a control
    group; ``effective``: with those that it has from the groups above.
    """
    ids = (ctypes.c_uint32 * _QUERIED_MAX)()
    flags = _EFFECTIVE if effective else 0
    place = (ctypes.addressof(ids), _QUERIED_MAX)
    attr = struct.pack("=IIIIQI", target, attach_type, flags, 0, *place)
    buffer = ctypes.create_string_buffer(attr, ATTR_BYTES)
    if call_buffer(_PROG_QUERY, buffer) < 0:
        return []
    (count,) = struct.unpack_from("=I", buffer.raw, 24)
    return list(ids[: min(count, _QUERIED_MAX)])
