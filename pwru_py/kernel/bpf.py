# SPDX-License-Identifier: Apache-2.0
"""bpf(2) itself, for what libbpf does not know yet. Layouts: include/uapi/linux/bpf.h."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import struct
from collections.abc import Iterator, Sequence
from functools import partial

from ..arch import NATIVE
from ..errors import AttachError, LoadError, reason

_MAP_CREATE, _MAP_UPDATE_ELEM = 0, 2
_PROG_LOAD, OBJ_GET_INFO_BY_FD, _BTF_GET_FD_BY_ID, _BTF_GET_NEXT_ID = 5, 15, 19, 23
_RAW_TRACEPOINT_OPEN, _LINK_CREATE, _ENABLE_STATS = 17, 28, 32
_STATS_RUN_TIME = 0
_MAP_TYPE_ARRAY, _MAP_TYPE_ARRAY_OF_MAPS = 2, 12
_PROG_TYPE_RAW_TRACEPOINT = 17
PROG_TYPE_TRACING = 26
_TRACE_FENTRY = 24
_LOG_SHORT = 4  # BPF_LOG_STATS: no instruction, what is wrong all the same
_LOG_BYTES = 1 << 16
_LOG_STATISTICS = ("processed ", "verification time ", "stack depth ")
ATTR_BYTES = 128
_NAME_BYTES = 16

_libc = ctypes.CDLL(None, use_errno=True)
_libc.syscall.restype = ctypes.c_long


def call(command: int, attr: bytes) -> int:
    """The result, -1 with errno set; ``attr`` is completed with zeros."""
    return call_buffer(command, ctypes.create_string_buffer(attr, ATTR_BYTES))


def call_buffer(command: int, buffer: ctypes.Array[ctypes.c_char]) -> int:
    """The same with an ``attr`` that the kernel writes to."""
    number = ctypes.c_long(NATIVE.syscalls["bpf"])
    return int(_libc.syscall(number, command, buffer, len(buffer)))


def failed(what: str) -> AttachError:
    """What the last call was to do could not be done, and why."""
    number = ctypes.get_errno()
    return AttachError(f"cannot {what}: {os.strerror(number).lower()}", number)


def load_tracing(name: str, instructions: bytes, attach_type: int, btf: int) -> int:
    """A program for functions of the BTF ``btf``, a descriptor. Raises AttachError.

    ``instructions``: relocated, as some other program was loaded of them.
    """
    return _load(
        PROG_TYPE_TRACING, name, instructions, f"load {name} for a module", attach_type, btf
    )


def load_raw_tracepoint(name: str, instructions: bytes) -> int:
    """A program for the tracepoint ``name``; the rest as in ``load_tracing``."""
    words = f"load a program for the tracepoint {name}"
    return _load(_PROG_TYPE_RAW_TRACEPOINT, "tracepoint", instructions, words)


def load_fentry(name: str, instructions: bytes, program: int, function: int) -> int:
    """A program for the entry of a BPF program, a descriptor; ``function``: its BTF id in that
    program's own BTF. The rest as in ``load_tracing``; where the kernel says why, in its words.
    """
    words = ctypes.create_string_buffer(_LOG_BYTES)
    load = partial(
        _load, PROG_TYPE_TRACING, name, instructions, "load it", _TRACE_FENTRY, program, function
    )
    try:
        return load()
    except AttachError as refusal:
        with contextlib.suppress(AttachError):
            return load(words)
        said = words.value.decode(errors="replace").splitlines()
        told = [line for line in said if line and not line.startswith(_LOG_STATISTICS)]
        if not told:
            raise
        raise AttachError(f"{refusal} ({told[-1]})", refusal.errno) from None


def attach_fentry(program: int) -> int:
    """A link's descriptor: ``program`` where it was loaded for. Raises AttachError."""
    fd = call(_RAW_TRACEPOINT_OPEN, struct.pack("=QI", 0, program))
    if fd < 0:
        raise failed("attach to a BPF program")
    return fd


