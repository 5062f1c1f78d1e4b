# SPDX-License-Identifier: Apache-2.0
"""libbpf.so.1 through ctypes: open, load, attach. Signatures are those of libbpf 1.0 and later."""

from __future__ import annotations

import contextlib
import ctypes
import errno
import os
import threading
from collections.abc import Iterator, Sequence
from ctypes import POINTER, c_bool, c_char_p, c_int, c_size_t, c_uint32, c_uint64, c_void_p
from typing import Any

from ..errors import AttachError, FeatureUnsupportedError, LoadError

BPF_TRACE_KPROBE_MULTI = 42  # enum bpf_attach_type
BPF_PROG_TYPE_TRACING = 26
BPF_ANY = 0


class _OpenOpts(ctypes.Structure):
    """struct bpf_object_open_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("object_name", c_char_p),
        ("relaxed_maps", c_bool),
        ("pin_root_path", c_char_p),
        ("unused", c_uint32),
        ("kconfig", c_char_p),
        ("btf_custom_path", c_char_p),
        ("kernel_log_buf", c_char_p),
        ("kernel_log_size", c_size_t),
        ("kernel_log_level", c_uint32),
    )


class _MultiOpts(ctypes.Structure):
    """struct bpf_kprobe_multi_opts."""

    _fields_ = (
        ("sz", c_size_t),
        ("syms", POINTER(c_char_p)),
        ("addrs", POINTER(c_uint64)),
        ("cookies", POINTER(c_uint64)),
        ("cnt", c_size_t),
        ("retprobe", c_bool),
    )


_PRINT = ctypes.CFUNCTYPE(c_int, c_int, c_char_p, c_void_p)

# name: (result, arguments)
_SIGNATURES = {
    "libbpf_set_print": (c_void_p, (_PRINT,)),
    "bpf_object__open_mem": (c_void_p, (c_char_p, c_size_t, POINTER(_OpenOpts))),
    "bpf_object__load": (c_int, (c_void_p,)),
    "bpf_object__close": (None, (c_void_p,)),
    "bpf_object__find_map_by_name": (c_void_p, (c_void_p, c_char_p)),
    "bpf_object__next_program": (c_void_p, (c_void_p, c_void_p)),
    "bpf_program__name": (c_char_p, (c_void_p,)),
    "bpf_program__fd": (c_int, (c_void_p,)),
    "bpf_program__set_autoload": (c_int, (c_void_p, c_bool)),
    "bpf_program__set_type": (c_int, (c_void_p, c_int)),
    "bpf_program__set_expected_attach_type": (c_int, (c_void_p, c_int)),
    "bpf_program__insns": (c_void_p, (c_void_p,)),
    "bpf_program__insn_cnt": (c_size_t, (c_void_p,)),
    "bpf_program__attach": (c_void_p, (c_void_p,)),
    "bpf_program__attach_kprobe_multi_opts": (
        c_void_p,
        (c_void_p, c_char_p, POINTER(_MultiOpts)),
    ),
    "bpf_program__attach_perf_event": (c_void_p, (c_void_p, c_int)),
    "bpf_link__destroy": (c_int, (c_void_p,)),
    "bpf_link__fd": (c_int, (c_void_p,)),
    "bpf_map__fd": (c_int, (c_void_p,)),
    "bpf_map__key_size": (c_uint32, (c_void_p,)),
    "bpf_map__value_size": (c_uint32, (c_void_p,)),
    "bpf_map__set_max_entries": (c_int, (c_void_p, c_uint32)),
    "bpf_map__set_value_size": (c_int, (c_void_p, c_uint32)),
    "bpf_map__set_autocreate": (c_int, (c_void_p, c_bool)),
    "bpf_map__set_initial_value": (c_int, (c_void_p, c_char_p, c_size_t)),
    "bpf_map_lookup_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_get_next_key": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_lookup_batch": (
        c_int,
        (c_int, c_void_p, c_void_p, c_void_p, c_void_p, POINTER(c_uint32), c_void_p),
    ),
    "bpf_map_lookup_and_delete_elem": (c_int, (c_int, c_void_p, c_void_p)),
    "bpf_map_update_elem": (c_int, (c_int, c_char_p, c_char_p, c_uint64)),
    "libbpf_num_possible_cpus": (c_int, ()),
}


# One callback for the process, as libbpf has one, and for ever: a session that has ended must not
# leave it a pointer to nothing. What is said goes to the thread that makes libbpf say it.
_said = threading.local()
_libc = ctypes.CDLL(None, use_errno=True)
_libc.vasprintf.argtypes = (POINTER(c_void_p), c_char_p, c_void_p)
_libc.free.argtypes = (c_void_p,)


def _keep(level: int, text: bytes, arguments: int) -> int:
    if level > 1:  # LIBBPF_DEBUG
        return 0
    # A verifier log is one message, of up to megabytes; its reason stands at the end.
    whole = c_void_p()
    written = int(_libc.vasprintf(ctypes.byref(whole), text, arguments))
    if written >= 0 and whole.value is not None:
        log().append(ctypes.string_at(whole.value, written).decode(errors="replace"))
        _libc.free(whole)
    return max(written, 0)


_PRINT_KEEP = _PRINT(_keep)


def log() -> list[str]:
    """What libbpf has said in this thread."""
    lines: list[str] | None = getattr(_said, "lines", None)
    if lines is None:
        lines = _said.lines = []
    return lines


class Libbpf:
    """The library. What it prints is kept in ``log`` and printed by nobody.

    Raises FeatureUnsupportedError when libbpf 1.0 or later is not installed.
    """

    def __init__(self, name: str = "libbpf.so.1") -> None:
        try:
            self.lib = ctypes.CDLL(name, use_errno=True)
            for function, (result, arguments) in _SIGNATURES.items():
                prototype = getattr(self.lib, function)
                prototype.restype, prototype.argtypes = result, arguments
        except (OSError, AttributeError) as error:
            raise FeatureUnsupportedError(
                f"cannot load {name}: {error}; pwru-py needs libbpf 1.0 or later "
                "(Debian, Ubuntu: apt install libbpf1)",
                feature="libbpf",
                since="1.0",
            ) from None
        self.lib.libbpf_set_print(_PRINT_KEEP)

    def number_of_cpus(self) -> int:
        """Possible CPUs: how many values a per-CPU map holds for each key."""
        return int(self.lib.libbpf_num_possible_cpus())


def _failed(what: str) -> OSError:
    number = ctypes.get_errno()
    return OSError(number, f"{what}: {os.strerror(number).lower()}")


def _load_failed(what: str) -> LoadError:
    error = _failed(what)
    return LoadError(str(error.strerror), "".join(log()), error.errno or 0)


_BATCH = 4096  # entries read at once


class Map:
    """A map of a loaded object. Keys and values are bytes-like, sizes as in ``bpf/``."""

    def __init__(self, lib: Libbpf, pointer: int) -> None:
        self._lib = lib
        self._pointer = pointer

    @property
    def fd(self) -> int:
        return int(self._lib.lib.bpf_map__fd(self._pointer))

    def set_max_entries(self, count: int) -> None:
        self._lib.lib.bpf_map__set_max_entries(self._pointer, count)

    def set_value_size(self, size: int) -> None:
        self._lib.lib.bpf_map__set_value_size(self._pointer, size)

    def set_autocreate(self, create: bool) -> None:
        self._lib.lib.bpf_map__set_autocreate(self._pointer, create)

    def set_initial_value(self, value: bytes) -> None:
        if self._lib.lib.bpf_map__set_initial_value(self._pointer, value, len(value)):
            raise LoadError(str(_failed("cannot set the program's configuration")))

    def per_cpu_sum(self, index: int) -> int:
        """The sum of an 8-byte value over all CPUs, in a PERCPU_ARRAY."""
        values = (c_uint64 * self._lib.number_of_cpus())()
        key = c_uint32(index)
        if self._lib.lib.bpf_map_lookup_elem(self.fd, ctypes.byref(key), values):
            raise LoadError(str(_failed("cannot read counters")))
        return sum(values)

    def per_cpu_sums(self, key_bytes: int) -> Iterator[tuple[bytes, int]]:
        """Keys of a PERCPU_HASH with the sums of their 8-byte values over all CPUs."""
        values = (c_uint64 * self._lib.number_of_cpus())()
        key = ctypes.create_string_buffer(key_bytes)
        before = None
        while not self._lib.lib.bpf_map_get_next_key(self.fd, before, key):
            if not self._lib.lib.bpf_map_lookup_elem(self.fd, key, values):
                yield key.raw, sum(values)
            before = ctypes.create_string_buffer(key.raw, key_bytes)

    def entries(self, key_bytes: int, most: int) -> Iterator[tuple[bytes, int]]:
        """Keys of a hash of at most ``most`` with their 8-byte values.

        Others may come and go meanwhile. Raises LoadError.
        """
        keys = ctypes.create_string_buffer(key_bytes * most)
        values = (c_uint64 * most)()
        for count in self._batches(keys, values, most):
            raw = ctypes.string_at(keys, key_bytes * count)
            for index in range(count):
                yield raw[index * key_bytes : (index + 1) * key_bytes], values[index]

    def count(self) -> int:
        """How many entries a hash has. Raises LoadError."""
        lib = self._lib.lib
        keys = ctypes.create_string_buffer(lib.bpf_map__key_size(self._pointer) * _BATCH)
        values = ctypes.create_string_buffer(lib.bpf_map__value_size(self._pointer) * _BATCH)
        return sum(self._batches(keys, values, _BATCH))

    def _batches(
        self, keys: ctypes.Array[Any], values: ctypes.Array[Any], most: int
    ) -> Iterator[int]:
        """How many of ``most`` are in the buffers: BPF_MAP_LOOKUP_BATCH (5.6)."""
        count, before, at = c_uint32(most), None, c_uint32()
        while True:
            failed = self._lib.lib.bpf_map_lookup_batch(
                self.fd, before, ctypes.byref(at), keys, values, ctypes.byref(count), None
            )
            number = ctypes.get_errno() if failed else 0
            if number not in (0, errno.ENOENT):  # that is the end
                raise LoadError(str(_failed("cannot read a map")))
            yield count.value
            if failed:
                return
            before = ctypes.byref(c_uint32(at.value))
            count.value = most

    def value(self, index: int, size: int) -> bytes:
        """An element of an array. Raises LoadError."""
        key, value = c_uint32(index), ctypes.create_string_buffer(size)
        if self._lib.lib.bpf_map_lookup_elem(self.fd, ctypes.byref(key), value):
            raise LoadError(str(_failed("cannot read a value in the kernel")))
        return value.raw

    def update(self, key: bytes, value: bytes) -> None:
        """Sets one element. Raises LoadError."""
        if self._lib.lib.bpf_map_update_elem(self.fd, key, value, BPF_ANY):
            raise LoadError(str(_failed("cannot set a value in the kernel")))

    def pop(self, buffer: ctypes.Array[ctypes.c_char]) -> bool:
        """Takes the oldest element of a queue into ``buffer``; False when it is empty."""
        if not self._lib.lib.bpf_map_lookup_and_delete_elem(self.fd, None, buffer):
            return True
        if ctypes.get_errno() == errno.ENOENT:
            return False
        raise LoadError(str(_failed("cannot read the queue")))


class Link:
    """An attachment: gone with ``destroy`` or with the process, whichever is first."""

    def __init__(self, lib: Libbpf, pointer: int) -> None:
        self._lib = lib
        self._pointer = pointer

    @property
    def fd(self) -> int:
        return int(self._lib.lib.bpf_link__fd(self._pointer))

    def destroy(self) -> None:
        if self._pointer:
            self._lib.lib.bpf_link__destroy(self._pointer)
            self._pointer = 0


class Program:
    """A program of an object: before loading its settings, afterwards its attachments."""

    def __init__(self, lib: Libbpf, pointer: int) -> None:
        self._lib = lib
        self._pointer = pointer
        self.name = lib.lib.bpf_program__name(pointer).decode()

    @property
    def fd(self) -> int:
        return int(self._lib.lib.bpf_program__fd(self._pointer))

    def set_autoload(self, load: bool) -> None:
        self._lib.lib.bpf_program__set_autoload(self._pointer, load)

    def set_kprobe_multi(self, attach_type: int = BPF_TRACE_KPROBE_MULTI) -> None:
        """``attach_type``: that, or BPF_TRACE_KPROBE_SESSION."""
        self._lib.lib.bpf_program__set_expected_attach_type(self._pointer, attach_type)

    def set_tracing(self, attach_type: int) -> None:
        """For functions that are named when it is attached; the section's words count no more."""
        self._lib.lib.bpf_program__set_type(self._pointer, BPF_PROG_TYPE_TRACING)
        self._lib.lib.bpf_program__set_expected_attach_type(self._pointer, attach_type)

    def instructions(self) -> bytes:
        """As they were loaded: relocated, with the maps of the object."""
        count = self._lib.lib.bpf_program__insn_cnt(self._pointer)
        return ctypes.string_at(self._lib.lib.bpf_program__insns(self._pointer), 8 * count)

    def _link(self, pointer: int | None, what: str) -> Link:
        if not pointer:
            error = _failed(f"cannot attach {what}")
            raise AttachError(str(error.strerror), error.errno or 0)
        return Link(self._lib, pointer)

    def attach(self) -> Link:
        """Where the program's section says (fexit). Raises AttachError."""
        return self._link(self._lib.lib.bpf_program__attach(self._pointer), self.name)

    def attach_perf_event(self, perf_fd: int) -> Link:
        """To an open perf event, which the link then owns. Raises AttachError."""
        return self._link(
            self._lib.lib.bpf_program__attach_perf_event(self._pointer, perf_fd), self.name
        )

    def attach_kprobe_multi(self, addrs: Sequence[int], *, leaves: bool = False) -> Link:
        """To the functions at these addresses, all or none; ``leaves``: where they return.

        Raises AttachError.
        """
        count = len(addrs)
        opts = _MultiOpts(sz=ctypes.sizeof(_MultiOpts), cnt=count, retprobe=leaves)
        opts.addrs = (c_uint64 * count)(*addrs)
        lib = self._lib.lib
        pointer = lib.bpf_program__attach_kprobe_multi_opts(self._pointer, None, ctypes.byref(opts))
        return self._link(pointer, f"{self.name} to {count} functions")


