# SPDX-License-Identifier: Apache-2.0
"""Kprobe events at entries, and events of kretprobes beside them: for kernels without kprobe-multi.

A kretprobe is at a function's entry alone, where ftrace arms one after the other.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from ..errors import AttachError
from ..kernel.libbpf import Program
from ..plan.functions import Target
from .argument_table import KPROBE_IPS, tells_caller
from .kprobe_events import KprobeEvents
from .probes import Pairs

_MANY = 100
_MS_EACH = 20


class KprobeEventsPair(KprobeEvents):
    """Both probes of a function are at its entry, so both know it by that address."""

    words = "kprobe and kretprobe events"
    returns = True
    ips: ClassVar[Sequence[int]] = KPROBE_IPS

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        return ("trace_call", "trace_return")

    @property
    def begun(self) -> int:
        return min(self.total, len(self._defined) // 2 + len(self.failed))

    def attach(self, programs: Sequence[Program]) -> None:
        if self.total > _MANY:
            self.warnings.append(
                f"the kernel arms {self.total} kretprobes one after the other, in about "
                f"{self.total * _MS_EACH // 1000} s: narrow `filter_func`"
            )
        super().attach(programs)

    def _attach(self, programs: Sequence[Program], role: str, pairs: Pairs) -> None:
        """The returns first: no entry waits for one that nobody sees."""
        enter, leave = programs
        entries, returns = self._name(role), self._name(f"{role}returns")
        defined = [
            target
            for _, target in pairs
            if self._define_return(returns, target) and self._define(entries, 0, target)
        ]
        self._enable(defined, {returns: leave, entries: enter})

    def _define_return(self, name: str, target: Target) -> bool:
        if self._ending:
            return False
        if tells_caller(target):
            return True
        try:
            added = self._definitions.add_return(name, target.addr)
        except AttachError as error:
            self.failed.append((target, error.errno))
            return False
        self._defined.append(added)
        return True
