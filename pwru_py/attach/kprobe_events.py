# SPDX-License-Identifier: Apache-2.0
"""Kprobe events of tracefs (Documentation/trace/kprobetrace.rst): one holds many functions.

With a perf event for each function, the kernel walks ftrace's table for each, and detaching waits
for three grace periods each, one after the other. A kprobe event with a probe in each function
(ca89bc071d5e, 5.4) is enabled and disabled as one. Its probes lie behind the call of ftrace, where
they are breakpoints, most of which the kernel soon turns into jumps. It does not where a function
begins with a jump or goes elsewhere by a pointer (can_optimize() in arch/x86/kernel/kprobes/opt.c):
the functions that nearly every packet meets have their probe at the entry, by ftrace.

A perf event enables a kprobe event, and ends with the process, however that ends. A session that
was killed leaves the definition, which is disarmed; the next session removes it. An event's name
holds its owner, PID namespace and number: another container's process is not gone because it cannot
be seen. There is no quick way to remove many: 500 by the event's name alone, in one write(2), took
8.4 s on 6.1, as long as one by one, and nothing ends a write(2).
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import threading
from collections.abc import Mapping, Sequence
from typing import ClassVar, Self

from ..errors import AttachError, FeatureUnsupportedError, PwruError
from ..facts.features import Features
from ..kernel import bpf, perf, system
from ..kernel.libbpf import Link, Program
from ..kernel.pidns import Living, Process, this_process
from ..kernel.wake import Wake
from ..options.config import Backend
from ..plan.functions import Target
from .argument_table import CALL, ENDBR, EVENT_IPS
from .kprobe_perf import no_kprobes
from .probes import Pairs, Probes, Skipped, link_event, release_links

_GROUP = "pwru_py"
_BASE = b"_stext"  # probes at plain addresses count as the same one (trace_kprobe_has_same_kprobe)
_AT_ENTRY = 40  # functions, in the plan's order
# Where ENDBR comes before the call, CALL bytes on are within it (EILSEQ). Where an instruction that
# the kernel patches itself, as for a static key, comes after it (EINVAL), the entry is left.
_INSTEAD = {
    (CALL, errno.EILSEQ): ENDBR + CALL,
    (CALL, errno.EINVAL): 0,
    (ENDBR + CALL, errno.EINVAL): 0,
}
_OURS = re.compile(rb"^[pr]\d*:(pwru_py/[a-z]+_(\d+)_(\d+)_\d+ \S+)$", re.MULTILINE)
_CALLS_AT_ONCE = 64  # of one function, whose returns are seen: maxactive
_FEW = 50  # definitions go in a second: the kernel waits for a grace period, some 20 ms, for each

_serial = itertools.count()

Definition = bytes
"""Of one probe: ``GROUP/EVENT SYMBOL+OFFSET``."""


class Definitions:
    """What ``kprobe_events`` lists. ``base``: the address of the kernel's ``_stext``."""

    def __init__(self, tracefs: str, base: int) -> None:
        self._tracefs = tracefs
        self._base = base

    def _write(self, line: bytes) -> None:
        # Without O_APPEND an open removes all that is defined, whoever did it.
        flags = os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC
        fd = os.open(f"{self._tracefs}/kprobe_events", flags)
        try:
            os.write(fd, line)
        finally:
            os.close(fd)

    def add_return(self, name: str, addr: int) -> Definition:
        """The same for the returns of the function at ``addr``. Raises AttachError."""
        added = b"%s %s+%d" % (name.encode(), _BASE, addr - self._base)
        try:
            self._write(b"r%d:%s\n" % (_CALLS_AT_ONCE, added))
        except OSError as error:
            raise AttachError.of(error) from None
        return added

    def add(self, name: str, addr: int, *, at_entry: bool) -> Definition:
        """One more probe of that name, in the function at ``addr``. Raises AttachError."""
        behind = 0 if at_entry else CALL
        while True:
            added = b"%s %s+%d" % (name.encode(), _BASE, addr + behind - self._base)
            try:
                self._write(b"p:%s\n" % added)
                return added
            except OSError as error:
                instead = _INSTEAD.get((behind, error.errno or 0))
                if instead is None:
                    raise AttachError.of(error) from None
                behind = instead

    def remove(self, definition: Definition) -> None:
        """That probe, if it is there, and its event not enabled by somebody else.

        One, as the kernel waits for a grace period for each, and nothing ends a write(2).
        """
        try:
            self._write(b"-:%s\n" % definition)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.EBUSY):
                raise

    def enable(self, name: str) -> int:
        """A perf event, for as long as which every probe of that name is enabled.

        Returns its file descriptor. Raises AttachError.
        """
        try:
            with open(f"{self._tracefs}/events/{name}/id", "rb") as stream:
                return perf.open_tracepoint(int(stream.read()))
        except OSError as error:
            raise AttachError.of(error) from None

    def abandoned(self) -> list[Definition]:
        """Those of processes that are no more."""
        listed = _OURS.findall(system.read(f"{self._tracefs}/kprobe_events") or b"")
        found = [(each, Process(int(namespace), int(pid))) for each, namespace, pid in listed]
        owners = {owner for _, owner in found} - {this_process()}
        if not owners:
            return []
        living = Living()
        gone = {owner for owner in owners if living.is_gone(owner)}
        return [definition for definition, owner in found if owner in gone]

    def missed(self, names: Sequence[str]) -> int | None:
        """Hits of those probes within another kprobe, which the kernel skips; None: unknown."""
        text = system.read(f"{self._tracefs}/kprobe_profile")
        if text is None:
            return None
        wanted = {name.rpartition("/")[2].encode() for name in names}
        rows = (line.split() for line in text.splitlines())
        return sum(int(row[2]) for row in rows if len(row) == 3 and row[0] in wanted)


