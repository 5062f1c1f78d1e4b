# SPDX-License-Identifier: Apache-2.0
"""One fentry program on many functions: ``BPF_TRACE_FENTRY_MULTI`` by bpf(2) itself.

libbpf knows nothing of it before 1.7, but need not: it relocates and loads ``skb_any`` as any
program whose type was set by hand. What it cannot do is done here: the link, and the same
instructions loaded again for each module, as a program reaches the functions of one BTF alone.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from functools import partial

from ..errors import AttachError
from ..plan import Target
from . import bpf
from .libbpf import Program
from .probes import Pairs, Probes, attach_together, cookie

PROGRAM = "skb_any"


class FentryMulti(Probes):
    """One link for the kernel, one for each module. ``attach_type``: BPF_TRACE_FENTRY_MULTI."""

    def __init__(self, program: Program, targets: Sequence[Target], attach_type: int) -> None:
        super().__init__(targets)
        self._program = program
        self._attach_type = attach_type
        self._links: list[int] = []
        self._copies: list[int] = []
        self._stop = False

    def attach(self) -> None:
        """Attaches everything; returns when done or when ``interrupt`` was called."""
        by_module: dict[str, list[tuple[int, Target]]] = {}
        for pair in self._targets:
            by_module.setdefault(pair[1].module, []).append(pair)
        types = bpf.module_btfs() if any(by_module) else {}
        for module, pairs in by_module.items():
            if self._stop:
                return
            if not module:
                self._together(self._program.fd, pairs)
                continue
            try:
                fd = self._copy(types, module)
            except AttachError as error:
                self.failed += ((target, error.errno) for _, target in pairs)
            else:
                self._together(fd, pairs)

    def _copy(self, types: dict[str, int], module: str) -> int:
        """The program for the functions of ``module``."""
        if module not in types:
            raise AttachError(f"module {module} has gone", errno.ENOENT)
        btf = bpf.btf_by_id(types[module])
        try:
            fd = bpf.load_tracing(PROGRAM, self._program.instructions(), self._attach_type, btf)
        finally:
            os.close(btf)  # the program holds it
        self._copies.append(fd)
        return fd

    def _together(self, program: int, pairs: Pairs) -> None:
        attach_together(partial(self._attach, program), pairs, self.failed)

    def _attach(self, program: int, pairs: Pairs) -> None:
        """One link."""
        if self._stop:
            return
        link = bpf.link_tracing_multi(
            program,
            self._attach_type,
            [target.btf_id for _, target in pairs],
            [cookie(index, target) for index, target in pairs],
        )
        self._links.append(link)
        self.attached += len(pairs)

    def skipped(self) -> int:
        return sum(map(bpf.recursion_misses, self._copies))

    def interrupt(self) -> None:
        self._stop = True

    def detach(self) -> None:
        self._stop = True
        for fds in (self._links, self._copies):
            while fds:
                os.close(fds.pop())