class BpfObject:
    """One ELF object: opened, configured, loaded, closed. Use as a context manager."""

    def __init__(self, lib: Libbpf, elf: bytes, kernel_btf: str = "") -> None:
        self._lib = lib
        opts = _OpenOpts(sz=ctypes.sizeof(_OpenOpts), object_name=b"pwru")
        if kernel_btf:
            opts.btf_custom_path = os.fsencode(kernel_btf)
        self._elf = elf  # libbpf keeps pointers into it until it is loaded
        log().clear()
        self._pointer = lib.lib.bpf_object__open_mem(elf, len(elf), ctypes.byref(opts))
        if not self._pointer:
            raise _load_failed("libbpf cannot open the BPF object")

    def programs(self) -> Iterator[Program]:
        lib = self._lib.lib
        pointer = lib.bpf_object__next_program(self._pointer, None)
        while pointer:
            yield Program(self._lib, pointer)
            pointer = lib.bpf_object__next_program(self._pointer, pointer)

    def map(self, name: str) -> Map:
        pointer = self._lib.lib.bpf_object__find_map_by_name(self._pointer, name.encode())
        if not pointer:
            raise LoadError(f"the BPF object has no map {name}")
        return Map(self._lib, pointer)

    def load(self) -> None:
        """Creates maps, relocates and verifies. Raises LoadError with the verifier's log."""
        log().clear()
        if self._lib.lib.bpf_object__load(self._pointer):
            raise _load_failed("cannot load the program")

    def close(self) -> None:
        if self._pointer:
            with contextlib.suppress(OSError):
                self._lib.lib.bpf_object__close(self._pointer)
            self._pointer = None

    def __enter__(self) -> BpfObject:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
