# SPDX-License-Identifier: Apache-2.0
"""Raw tracepoints: for kernels on which no function can be probed.

One program for each argument that may hold the sk_buff, opened on all its tracepoints; the cookie
tells which one it was (6.10, commit 68ca5d4eebb8). ``kfree_skb`` has the program of drops, which
every session has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Self

from ..errors import AttachError, FeatureUnsupportedError, PwruError
from ..facts.features import Features
from ..facts.roles import DROP_TRACEPOINT
from ..kernel import bpf
from ..kernel.libbpf import Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target
from ..plan.tracepoints import bare_name
from .probes import Probes, Skipped

_ARGUMENTS = 5  # that have a program, bpf/pwru.bpf.c
_LOCATED = "_located"


class Tracepoints(Probes):
    """A link for each tracepoint."""

    backend = Backend.TRACEPOINT
    words = "tracepoints"
    tracepoints = True
    target = "tracepoint"

    def __init__(self, targets: Sequence[Target], wake: Wake) -> None:
        super().__init__(targets, wake)
        self._links: list[int] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        if features.tracepoint_cookies:
            return None
        return FeatureUnsupportedError(
            "a program at this kernel's tracepoints cannot be told at which one it is (Linux "
            "6.10): use another `backend`",
            feature="cookies of raw tracepoints",
            since="6.10",
        )

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        return cls(targets, wake)

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        names = {_program(target) for target in targets if target.name != DROP_TRACEPOINT}
        return tuple(sorted(names))

    def attach(self, programs: Sequence[Program]) -> None:
        by_name = {program.name: program for program in programs}
        for index, target in self._targets:
            if self._ending:
                return
            if target.name == DROP_TRACEPOINT:
                self.attached += 1
                continue
            program = by_name[_program(target)]
            try:
                link = bpf.open_raw_tracepoint(program.fd, bare_name(target.name), index + 1)
            except AttachError as error:
                self.failed.append((target, error.errno))
            else:
                self._links.append(link)
                self.attached += 1

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Counted since 6.1 (commit 05b24ff9b2cf), before which nothing is skipped."""
        return Skipped(sum(bpf.recursion_misses(program.fd) for program in programs), whole=True)

    def _release(self, stack: contextlib.ExitStack) -> None:
        while self._links:
            stack.callback(os.close, self._links.pop())


def _program(target: Target) -> str:
    return f"tracepoint_{target.arg}" + (_LOCATED if target.location_arg else "")


def attachable(target: Target) -> bool:
    """Whether there is a program for where it has its arguments."""
    located = target.location_arg in (0, 2) and (target.arg == 1 or not target.location_arg)
    return target.arg <= _ARGUMENTS and located