class KprobeEvents(Probes):
    """Two kprobe events: one for the ``first`` functions, which trace once ``attach`` returns.

    The other is for the rest, which a thread defines and then enables.
    """

    backend = Backend.KPROBE
    words = "kprobe"
    entries = True
    ips: ClassVar[Sequence[int]] = EVENT_IPS

    def __init__(
        self,
        targets: Sequence[Target],
        wake: Wake,
        definitions: Definitions,
        *,
        counts: bool = False,
        first: int = 8,
    ) -> None:
        super().__init__(targets, wake)
        self._definitions = definitions
        self._counts = counts
        self._first = first
        self._session = "{}_{}_{}".format(*this_process(), next(_serial))
        self._names: list[str] = []
        self._links: list[Link] = []
        self._thread: threading.Thread | None = None
        self._defined: list[Definition] = []
        self._abandoned: list[Definition] = []

    @classmethod
    def lacking(cls, features: Features, *, modules: bool) -> PwruError | None:
        if system.writable_tracefs() and system.text_start() is not None:
            return no_kprobes()
        return no_kprobes() or FeatureUnsupportedError(
            "kprobe events need a tracefs that may be written: mount it at /sys/kernel/tracing",
            feature="tracefs",
        )

    @classmethod
    def make(cls, targets: Sequence[Target], features: Features, wake: Wake) -> Self:
        base = system.text_start()
        assert base is not None
        definitions = Definitions(system.writable_tracefs(), base)
        return cls(targets, wake, definitions, counts=features.misses)

    @property
    def begun(self) -> int:
        return min(self.total, len(self._defined) + len(self.failed))

    def attach(self, programs: Sequence[Program]) -> None:
        self._attach(programs, "first", self._targets[: self._first])
        self._abandoned = self._definitions.abandoned()
        if len(self._abandoned) > _FEW:
            self.warnings.append(
                f"{len(self._abandoned)} disarmed kprobe definitions of sessions that were killed "
                "are there: they are removed while this one runs, fifty a second"
            )
        if (len(self._targets) > self._first or self._abandoned) and not self._ending:
            self._thread = threading.Thread(target=self._rest, args=(programs,), name="attach")
            self._thread.start()

    def _rest(self, programs: Sequence[Program]) -> None:
        if len(self._targets) > self._first:
            self._attach(programs, "rest", self._targets[self._first :])
        while self._abandoned and not self._ending:
            self._definitions.remove(self._abandoned.pop())

    def _attach(self, programs: Sequence[Program], role: str, pairs: Pairs) -> None:
        (program,) = programs
        name = self._name(role)
        defined = [target for index, target in pairs if self._define(name, index, target)]
        self._enable(defined, {name: program})

    def _name(self, role: str) -> str:
        name = f"{_GROUP}/{role}_{self._session}"
        self._names.append(name)
        return name

    def _enable(self, defined: Sequence[Target], programs: Mapping[str, Program]) -> None:
        """``programs``: by the name of their events."""
        if not defined or self._ending:
            return
        try:
            for name, program in programs.items():
                self._links.append(link_event(program, self._definitions.enable(name)))
        except AttachError as error:
            self.failed += ((target, error.errno) for target in defined)
        else:
            self.attached += len(defined)

    def _define(self, name: str, index: int, target: Target) -> bool:
        if self._ending:
            return False
        try:
            added = self._definitions.add(name, target.addr, at_entry=index < _AT_ENTRY)
        except AttachError as error:
            self.failed.append((target, error.errno))
            return False
        self._defined.append(added)
        return True

    def skipped(self, programs: Sequence[Program], *, final: bool) -> Skipped:
        """Two places: a kprobe within a kprobe, which takes its time to read, and a program within
        a program, which is counted since 6.7 (bpf_prog_active in trace_call_bpf())."""
        within = self._definitions.missed(self._names) if final else None
        hits = sum(bpf.recursion_misses(each.fd) for each in programs) if self._counts else 0
        return Skipped(hits + (within or 0), whole=self._counts and within is not None)

    def _release(self, stack: contextlib.ExitStack) -> None:
        if self._thread is not None:
            self._thread.join()
        while self._defined:
            stack.callback(self._definitions.remove, self._defined.pop(0))
        release_links(stack, self._links)
        if self._abandoned:
            self.warnings.append(
                f"{len(self._abandoned)} kprobe definitions of killed sessions are still there: "
                "the next session with kprobes goes on removing them"
            )
            self._abandoned = []
