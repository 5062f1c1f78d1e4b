# SPDX-License-Identifier: Apache-2.0
"""One fentry program on many functions: ``BPF_TRACE_FENTRY_MULTI`` by bpf(2) itself.

libbpf knows nothing of it before 1.7, but need not: it relocates and loads the program as any
other whose type was set by hand. What it cannot do is done here: the link, and the same
instructions loaded again for each module, as a program reaches the functions of one BTF alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial

from ..errors import AttachError
from ..kernel import bpf
from ..kernel.libbpf import Program
from ..plan.functions import Target
from .argument_table import cookie
from .probes import Pairs, Probes, attach_together


class FentryMulti(Probes):
    """One link for the kernel, one for each module. ``attach_type``: BPF_TRACE_FENTRY_MULTI."""

    def __init__(self, targets: Sequence[Target], attach_type: int) -> None:
        super().__init__(targets)
        self._attach_type = attach_type
        self._links: list[int] = []
        self._copies: list[int] = []

    def attach(self, program: Program) -> None:
        by_module: dict[str, list[tuple[int, Target]]] = {}
        for pair in self._targets:
            by_module.setdefault(pair[1].module, []).append(pair)
        types = bpf.module_btfs() if any(by_module) else {}
        for module, pairs in by_module.items():
            if self._stop.is_set():
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
        if self._stop.is_set():
            return
        link = bpf.link_tracing_multi(
            program,
            self._attach_type,
            [target.btf_id for _, target in pairs],
            [cookie(index, target) for index, target in pairs],
        )
        self._links.append(link)
        self.attached += len(pairs)

    def skipped(self, final: bool) -> int:
        return sum(map(bpf.recursion_misses, self._copies))

    def detach(self) -> None:
        self.interrupt()
        for fds in (self._links, self._copies):
            while fds:
                os.close(fds.pop())