def _load(
    kind: int,
    name: str,
    instructions: bytes,
    what: str,
    attach_type: int = 0,
    attach_to: int = 0,
    btf_id: int = 0,
    log: ctypes.Array[ctypes.c_char] | None = None,
) -> int:
    """``attach_to``: a descriptor of BTF, or of a program that has ``btf_id`` in its BTF. ``log``:
    what the verifier says goes there.
    """
    code = ctypes.create_string_buffer(instructions, len(instructions))
    words = ctypes.create_string_buffer(b"Dual BSD/GPL")
    attr = struct.pack(
        "=IIQQIIQ8x16sII36xII",
        kind,
        len(instructions) // 8,
        ctypes.addressof(code),
        ctypes.addressof(words),
        *((_LOG_SHORT, len(log), ctypes.addressof(log)) if log is not None else (0, 0, 0)),
        name.encode()[: _NAME_BYTES - 1],
        0,
        attach_type,
        btf_id,
        attach_to,
    )
    fd = call(_PROG_LOAD, attr)
    if fd < 0:
        raise failed(what)
    return fd


def link_tracing_multi(
    program: int, attach_type: int, ids: Sequence[int], cookies: Sequence[int]
) -> int:
    """A link's descriptor: ``program`` at the functions with these BTF ids. Raises AttachError."""
    count = len(ids)
    id_array = (ctypes.c_uint32 * count)(*ids)
    cookie_array = (ctypes.c_uint64 * count)(*cookies)
    attr = struct.pack(
        "=IIIIQQI",
        program,
        0,
        attach_type,
        0,
        ctypes.addressof(id_array),
        ctypes.addressof(cookie_array),
        count,
    )
    fd = call(_LINK_CREATE, attr)
    if fd < 0:
        raise failed(f"attach to {count} functions")
    return fd


def link_kprobe_session(program: int, attach_type: int, addrs: Sequence[int]) -> int:
    """A link's descriptor: ``program`` at the functions at these addresses, and at their returns.

    libbpf knows such a link since 1.5. Raises AttachError.
    """
    count = len(addrs)
    array = (ctypes.c_uint64 * count)(*addrs)
    attr = struct.pack(
        "=IIIIIIQQ", program, 0, attach_type, 0, 0, count, 0, ctypes.addressof(array)
    )
    fd = call(_LINK_CREATE, attr)
    if fd < 0:
        raise failed(f"attach to {count} functions")
    return fd


def open_raw_tracepoint(program: int, name: str, cookie: int) -> int:
    """A link's descriptor: ``program`` at the tracepoint ``name``. Raises AttachError."""
    text = ctypes.create_string_buffer(name.encode())
    attr = struct.pack("=QIIQ", ctypes.addressof(text), program, 0, cookie)
    fd = call(_RAW_TRACEPOINT_OPEN, attr)
    if fd < 0:
        raise failed(f"attach to the tracepoint {name}")
    return fd


def _create_map(kind: int, value_bytes: int, inner: int) -> int:
    attr = struct.pack("=IIIIII", kind, 4, value_bytes, 1, 0, inner)
    fd = call(_MAP_CREATE, attr)
    if fd < 0:
        raise _refused("create a map")
    return fd


def create_array(value_bytes: int) -> int:
    """The descriptor of an array map of one value. Raises LoadError."""
    return _create_map(_MAP_TYPE_ARRAY, value_bytes, 0)


def create_array_of_maps(inner: int) -> int:
    """The descriptor of an array of one map such as ``inner``, a descriptor. Raises LoadError."""
    return _create_map(_MAP_TYPE_ARRAY_OF_MAPS, 4, inner)


def update_element(array: int, index: int, value: int) -> None:
    """Puts the 4 bytes of ``value`` into an array, a map by its descriptor. Raises LoadError."""
    words = (ctypes.c_uint32 * 2)(index, value)
    key = ctypes.addressof(words)
    if call(_MAP_UPDATE_ELEM, struct.pack("=IxxxxQQQ", array, key, key + 4, 0)) < 0:
        raise _refused("set a value")


