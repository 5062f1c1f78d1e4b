# SPDX-License-Identifier: Apache-2.0
"""Limits of this process: open files, locked memory; files that are in memory alone."""

from __future__ import annotations

import errno
import os
import resource

from ..errors import AttachError
from .system import CAP_SYS_RESOURCE, has_capability

_UNLIMITED = resource.RLIM_INFINITY


def allow_files(needed: int, what: str) -> None:
    """Raises the limit as far as ``needed``, where it is less.

    Raises AttachError when it may not: ``what`` says what cannot be done then.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == _UNLIMITED or soft >= needed:
        return
    enough = hard if hard == _UNLIMITED else max(hard, needed)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (needed, enough))
    except (ValueError, OSError):  # beyond the hard limit, without CAP_SYS_RESOURCE
        raise AttachError(
            f"{what} with at most {hard} open files, {needed} are needed: raise the limit "
            "(ulimit -Hn)",
            errno.EMFILE,
        ) from None


def locked_memory_limit() -> int | None:
    """How many bytes this process may lock at most; None for any number, or as it may raise it."""
    _soft, hard = resource.getrlimit(resource.RLIMIT_MEMLOCK)
    if hard == resource.RLIM_INFINITY or has_capability(CAP_SYS_RESOURCE):
        return None
    return hard


class MemoryFile:
    """Bytes under a path that this process alone can open, until the object goes."""

    def __init__(self, content: bytes) -> None:
        self._fd = os.memfd_create("pwru-py")
        with open(self._fd, "wb", closefd=False) as stream:
            stream.write(content)
        self.path = f"/proc/self/fd/{self._fd}"

    def __del__(self) -> None:
        os.close(self._fd)
