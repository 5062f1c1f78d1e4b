# SPDX-License-Identifier: Apache-2.0
"""One link at the entries of all functions and at their returns: a kprobe session (6.12).

The program says at the entry whether it is to be called at the return (commit 535a3692ba72). libbpf
before 1.5 does not know the link, so bpf(2) makes it.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Self

from ..errors import FeatureUnsupportedError, PwruError
from ..facts.features import Features
from ..kernel import bpf
from ..kernel.libbpf import Program
from ..kernel.wake import Wake
from ..plan.functions import Target
from .kprobe_multi import KprobeMulti
from .probes import Pairs, Skipped


class KprobeSession(KprobeMulti):
    """``attach_type``: BPF_TRACE_KPROBE_SESSION."""

    words = "kprobe session"
    returns = True
    session = True

    def __init__(self, targets: Sequence[Target], wake: Wake, attach_type: int) -> None:
        super().__init__(targets, wake, counts=True)
        self._attach_type = attach_type
        self._fds: list[int] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        if features.session:
            return None
        return FeatureUnsupportedError(
            "this kernel has no kprobe sessions (Linux 6.12 with CONFIG_FPROBE)",
            feature="kprobe session",
            since="6.12",
        )

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        return cls(targets, wake, features.session)

    @classmethod
    def shape(cls, program: Program, features: Features) -> None:
        program.set_kprobe_multi(features.session)

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        return ("trace_session",)

    def _attach(self, programs: Sequence[Program], pairs: Pairs) -> None:
        if self._ending:
            return
        (program,) = programs
        addrs = [target.addr for _, target in pairs]
        self._fds.append(bpf.link_kprobe_session(program.fd, self._attach_type, addrs))
        self.attached += len(pairs)

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """As of kprobe-multi."""
        (program,) = programs
        before = sum(bpf.link_missed(fd, bpf.MISSED_KPROBE_MULTI) for fd in self._fds)
        return Skipped(before + bpf.recursion_misses(program.fd), whole=True)

    def _release(self, stack: contextlib.ExitStack) -> None:
        while self._fds:
            stack.callback(os.close, self._fds.pop())
