# SPDX-License-Identifier: Apache-2.0
"""Attaching the program to the plan's functions, and detaching it.

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
from ..kernel import perf
from ..kernel.libbpf import Link, Program
from ..plan.functions import Target
from .argument_table import FPROBE_IPS, KPROBE_IPS

Pairs = Sequence[tuple[int, Target]]
"""Functions with their indices in the plan."""


class Probes(ABC):
    """A backend at work. ``failed`` pairs a target with the kernel's errno."""

    ips: Sequence[int] = ()
    """Where the instruction pointer can be at a hit, from the target's address."""

    def __init__(self, targets: Sequence[Target]) -> None:
        self._targets: Pairs = tuple(enumerate(targets))
        self._stop = threading.Event()
        self.total = len(targets)
        self.attached = 0
        self.failed: list[tuple[Target, int]] = []
        self.warnings: list[str] = []

    @property
    def done(self) -> bool:
        return self.attached + len(self.failed) >= self.total

    @property
    def begun(self) -> int:
        """Functions that are, or soon will be, attached or failed."""
        return self.attached + len(self.failed)

    @abstractmethod
    def attach(self, program: Program) -> None:
        """Attaches it everywhere, unless ``interrupt`` is called."""

    def skipped(self, final: bool) -> int | None:
        """Hits that the kernel skipped and the backend alone knows of; None: it does not.

        ``final``: recording has ended, so that what is slow to read may be read, too.
        """
        return None

    def interrupt(self) -> None:
        """Attach no more; safe in a signal handler."""
        self._stop.set()

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
                    "files: raise it (ulimit -Hn) or narrow `filter_func`",
                    errno.EMFILE,
                ) from None
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, hard))


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


def link_event(program: Program, fd: int) -> Link:
    """The program on an open perf event, which closes with the link. Raises AttachError."""
    try:
        return program.attach_perf_event(fd)
    except AttachError:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise


class KprobeMulti(Probes):
    """One link for all."""

    ips = FPROBE_IPS

    def __init__(self, targets: Sequence[Target]) -> None:
        super().__init__(targets)
        self._links: list[Link] = []

    def attach(self, program: Program) -> None:
        attach_together(
            partial(self._attach, program),
            self._targets,
            self.failed,
            fatal=(errno.EOPNOTSUPP, errno.EPERM, errno.ENOMEM),
        )

    def _attach(self, program: Program, pairs: Pairs) -> None:
        if self._stop.is_set():
            return
        link = program.attach_kprobe_multi([target.addr for _, target in pairs])
        self._links.append(link)
        self.attached += len(pairs)

    def detach(self) -> None:
        self.interrupt()
        while self._links:
            self._links.pop().destroy()


class Kprobes(Probes):
    """One perf event a function, for where there is no tracefs: slow to attach, and to detach.

    ``attach`` returns once ``first`` functions are traced; the others follow, in the plan's order.
    """

    ips = KPROBE_IPS

    def __init__(
        self,
        targets: Sequence[Target],
        pmu: int,
        first: int = 8,
    ) -> None:
        super().__init__(targets)
        self._pmu = pmu
        self._first = first
        self._links: list[Link] = []
        self._thread: threading.Thread | None = None

    def attach(self, program: Program) -> None:
        _allow_files(_FILES_EACH * self.total + _FILES_ELSE)
        self._attach(program, self._targets[: self._first])
        if len(self._targets) > self._first and not self._stop.is_set():
            self._thread = threading.Thread(
                target=self._attach, args=(program, self._targets[self._first :]), name="attach"
            )
            self._thread.start()

    def _attach(self, program: Program, pairs: Pairs) -> None:
        for _, target in pairs:
            if self._stop.is_set():
                return
            try:
                fd = perf.open_kprobe(self._pmu, target.addr)
                self._links.append(link_event(program, fd))
                self.attached += 1
            except AttachError as error:
                self.failed.append((target, error.errno))

    def detach(self) -> None:
        self.interrupt()
        if self._thread is not None:
            self._thread.join()
        while self._links:
            self._links.pop().destroy()
