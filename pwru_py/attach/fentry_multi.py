# SPDX-License-Identifier: Apache-2.0
"""One fentry program on many functions: ``BPF_TRACE_FENTRY_MULTI`` by bpf(2) itself.

libbpf before 1.7 does not know it, and need not: it relocates and loads the program as any other
whose type was set by hand. This module does what it cannot: it makes the link, and loads the same
instructions again for each module, as a program reaches the functions of one BTF alone.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from functools import partial
from typing import Self

from ..errors import AttachError, FeatureUnsupportedError, PrivilegeError, PwruError
from ..facts.features import Features
from ..kernel import bpf, system
from ..kernel.libbpf import Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target
from .argument_table import cookie
from .probes import Pairs, Probes, Skipped, attach_together


class FentryMulti(Probes):
    """One link for the kernel, one for each module. ``attach_type``: BPF_TRACE_FENTRY_MULTI."""

    backend = Backend.FENTRY_MULTI
    words = "fentry-multi"
    trampoline = True

    def __init__(self, targets: Sequence[Target], wake: Wake, attach_type: int) -> None:
        super().__init__(targets, wake)
        self._attach_type = attach_type
        self._links: list[int] = []
        self._copies: list[int] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        if not features.fentry_multi:
            return FeatureUnsupportedError(
                "this kernel has no fentry-multi (Linux 7.2 with ftrace's direct calls): "
                "leave `backend` out, or use another one",
                feature="fentry-multi",
                since="7.2",
            )
        if not features.typed_loads:
            return FeatureUnsupportedError(
                "fentry-multi needs an sk_buff that is laid out as usual and the kernel's own "
                "BTF, and this kernel has not both: leave `backend` out, or use another one",
                feature="fentry-multi",
            )
        # The BTF of a module is told to nobody else, and its functions are found in that alone.
        if modules and not system.has_capability(system.CAP_SYS_ADMIN):
            return PrivilegeError(
                "cannot attach to functions of modules: fentry-multi needs CAP_SYS_ADMIN for it: "
                "use `backend`=kprobe-multi",
                ("CAP_SYS_ADMIN",),
            )
        return None

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        return cls(targets, wake, features.fentry_multi)

    @classmethod
    def shape(cls, program: Program, features: Features) -> None:
        program.set_tracing(features.fentry_multi)

    def attach(self, programs: Sequence[Program]) -> None:
        (program,) = programs
        by_module: dict[str, list[tuple[int, Target]]] = {}
        for pair in self._targets:
            by_module.setdefault(pair[1].module, []).append(pair)
        types = bpf.module_btfs() if any(by_module) else {}
        for module, pairs in by_module.items():
            if self._ending:
                return
            if not module:
                self._together(program.fd, pairs)
                continue
            try:
                fd = self._copy(program, types, module)
            except AttachError as error:
                self.failed += ((target, error.errno) for _, target in pairs)
            else:
                self._together(fd, pairs)

    def _copy(self, program: Program, types: dict[str, int], module: str) -> int:
        """The program for the functions of ``module``."""
        if module not in types:
            raise AttachError(f"module {module} has gone", errno.ENOENT)
        btf = bpf.btf_by_id(types[module])
        try:
            fd = bpf.load_tracing(program.name, program.instructions(), self._attach_type, btf)
        finally:
            os.close(btf)  # the program holds it
        self._copies.append(fd)
        return fd

    def _together(self, program: int, pairs: Pairs) -> None:
        attach_together(partial(self._attach, program), pairs, self.failed)

    def _attach(self, program: int, pairs: Pairs) -> None:
        """One link."""
        if self._ending:
            return
        link = bpf.link_tracing_multi(
            program,
            self._attach_type,
            [target.btf_id for _, target in pairs],
            [cookie(index, target) for index, target in pairs],
        )
        self._links.append(link)
        self.attached += len(pairs)

    @property
    def copies(self) -> Sequence[int]:
        return self._copies

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """The kernel counts them for every trampoline's program (5.12, 9ed9e9ba2337)."""
        (program,) = programs
        fds = (program.fd, *self._copies)
        return Skipped(sum(map(bpf.recursion_misses, fds)), whole=True)

    def _release(self, stack: contextlib.ExitStack) -> None:
        for fds in (self._copies, self._links):
            while fds:
                stack.callback(os.close, fds.pop())
