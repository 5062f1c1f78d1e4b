# SPDX-License-Identifier: Apache-2.0
"""Raw tracepoints: for kernels on which no function can be probed.

One program for each argument that may hold the sk_buff, opened on all its tracepoints; the cookie
tells which one it was (6.10, commit 68ca5d4eebb8). Before, each tracepoint gets a copy of the
program that has the number in its code. ``kfree_skb`` has the program of drops, which every session
has.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Sequence
from typing import Self

from ..errors import AttachError, PwruError
from ..facts.features import Features
from ..facts.roles import DROP_TRACEPOINT
from ..kernel import bpf
from ..kernel.files import allow_files
from ..kernel.libbpf import Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Plan, Target
from ..plan.tracepoints import bare_name
from .numbered import numbered
from .probes import Probes, Skipped

_ARGUMENTS = 5  # that have a program, bpf/pwru.bpf.c
_LOCATED = "_located"
_FILES_EACH = 2  # a link, and a copy of the program
_FILES_ELSE = 64


class Tracepoints(Probes):
    """A link for each tracepoint."""

    backend = Backend.TRACEPOINT
    words = "tracepoints"
    tracepoints = True
    target = "tracepoint"

    def __init__(self, targets: Sequence[Target], wake: Wake, *, cookies: bool) -> None:
        super().__init__(targets, wake)
        self._cookies = cookies
        self._links: list[int] = []
        self._copies: list[int] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        return None

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        return cls(targets, wake, cookies=features.tracepoint_cookies)

    @classmethod
    def beside(cls, plan: Plan, features: Features, wake: Wake) -> Self:
        """Those of ``plan`` that are traced beside functions."""
        points = cls.make(plan.traced, features, wake)
        points._targets = points._targets[len(plan.targets) :]
        points.total = len(plan.tracepoints)
        return points

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        names = {_program(target) for target in targets if target.name != DROP_TRACEPOINT}
        return tuple(sorted(names))

    def attach(self, programs: Sequence[Program]) -> None:
        count = sum(target.name != DROP_TRACEPOINT for _, target in self._targets)
        if count:
            needed = _FILES_EACH * count + _FILES_ELSE
            allow_files(needed, f"cannot attach to {count} tracepoints")
        by_name = {program.name: program for program in programs}
        for index, target in self._targets:
            if self._ending:
                return
            if target.name == DROP_TRACEPOINT:
                self.attached += 1
                continue
            try:
                link = self._open(by_name[_program(target)], bare_name(target.name), index + 1)
            except AttachError as error:
                self.failed.append((target, error.errno))
            else:
                self._links.append(link)
                self.attached += 1

    def _open(self, program: Program, name: str, number: int) -> int:
        """A link that tells of itself by ``number``."""
        if self._cookies:
            return bpf.open_raw_tracepoint(program.fd, name, number)
        fd = bpf.load_raw_tracepoint(name, numbered(program.instructions(), number))
        self._copies.append(fd)
        return bpf.open_raw_tracepoint(fd, name, 0)

    @property
    def copies(self) -> Sequence[int]:
        return self._copies

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Counted since 6.1 (commit 05b24ff9b2cf), before which nothing is skipped."""
        fds = (*(program.fd for program in programs), *self._copies)
        return Skipped(sum(map(bpf.recursion_misses, fds)), whole=True)

    def _release(self, stack: contextlib.ExitStack) -> None:
        for fds in (self._copies, self._links):
            while fds:
                stack.callback(os.close, fds.pop())


def _program(target: Target) -> str:
    return f"tracepoint_{target.arg}" + (_LOCATED if target.location_arg else "")


def attachable(target: Target) -> bool:
    """Whether there is a program for where it has its arguments."""
    located = target.location_arg in (0, 2) and (target.arg == 1 or not target.location_arg)
    return target.arg <= _ARGUMENTS and located
