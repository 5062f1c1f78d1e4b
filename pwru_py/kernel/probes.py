# SPDX-License-Identifier: Apache-2.0
"""Attaching the shared programs to the plan's functions, and detaching them.

Only file descriptors hold a probe: when the process ends, however it ends, the kernel removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
import resource
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial

from ..errors import AttachError
from ..layout import COOKIE_SKB_SHIFT, COOKIE_TARGET_SHIFT
from ..plan import Target
from . import perf
from .libbpf import Link, Program

Pairs = Sequence[tuple[int, Target]]
"""Functions with their indices in the plan."""


class Probes(ABC):
    """A backend at work. ``failed`` pairs a target with the kernel's errno."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets: Pairs = tuple(enumerate(targets))
        self.total = len(targets)
        self.attached = 0
        self.failed: list[tuple[Target, int]] = []

    @property
    def done(self) -> bool:
        return self.attached + len(self.failed) >= self.total

    @abstractmethod
    def attach(self) -> None: ...

    def skipped(self) -> int:
        """Hits that the kernel skipped in programs that only the backend knows."""
        return 0

    @abstractmethod
    def interrupt(self) -> None:
        """Attach no more; safe in a signal handler."""

    @abstractmethod
    def detach(self) -> None: ...


_FILES_EACH = 2  # a perf event and its link
_FILES_ELSE = 64


def _allow_files(needed: int) -> None:
    """Raises the limit on open files as far as it may go; AttachError when that is too little."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        if hard != resource.RLIM_INFINITY and hard < needed:
            try:
                resource.setrlimit(resource.RLIMIT_NOFILE, (needed, needed))
                return
            except (ValueError, OSError):
                raise AttachError(
                    f"cannot attach {needed // _FILES_EACH} kprobes with at most {hard} open "
                    "files: raise it (ulimit -Hn) or narrow --filter-func",
                    errno.EMFILE,
                ) from None
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


def cookie(index: int, target: Target) -> int:
    """What the probe of the plan's function number ``index`` carries."""
    return (index + 1) << COOKIE_TARGET_SHIFT | target.arg << COOKIE_SKB_SHIFT | target.reason_arg


_OWN_PROGRAM_MAX = 3
_SHARED = "skb_any"


def program_name(target: Target, cookies: bool) -> str:
    """Which program of ``bpf/pwru.bpf.c`` serves a function; ``cookies``: the kernel has them."""
    if cookies and (target.arg > _OWN_PROGRAM_MAX or target.reason_arg):
        return _SHARED
    return f"skb_arg{target.arg}"


def attach_together(
    attach: Callable[[Pairs], None],
    pairs: Pairs,
    failed: list[tuple[Target, int]],
    *,
    fatal: Sequence[int] = (errno.EPERM, errno.ENOMEM),
) -> None:
    """Calls ``attach`` with all; when the kernel refuses them, with halves.

    A function that is refused alone goes to ``failed``. Raises AttachError for an errno in
    ``fatal``, of which no function is the cause.
    """
    try:
        attach(pairs)
    except AttachError as error:
        if error.errno in fatal:
            raise
        if len(pairs) == 1:
            failed.append((pairs[0][1], error.errno))
            return
        half = len(pairs) // 2
        attach_together(attach, pairs[:half], failed, fatal=fatal)
        attach_together(attach, pairs[half:], failed, fatal=fatal)


class KprobeMulti(Probes):
    """One link for each program.

    ``programs``: those that serve the targets, in the same order. ``cookies``: every probe carries
    one, not only those of the shared program, which looks its registers up there.
    """

    def __init__(
        self, programs: Sequence[Program], targets: Sequence[Target], cookies: bool
    ) -> None:
        super().__init__(targets)
        self._programs = programs
        self._cookies = cookies
        self._links: list[Link] = []
        self._stop = threading.Event()

    def attach(self) -> None:
        """Attaches everything; returns when done or when ``detach`` interrupts it."""
        by_program: dict[Program, list[tuple[int, Target]]] = {}
        for program, pair in zip(self._programs, self._targets, strict=True):
            by_program.setdefault(program, []).append(pair)
        for program, pairs in by_program.items():
            attach_together(
                partial(self._attach, program),
                pairs,
                self.failed,
                fatal=(errno.EOPNOTSUPP, errno.EPERM, errno.ENOMEM),
            )

    def _attach(self, program: Program, pairs: Pairs) -> None:
        """One link."""
        if self._stop.is_set():
            return
        addrs = [target.addr for _, target in pairs]
        carries = self._cookies or program.name == _SHARED
        link = program.attach_kprobe_multi(
            addrs if all(addrs) else (),
            [target.name for _, target in pairs],
            [cookie(index, target) for index, target in pairs] if carries else None,
        )
        self._links.append(link)
        self.attached += len(pairs)

    def interrupt(self) -> None:
        self._stop.set()

    def detach(self) -> None:
        self._stop.set()
        while self._links:
            self._links.pop().destroy()


class Kprobes(Probes):
    """One perf event a function: slow (RCU grace periods), so the rest comes in a thread.

    ``attach`` returns once ``first`` functions are traced; the others follow, in the plan's order.
    """

    def __init__(
        self,
        programs: Sequence[Program],
        targets: Sequence[Target],
        cookies: bool,
        pmu: int,
        first: int = 8,
    ) -> None:
        super().__init__(targets)
        self._programs = programs
        self._cookies = cookies
        self._pmu = pmu
        self._first = first
        self._links: list[Link] = []
        self._stop = threading.Event()
        self._thread: threading.Thread | None = None

    def attach(self) -> None:
        _allow_files(_FILES_EACH * self.total + _FILES_ELSE)
        self._attach(self._targets[: self._first])
        if len(self._targets) > self._first and not self._stop.is_set():
            self._thread = threading.Thread(
                target=self._attach, args=(self._targets[self._first :],), name="attach"
            )
            self._thread.start()

    def _attach(self, pairs: Sequence[tuple[int, Target]]) -> None:
        for index, target in pairs:
            if self._stop.is_set():
                return
            try:
                self._links.append(self._attach_one(index, target))
                self.attached += 1
            except AttachError as error:
                self.failed.append((target, error.errno))

    def _attach_one(self, index: int, target: Target) -> Link:
        program = self._programs[index]
        carries = self._cookies or program.name == _SHARED
        fd = perf.open_kprobe(self._pmu, target.name, target.addr)
        try:
            return program.attach_perf_event(fd, cookie(index, target) if carries else 0)
        except AttachError:
            with contextlib.suppress(OSError):
                os.close(fd)
            raise

    def interrupt(self) -> None:
        self._stop.set()

    def detach(self) -> None:
        self._stop.set()
        if self._thread is not None:
            self._thread.join()
        while self._links:
            self._links.pop().destroy()
