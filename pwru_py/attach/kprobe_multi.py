# SPDX-License-Identifier: Apache-2.0
"""One kprobe-multi link for all functions (0dcac2725406, 5.18): ftrace calls the program."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Sequence
from functools import partial
from typing import Self

from ..errors import FeatureUnsupportedError, PwruError
from ..facts.features import Features
from ..kernel import bpf
from ..kernel.libbpf import Link, Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target
from .argument_table import FPROBE_IPS
from .probes import Pairs, Probes, Skipped, attach_together, release_links


class KprobeMulti(Probes):
    """Takes addresses of ftrace's calls. The kernel counts what it skips since 6.7."""

    backend = Backend.KPROBE_MULTI
    words = "kprobe-multi"
    func_ip = True
    ips = FPROBE_IPS

    def __init__(self, targets: Sequence[Target], wake: Wake, *, counts: bool = False) -> None:
        super().__init__(targets, wake)
        self._counts = counts
        self._links: list[Link] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        if features.kprobe_multi:
            return None
        return FeatureUnsupportedError(
            "this kernel has no kprobe-multi (Linux 5.18 with CONFIG_FPROBE): "
            "use `backend`=kprobe, or leave it out",
            feature="kprobe-multi",
            since="5.18",
        )

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        return cls(targets, wake, counts=features.misses)

    @classmethod
    def shape(cls, program: Program, features: Features) -> None:
        program.set_kprobe_multi()

    def attach(self, programs: Sequence[Program]) -> None:
        attach_together(
            partial(self._attach, programs),
            self._targets,
            self.failed,
            fatal=(errno.EOPNOTSUPP, errno.EPERM, errno.ENOMEM),
        )

    def _attach(self, programs: Sequence[Program], pairs: Pairs) -> None:
        if self._ending:
            return
        (program,) = programs
        link = program.attach_kprobe_multi([target.addr for _, target in pairs])
        self._links.append(link)
        self.attached += len(pairs)

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Two places: before the program (fprobe.nmissed), and where a program runs already."""
        if not self._counts:
            return Skipped(0, whole=False)
        before = sum(bpf.link_missed(link.fd, bpf.MISSED_KPROBE_MULTI) for link in self._links)
        within = sum(bpf.recursion_misses(program.fd) for program in programs)
        return Skipped(before + within, whole=True)

    def _release(self, stack: contextlib.ExitStack) -> None:
        release_links(stack, self._links)
