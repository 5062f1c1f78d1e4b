# SPDX-License-Identifier: Apache-2.0
"""Two kprobe-multi links: at the entries of all functions, and at their returns (5.18)."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

from ..errors import AttachError
from ..kernel.libbpf import Program
from ..plan.functions import Target
from .argument_table import tells_caller
from .kprobe_multi import KprobeMulti
from .probes import Pairs, release_links


class KprobeMultiPair(KprobeMulti):
    """For kernels without kprobe sessions: every return of a function runs the program there."""

    words = "kprobe-multi at entries and returns"
    returns = True

    @classmethod
    def programs(cls, targets: Sequence[Target], usual: str) -> tuple[str, ...]:
        return ("trace_call", "trace_return")

    def _attach(self, programs: Sequence[Program], pairs: Pairs) -> None:
        """The returns first: no entry waits for one that nobody sees."""
        if self._ending:
            return
        enter, leave = programs
        returning = [target.addr for _, target in pairs if not tells_caller(target)]
        left = [leave.attach_kprobe_multi(returning, leaves=True)] if returning else []
        try:
            entered = enter.attach_kprobe_multi([target.addr for _, target in pairs])
        except AttachError:
            release = contextlib.ExitStack()
            release_links(release, left)
            release.close()
            raise
        self._links += (entered, *left)
        self.attached += len(pairs)
