# SPDX-License-Identifier: Apache-2.0
"""Which process has which socket: the links of /proc/PID/fd, ``socket:[INODE]`` (proc(5))."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from typing import NamedTuple

from ..errors import NotFoundError

_SOCKET = re.compile(r"socket:\[([0-9]{1,20})\]")
_TGID = re.compile(rb"^Tgid:\s+([0-9]+)$", re.MULTILINE)


class Holder(NamedTuple):
    """A process that has a socket. ``comm``: its name, raw. ``inode``: the socket's."""

    pid: int
    comm: bytes
    inode: int


def holders() -> Iterator[Holder]:
    """Every process that can be seen, with each of its sockets; the first started last."""
    pids = sorted(
        (_started(int(name)), int(name)) for name in os.listdir("/proc") if name.isdigit()
    )
    for _start, pid in reversed(pids):
        try:
            with open(f"/proc/{pid}/comm", "rb") as stream:
                comm = stream.read().removesuffix(b"\n")
            links = os.listdir(f"/proc/{pid}/fd")
        except OSError:  # it has ended, or may not be looked at
            continue
        for link in links:
            try:
                found = _SOCKET.fullmatch(os.readlink(f"/proc/{pid}/fd/{link}"))
            except OSError:
                continue
            if found:
                yield Holder(pid, comm, int(found[1]))


def _started(pid: int) -> int:
    """When, in ticks since boot: the 22nd field of proc_pid_stat(5); 0 where it has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as stream:
            return int(stream.read().rpartition(b")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def check_process(pid: int) -> None:
    """Raises NotFoundError unless it is the number of a process, not of another of its threads."""
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:
            found = _TGID.search(stream.read())
    except OSError:
        raise NotFoundError(f"no process {pid} is there now") from None
    if found is not None and int(found[1]) != pid:
        raise NotFoundError(
            f"{pid} is a thread of process {int(found[1])}, whose sockets are all its threads': "
            "give that number"
        )
