# SPDX-License-Identifier: Apache-2.0
"""One perf event a function, for where there is no tracefs: slow to attach, and to detach."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Sequence
from typing import Self

from ..errors import AttachError, FeatureUnsupportedError, PwruError
from ..facts.features import Features
from ..kernel import bpf, perf, system
from ..kernel.files import allow_files
from ..kernel.libbpf import Link, Program
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target
from .argument_table import KPROBE_IPS
from .probes import Pairs, Probes, Skipped, link_event, release_links

_FILES_EACH = 2  # a perf event and its link
_FILES_ELSE = 64


def no_kprobes() -> PwruError | None:
    """Why nothing is traced by kprobes here."""
    if system.kprobe_pmu() is None:
        return FeatureUnsupportedError(
            "this kernel has no kprobes (CONFIG_KPROBE_EVENTS is off, or kprobes are disabled): "
            "its functions cannot be traced",
            feature="kprobes",
        )
    if system.kprobes_disarmed():
        return FeatureUnsupportedError(
            f"kprobes are switched off: echo 1 > {system.KPROBES_ENABLED}", feature="kprobes"
        )
    return None


class KprobePerf(Probes):
    """``attach`` returns once ``first`` functions are traced; the others follow in a thread."""

    backend = Backend.KPROBE
    words = "kprobe (perf events)"
    entries = True
    slow = True
    ips = KPROBE_IPS

    def __init__(
        self,
        targets: Sequence[Target],
        wake: Wake,
        pmu: int,
        *,
        counts: bool = False,
        first: int = 8,
    ) -> None:
        super().__init__(targets, wake)
        self._pmu = pmu
        self._counts = counts
        self._first = first
        self._links: list[Link] = []
        self._thread: threading.Thread | None = None

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        return no_kprobes()

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        pmu = system.kprobe_pmu()
        assert pmu is not None
        return cls(targets, wake, pmu, counts=features.misses)

    def attach(self, programs: Sequence[Program]) -> None:
        (program,) = programs
        needed = _FILES_EACH * self.total + _FILES_ELSE
        allow_files(needed, f"cannot attach {self.total} kprobes without tracefs")
        self._attach(program, self._targets[: self._first])
        if len(self._targets) > self._first and not self._ending:
            self._thread = threading.Thread(
                target=self._attach, args=(program, self._targets[self._first :]), name="attach"
            )
            self._thread.start()

    def _attach(self, program: Program, pairs: Pairs) -> None:
        for _, target in pairs:
            if self._ending:
                return
            try:
                fd = perf.open_kprobe(self._pmu, target.addr)
                self._links.append(link_event(program, fd))
                self.attached += 1
            except AttachError as error:
                self.failed.append((target, error.errno))

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Since 6.7 each link tells of its kprobe, and the program of itself."""
        (program,) = programs
        if not self._counts:
            return Skipped(0, whole=False)
        hits = bpf.recursion_misses(program.fd)
        if final:
            hits += sum(bpf.link_missed(link.fd, bpf.MISSED_KPROBE) for link in self._links)
        return Skipped(hits, whole=final)

    def _release(self, stack: contextlib.ExitStack) -> None:
        if self._thread is not None:
            self._thread.join()
        release_links(stack, self._links)