def _refused(what: str) -> LoadError:
    error = OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return LoadError(f"cannot {what} in the kernel: {reason(error)}", errno=error.errno or 0)


def _info(fd: int) -> ctypes.Array[ctypes.c_uint64]:
    """What the kernel tells of a program or a link, in words of 8 bytes."""
    info = (ctypes.c_uint64 * 32)()
    attr = struct.pack("=IIQ", fd, ctypes.sizeof(info), ctypes.addressof(info))
    if call(OBJ_GET_INFO_BY_FD, attr) < 0:
        raise failed("read what the kernel tells of a program")
    return info


def recursion_misses(program: int) -> int:
    """``bpf_prog_info.recursion_misses``: runs that the kernel skipped.

    Counted of trampolines' programs since 5.12, of kprobes' since 6.7. Raises AttachError.
    """
    return int(_info(program)[26])


def count_runs() -> int:
    """A descriptor; while it is open the kernel counts the runs of every program of the machine,
    and their time (5.8). Needs CAP_SYS_ADMIN. Raises AttachError.
    """
    fd = call(_ENABLE_STATS, struct.pack("=I", _STATS_RUN_TIME))
    if fd < 0:
        raise failed("count the runs of programs")
    return fd


def runs(program: int) -> int:
    """``bpf_prog_info.run_cnt``: runs while they were counted. Raises AttachError."""
    return int(_info(program)[25])


MISSED_KPROBE_MULTI, MISSED_KPROBE = 4, 6
"""Words of ``struct bpf_link_info`` since 6.7: ``missed`` of a kprobe-multi, of a kprobe."""


def link_missed(link: int, word: int) -> int:
    """Hits of the link's probes that never came to a program. Raises AttachError."""
    return int(_info(link)[word])


def btf_by_id(number: int) -> int:
    """A descriptor of a BTF object in the kernel. Needs CAP_SYS_ADMIN. Raises AttachError."""
    fd = call(_BTF_GET_FD_BY_ID, struct.pack("=I", number))
    if fd < 0:
        raise failed("open the BTF of a module")
    return fd


def module_btfs() -> dict[str, int]:
    """Name of a module to the id of its BTF object. Needs CAP_SYS_ADMIN. Raises AttachError."""
    found = {}
    for number in _btf_ids():
        try:
            fd = btf_by_id(number)
        except AttachError as error:
            if error.errno == errno.ENOENT:  # gone since
                continue
            raise
        try:
            name = _kernel_btf_name(fd)
        finally:
            os.close(fd)
        if name:
            found[name] = number
    return found


def ids_after(command: int, last: int) -> Iterator[int]:
    """Ids of the kernel's objects of one kind behind ``last``; none without CAP_SYS_ADMIN.

    ``command``: BPF_*_GET_NEXT_ID.
    """
    while True:
        attr = ctypes.create_string_buffer(struct.pack("=I", last), ATTR_BYTES)
        if call_buffer(command, attr) < 0:
            return
        last = struct.unpack_from("=I", attr, 4)[0]
        yield last


def _btf_ids() -> Iterator[int]:
    return ids_after(_BTF_GET_NEXT_ID, 0)


def _kernel_btf_name(btf: int) -> str:
    """The name of a BTF that the kernel or a module has; '' for that of a program."""
    name = ctypes.create_string_buffer(64)
    # struct bpf_btf_info: btf, btf_size, id, name, name_len, kernel_btf
    info = ctypes.create_string_buffer(
        struct.pack("=QIIQII", 0, 0, 0, ctypes.addressof(name), len(name), 0), 40
    )
    attr = struct.pack("=IIQ", btf, len(info), ctypes.addressof(info))
    if call(OBJ_GET_INFO_BY_FD, attr) < 0:
        raise failed("read BTF info")
    of_kernel = struct.unpack_from("=I", info, 28)[0]
    return name.value.decode() if of_kernel else ""
