# SPDX-License-Identifier: Apache-2.0
"""Whose sockets are: from the session's start by a program, before it by what /proc says."""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from typing import Protocol

from ..attach.probes import attach_named_kprobe
from ..errors import AttachError, FeatureUnsupportedError
from ..kernel import pidns, sockets, system
from ..kernel.libbpf import Program
from ..kernel.sockets import Holder
from ..options.config import Config
from ..record.layout import SOCKET_OWNER
from .choose import ftrace_off

OWNERS_MAX = 65536
"""Sockets whose owner is remembered: that which was not looked for longest gives way."""

_MAKES = "sock_alloc_file"  # net/socket.c: of every socket that a process gets, before it has it
_KEY = struct.Struct("=Q")


class Makers(Protocol):
    """The map of owners, by the socket's inode number."""

    def update(self, key: bytes, value: bytes) -> None:
        """Sets one."""


def owner_program() -> str:
    """The one that sees sockets being made: where no function can be probed, at system calls."""
    probed = system.kprobe_pmu() is not None and ftrace_off() is None
    return "note_socket" if probed else "note_syscall"


def checked_pid(config: Config) -> int:
    """The process to filter by, 0 for any. Raises NotFoundError, FeatureUnsupportedError."""
    if not config.filter_pid:
        return 0
    if not pidns.in_initial():
        raise FeatureUnsupportedError(
            "in a PID namespace of its own the kernel's number of a process is not known: give "
            "`filter_comm` in place of `filter_pid`, or trace from the machine itself",
            feature="PID namespaces",
        )
    sockets.check_process(config.filter_pid)
    return config.filter_pid


def note_owners(program: Program, makers: Makers, config: Config, release: ExitStack) -> list[str]:
    """Attached before what traces; then the sockets that are there. A line for what is not known.

    Raises AttachError where only packets of some process are wanted, and it cannot be told.
    """
    attach: Callable[[], None]
    try:
        if program.name == "note_socket":
            attach = attach_named_kprobe(program, _MAKES, leaves=False)
        else:
            attach = program.attach().destroy
    except AttachError as error:
        if config.chooses_owners:
            raise
        return [f"owners of sockets are not known, as nobody sees them made: {_MAKES}: {error}"]
    release.callback(attach)
    if not pidns.in_initial():
        return [
            "whose sockets are that were made before the start is not known: this process is in a "
            "PID namespace of its own"
        ]
    add_holders(makers, sockets.holders(), config)
    return []


def add_holders(makers: Makers, found: Iterable[Holder], config: Config) -> None:
    """One for each socket: of several the last; of those that the filter chooses, if one does."""
    comm = os.fsencode(config.filter_comm)
    chosen: set[int] = set()
    for holder in found:
        wanted = config.chooses_owners and (
            config.filter_pid in (0, holder.pid) and comm in (b"", holder.comm)
        )
        if wanted:
            chosen.add(holder.inode)
        elif holder.inode in chosen:
            continue
        value = SOCKET_OWNER.pack_members(pid=holder.pid, unused=0, comm=holder.comm)
        makers.update(_KEY.pack(holder.inode), value)
