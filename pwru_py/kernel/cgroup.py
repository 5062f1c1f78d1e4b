# SPDX-License-Identifier: Apache-2.0
"""Control groups of cgroup v2 (Documentation/admin-guide/cgroup-v2.rst): by path, and our own."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import subprocess
from collections.abc import Iterator

from ..errors import NotFoundError, PrivilegeError, PwruError, reason
from ..escape import quote

_PREFIX = "pwru-py-"
# include/uapi/asm-generic/unistd.h, the same on every architecture (5.2); linux/mount.h
_FSOPEN, _FSCONFIG, _FSMOUNT = 430, 431, 432
_CLOEXEC, _CONFIG_CREATE = 1, 6


def resolve(text: str) -> int:
    """The kernel's number of a control group: that of its directory's inode.

    ``text``: the directory, its path as /proc/PID/cgroup has it, or ``pid:N``.
    Raises NotFoundError, PrivilegeError.
    """
    if _is_group(text):
        return os.stat(text).st_ino
    pid = re.fullmatch("pid:([0-9]{1,10})", text)
    with hierarchy() as root:
        path = f"{root}/{_path_of(pid[1]) if pid else text}"
        if not _is_group(path):
            raise NotFoundError(
                f"no control group {quote(text)} (cgroup v2): give its directory, its path in "
                "/proc/PID/cgroup, or pid:N"
            )
        return os.stat(path).st_ino


@contextlib.contextmanager
def own_group() -> Iterator[str]:
    """The directory of a group for a command, within that of this process; it goes when empty.

    Raises PrivilegeError, PwruError.
    """
    with hierarchy() as root:
        parent = os.path.normpath(f"{root}/{_path_of('self')}")
        name = f"{_PREFIX}{os.getpid()}"
        _remove_left(parent)
        try:
            os.mkdir(f"{parent}/{name}")
        except OSError as error:
            raise PwruError(
                f"cannot make a control group in {parent}: {reason(error)}; it tells what the "
                "command sends: run where that can be written"
            ) from None
        # By a process of its own: it may, when this one has given its capabilities up or was
        # killed. What the command has left running stays in the group.
        remover = subprocess.Popen(
            ["/bin/sh", "-c", 'read _; rmdir "$0"', name],
            cwd=parent,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        try:
            yield f"{parent}/{name}"
        finally:
            remover.communicate()


def _remove_left(parent: str) -> None:
    """Empty groups of sessions that were killed."""
    for name in os.listdir(parent):
        pid = name.removeprefix(_PREFIX)
        if pid != name and pid.isdigit() and not os.path.exists(f"/proc/{pid}"):
            with contextlib.suppress(OSError):
                os.rmdir(f"{parent}/{name}")


def _is_group(path: str) -> bool:
    return os.path.exists(f"{path}/cgroup.controllers")  # cgroup v1 has none


@contextlib.contextmanager
def hierarchy() -> Iterator[str]:
    """Where cgroup v2 is mounted; else (``ip netns exec`` hides it) a mount that none else sees.

    Raises PrivilegeError.
    """
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        for line in lines:  # proc_pid_mountinfo(5)
            before, _, after = line.partition(" - ")
            if after.startswith("cgroup2 "):
                yield before.split()[4]
                return
    fd = _mount()
    try:
        yield f"/proc/{os.getpid()}/fd/{fd}"
    finally:
        os.close(fd)


def _mount() -> int:
    """A descriptor of a mount of cgroup v2 that is attached nowhere: fsopen(2), fsmount(2)."""
    libc = ctypes.CDLL(None, use_errno=True)
    context = libc.syscall(_FSOPEN, b"cgroup2", _CLOEXEC)
    try:
        if context >= 0 and not libc.syscall(_FSCONFIG, context, _CONFIG_CREATE, None, None, 0):
            fd: int = libc.syscall(_FSMOUNT, context, _CLOEXEC, 0)
            if fd >= 0:
                return fd
        problem = os.strerror(ctypes.get_errno()).lower()
    finally:
        if context >= 0:
            os.close(context)
    raise PrivilegeError(
        f"control groups (cgroup v2), which tell whose a socket is, cannot be mounted: {problem}; "
        "mount them: mount -t cgroup2 none /sys/fs/cgroup",
        ("CAP_SYS_ADMIN",),
    )


def _path_of(pid: str) -> str:
    """The group of a process, from the root."""
    try:
        with open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="surrogateescape") as lines:
            return next(line[4:].rstrip("\n") for line in lines if line.startswith("0::/"))
    except (OSError, StopIteration):
        raise NotFoundError(f"no control group (cgroup v2) of process {pid} is known") from None
