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
from typing import NamedTuple

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


def loaded_programs(kinds: Container[str]) -> Iterator[tuple[BpfProgram, str]]:
    """Those that are there, of these kinds; why each cannot be traced, '' where that is not known
    before it is tried. Raises AttachError.
    """
    for number in loaded.ids_after(0):
        with _opened(number, kinds) as opened:
            if opened:
                name, why = _name(opened.found)
                yield opened.traced(name), why


class _Opened(NamedTuple):
    fd: int
    found: LoadedProgram
    kind: str

    def traced(self, name: str) -> BpfProgram:
        return BpfProgram(self.kind, self.found.number, printable(name), self.found.addr)


@contextlib.contextmanager
def _opened(number: int, kinds: Container[str]) -> Iterator[_Opened | None]:
    """None: it is of another kind, or gone. Raises AttachError."""
    try:
        fd = loaded.open_program(number)
    except AttachError as error:
        if error.errno != errno.ENOENT:
            raise
        yield None
        return
    try:
        found = loaded.describe(fd)
        kind = KINDS.get(found.kind, "")
        yield _Opened(fd, found, kind) if kind in kinds else None
    finally:
        os.close(fd)


def _name(found: LoadedProgram) -> tuple[str, str]:
    """Its whole name, or the short one and why that is all."""
    if not found.function:
        return found.name, "it has no BTF"
    try:
        return loaded.whole_name(found), ""
    except (AttachError, FeatureUnsupportedError) as error:
        return found.name, str(error)


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
            with _opened(number, self._ours) as opened:
                if opened:
                    self._trace(opened)
        except AttachError as error:
            self.warnings.append(f"a BPF program is not traced: {error}")

    def _trace(self, opened: _Opened) -> None:
        """Whatever it is that refuses one: the others go on."""
        name, why = _name(opened.found)
        try:
            if why:
                raise AttachError(why)
            ours = self._ours[opened.kind]
            code = numbered(ours.instructions(), len(self.traced))
            # Known before the first event comes; a number stays what it is.
            self.traced.append(opened.traced(name))
            self._attach(bpf.load_fentry(ours.name, code, opened.fd, opened.found.function))
        except (AttachError, FeatureUnsupportedError) as error:
            what = f"the {opened.kind} program {name} (id {opened.found.number})"
            self.warnings.append(f"{what} is not traced: {error}")

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
