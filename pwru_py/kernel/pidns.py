# SPDX-License-Identifier: Apache-2.0
"""Which processes live, told by their PID namespace and their number in it (pid_namespaces(7))."""

from __future__ import annotations

import errno
import os
import re
from functools import cached_property
from typing import NamedTuple

_INITIAL = 0xEFFFFFFC  # PROC_PID_INIT_INO, include/linux/proc_ns.h
_DEAD = re.compile(rb"^State:\s+[ZX]", re.MULTILINE)
_NUMBERS = re.compile(rb"^NSpid:(?:\s+\d+)*\s+(\d+)$", re.MULTILINE)


class Process(NamedTuple):
    """``namespace``: the inode of the innermost one that it is in; ``pid``: its number there."""

    namespace: int
    pid: int


def this_process() -> Process:
    """The calling process."""
    return Process(os.stat("/proc/self/ns/pid").st_ino, os.getpid())


def in_initial() -> bool:
    """Whether processes have the numbers here by which the kernel's programs know them."""
    return this_process().namespace == _INITIAL


class Living:
    """The processes that can be seen: those of the own namespace and of namespaces within it."""

    def __init__(self, proc: str = "/proc") -> None:
        self._proc = proc
        self._own = 0  # where /proc is another namespace's, no process can be told to be gone
        if os.readlink(f"{proc}/self") == str(os.getpid()):
            self._own = os.stat(f"{proc}/self/ns/pid").st_ino
        self._pids = set(map(int, filter(str.isdigit, os.listdir(proc))))

    def is_gone(self, process: Process) -> bool:
        """Whether it lives no more, for certain: not so in a namespace that cannot be seen into."""
        if process.namespace == self._own:
            return process.pid not in self._pids or self._is_dead(process.pid)
        if not self._own or self._inside is None or process in self._inside:
            return False
        seen = {living.namespace for living in self._inside}
        return self._own == _INITIAL or process.namespace in seen

    @cached_property
    def _inside(self) -> set[Process] | None:
        """Every process as it is known in its innermost namespace; None: some are hidden."""
        found = set()
        for pid in self._pids:
            try:
                if not self._is_dead(pid):
                    found.add(self._innermost(pid))
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ESRCH):
                    return None
        return found

    def _is_dead(self, pid: int) -> bool:
        """Whether it has ended, and its parent has not asked for its status yet (a zombie)."""
        try:
            with open(f"{self._proc}/{pid}/status", "rb") as stream:
                return _DEAD.search(stream.read()) is not None
        except FileNotFoundError:
            return True

    def _innermost(self, pid: int) -> Process:
        namespace = os.stat(f"{self._proc}/{pid}/ns/pid").st_ino
        with open(f"{self._proc}/{pid}/status", "rb") as stream:
            numbers = _NUMBERS.search(stream.read())
        return Process(namespace, int(numbers[1]) if numbers else pid)
