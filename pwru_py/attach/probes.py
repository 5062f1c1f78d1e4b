# SPDX-License-Identifier: Apache-2.0
"""What every way of attaching answers, and what it does.

Only file descriptors hold a probe: when the process ends, however it ends, the kernel removes it.
"""

from __future__ import annotations

import contextlib
import errno
import os
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import ClassVar, Self

from ..errors import AttachError, PwruError
from ..facts.features import Features
from ..kernel import perf, system
from ..kernel.libbpf import Link, Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target

Pairs = Sequence[tuple[int, Target]]
"""Functions with their indices in the plan."""


@dataclass(frozen=True, slots=True)
class Skipped:
    """Hits that the kernel skipped. ``whole``: all are counted; else there may be more."""

    hits: int
    whole: bool


class Probes(ABC):
    """A way of attaching, at work. ``failed`` pairs a target with the kernel's errno.

    A new way is a subclass in a file of its own and a row in ``attach.ways.WAYS``.
    """

    backend: ClassVar[Backend]
    """What a Config calls it; several ways may share a name."""

    words: ClassVar[str]
    """What messages call it."""

    trampoline: ClassVar[bool] = False
    """Arguments come from a trampoline: functions are named by BTF id, loads are typed."""

    entries: ClassVar[bool] = False
    """Addresses are those of entries, some of which are on the kernel's blacklist."""

    func_ip: ClassVar[bool] = False
    """``bpf_get_func_ip()`` tells the function, with a program that is no trampoline's."""

    slow: ClassVar[bool] = False
    """Detaching costs some grace periods of RCU a function."""

    tracepoints: ClassVar[bool] = False
    """Targets are tracepoints, not functions."""

    returns: ClassVar[bool] = False
    """It tells where functions return, too."""

    session: ClassVar[bool] = False
    """The programs call the kernel's functions for kprobe sessions."""

    target: ClassVar[str] = "function"
    """What messages call one of the targets."""

    ips: ClassVar[Sequence[int]] = ()
    """Where the instruction pointer can be at a hit, from the target's address."""

    def __init__(self, targets: Sequence[Target], wake: Wake) -> None:
        self._targets: Pairs = tuple(enumerate(targets))
        self._wake = wake
        self._detaching = False
        self.total = len(targets)
        self.attached = 0
        self.failed: list[tuple[Target, int]] = []
        self.warnings: list[str] = []

    @classmethod
    @abstractmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        """Why functions cannot be traced this way here, nor with ``modules`` theirs."""

    @classmethod
    @abstractmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        """Where ``lacking`` says nothing. Attaches no more once ``wake`` is set."""

    @classmethod  # noqa: B027, most set nothing
    def shape(cls, program: Program, features: Features) -> None:
        """What it sets in a program before that is loaded."""

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        """Those that ``attach`` takes. ``usual``: the one for functions."""
        return (usual,)

    @property
    def copies(self) -> Sequence[int]:
        """Descriptors of the programs that were made of ``programs()`` while attaching."""
        return ()

    @property
    def done(self) -> bool:
        return self.attached + len(self.failed) >= self.total

    @property
    def begun(self) -> int:
        """Functions that are, or soon will be, attached or failed."""
        return self.attached + len(self.failed)

    @property
    def _ending(self) -> bool:
        return self._detaching or self._wake.is_set

    @abstractmethod
    def attach(self, programs: Sequence[Program]) -> None:
        """Attaches ``programs()`` everywhere, or as far as it is when ``wake`` is set.

        Raises AttachError.
        """

    @abstractmethod
    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Hits without a run of ``programs``, since a probe already ran on that CPU.

        ``final``: recording has ended, so that what is slow to read may be read, too.
        """

    def detach(self) -> None:
        """Removes every probe; may be called again."""
        self._detaching = True
        with contextlib.ExitStack() as stack:  # the next one goes, whatever the last one did
            self._release(stack)

    @abstractmethod
    def _release(self, stack: contextlib.ExitStack) -> None:
        """Hands over all that ``detach`` is to call, the last first."""


def release_links(stack: contextlib.ExitStack, links: list[Link]) -> None:
    while links:
        stack.callback(links.pop(0).destroy)


_HOPELESS = 16
"""Functions refused one by one, while none was attached: then all are."""


def attach_together(
    attach: Callable[[Pairs], None],
    pairs: Pairs,
    failed: list[tuple[Target, int]],
    *,
    fatal: Sequence[int] = (errno.EPERM, errno.ENOMEM),
) -> None:
    """Calls ``attach`` with all; when the kernel refuses them, with halves.

    A function that is refused alone goes to ``failed``. Raises AttachError for an errno in
    ``fatal``, of which no function is the cause, and when it is refused with all of the first ones.
    """
    accepted = 0
    waiting = [pairs]
    while waiting:
        some = waiting.pop()
        try:
            attach(some)
            accepted += 1
        except AttachError as error:
            if error.errno in fatal:
                raise
            if len(some) > 1:
                half = len(some) // 2
                waiting += [some[half:], some[:half]]
                continue
            failed.append((some[0][1], error.errno))
            if not accepted and len(failed) >= _HOPELESS:
                raise


def link_event(program: Program, fd: int) -> Link:
    """The program on an open perf event, which closes with the link. Raises AttachError."""
    try:
        return program.attach_perf_event(fd)
    except AttachError:
        with contextlib.suppress(OSError):
            os.close(fd)
        raise


def attach_named_kprobe(
    program: Program, function: str, *, leaves: bool, offset: int = 0
) -> Callable[[], None]:
    """Runs it ``offset`` bytes into a function, or where that is left; what removes it.

    For plans that were made where kprobes are. Raises AttachError.
    """
    pmu = system.kprobe_pmu()
    assert pmu is not None
    return link_event(program, perf.open_named_kprobe(pmu, function, offset, leaves=leaves)).destroy
