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
_TAKES = "sk_filter_trim_cap"  # net/core/filter.c: of every packet, once its socket is found
RECEIVER_PROGRAM = "note_taker"
_KEY = struct.Struct("=Q")


class Makers(Protocol):
    """The map of owners, by the socket's inode number."""

    def update(self, key: bytes, value: bytes) -> None:
        """Sets one."""


def owner_programs(config: Config) -> tuple[str, ...]:
    """Those that tell whose sockets are; none where nobody asks.

    The first sees sockets being made: where no function can be probed, at system calls. With
    ``RECEIVER_PROGRAM`` packets that nobody was sent for are known by where their socket is found.
    """
    probed = system.kprobe_pmu() is not None and ftrace_off() is None
    makers = ("note_socket" if probed else "note_syscall",) if config.knows_owners else ()
    receivers = probed and (config.knows_owners or config.filter_cgroup)
    return (*makers, RECEIVER_PROGRAM) if receivers else makers


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


def note_owners(
    programs: Iterable[Program], makers: Makers, config: Config, release: ExitStack
) -> list[str]:
    """Attached before what traces; then the sockets that are there. A line for what is not known.

    Raises AttachError where only packets of some process are wanted, and it cannot be told.
    """
    unknown: list[str] = []
    sees_made = config.knows_owners
    for program in programs:
        try:
            release.callback(_attach(program))
        except AttachError as error:
            if program.name != RECEIVER_PROGRAM:
                if config.chooses_owners:
                    raise
                sees_made = False
            unknown.append(f"{_UNKNOWN[program.name]}: {error}")
    if sees_made and pidns.in_initial():
        add_holders(makers, sockets.holders(), config)
    elif sees_made:
        unknown.append(
            "whose sockets are that were made before the start is not known: this process is in a "
            "PID namespace of its own"
        )
    return unknown


_UNMADE = "owners of sockets are not known, as nobody sees them made"
_UNKNOWN = {
    "note_socket": f"{_UNMADE}: {_MAKES}",
    "note_syscall": _UNMADE,
    RECEIVER_PROGRAM: f"whose the first packet to a server is is not known: {_TAKES}",
}
_FUNCTIONS = {"note_socket": _MAKES, RECEIVER_PROGRAM: _TAKES}


def _attach(program: Program) -> Callable[[], None]:
    """What detaches it. Raises AttachError."""
    function = _FUNCTIONS.get(program.name)
    if function is None:
        return program.attach().destroy
    return attach_named_kprobe(program, function, leaves=False)


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
