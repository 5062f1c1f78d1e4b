# SPDX-License-Identifier: Apache-2.0
"""BPF programs that packets are given to: an fentry program at each that is, or will be, loaded.

Each has a copy of ours, as the kernel wants to know the target when it loads one. The copy has its
number in its code: before 5.17 no such program can ask where it is.

As long as it is attached, the kernel keeps the target, wherever that is removed meanwhile.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Container, Iterator, Mapping

from ..errors import AttachError, FeatureUnsupportedError
from ..escape import printable
from ..kernel import bpf, loaded
from ..kernel.libbpf import Program
from ..kernel.loaded import LoadedProgram
from ..kernel.wake import Wake
from ..record.event import BpfProgram
from .numbered import numbered

KINDS = {3: "tc", 4: "tc", 6: "xdp"}
"""BPF_PROG_TYPE_SCHED_CLS, _SCHED_ACT, _XDP to what they are called."""


_NO_BTF = "it has no BTF"


def loaded_programs(kinds: Container[str]) -> Iterator[tuple[BpfProgram, str]]:
    """Those that are there, of these kinds; why each cannot be traced, '' where that is not known
    before it is tried. Raises AttachError.
    """
    for number in loaded.ids_after(0):
        with contextlib.ExitStack() as stack:
            try:
                fd = loaded.open_program(number)
            except AttachError as error:
                if error.errno == errno.ENOENT:
                    continue
                raise
            stack.callback(os.close, fd)
            found = loaded.describe(fd)
            kind, name, why = KINDS.get(found.kind, ""), found.name, _NO_BTF
            if kind not in kinds:
                continue
            if found.function:
                try:
                    name, why = loaded.whole_name(found), ""
                except (AttachError, FeatureUnsupportedError) as error:
                    why = str(error)
            yield BpfProgram(kind, number, printable(name), found.addr), why


class BpfPrograms:
    """``ours``: what is to run, by kind. ``traced``: by the number that records have."""

    def __init__(self, ours: Mapping[str, Program], wake: Wake) -> None:
        self._ours = ours
        self._wake = wake
        self._last = 0  # the id that was seen last
        self._copies: list[int] = []
        self._links: list[int] = []
        self.traced: list[BpfProgram] = []
        self.warnings: list[str] = []

    def notice(self) -> None:
        """Attaches to the programs that have been loaded since the last call."""
        if not self._ours:
            return
        for number in loaded.ids_after(self._last):
            if self._wake.is_set:
                return
            self._last = number
            self._consider(number)

    def _consider(self, number: int) -> None:
        try:
            fd = loaded.open_program(number)
        except AttachError as error:
            if error.errno != errno.ENOENT:  # gone since
                self.warnings.append(f"a BPF program is not traced: {error}")
            return
        try:
            found = loaded.describe(fd)
            kind = KINDS.get(found.kind, "")
            if kind in self._ours:
                self._trace(fd, found, kind)
        finally:
            os.close(fd)

    def _trace(self, fd: int, found: LoadedProgram, kind: str) -> None:
        """Whatever it is that refuses one: the others go on."""
        name, number = found.name, len(self.traced)
        try:
            if not found.function:
                raise AttachError(_NO_BTF)
            name = loaded.whole_name(found)
            ours = self._ours[kind]
            code = numbered(ours.instructions(), number)
            # Known before the first event comes; a number stays what it is.
            self.traced.append(BpfProgram(kind, found.number, printable(name), found.addr))
            self._attach(bpf.load_fentry(ours.name, code, fd, found.function))
        except (AttachError, FeatureUnsupportedError) as error:
            self.warnings.append(
                f"the {kind} program {name} (id {found.number}) is not traced: {error}"
            )

    def _attach(self, copy: int) -> None:
        try:
            self._links.append(bpf.attach_fentry(copy))
        except AttachError:
            os.close(copy)
            raise
        self._copies.append(copy)

    @property
    def copies(self) -> tuple[int, ...]:
        """Descriptors of our programs."""
        return tuple(self._copies)

    def skipped(self) -> int:
        """Runs that the kernel skipped, as another one was under way on that CPU.

        Before 5.12 it skips none.
        """
        return sum(map(bpf.recursion_misses, self._copies))

    def detach(self) -> None:
        """Removes all; may be called again."""
        with contextlib.ExitStack() as stack:
            for fds in (self._copies, self._links):
                while fds:
                    stack.callback(os.close, fds.pop())
