# SPDX-License-Identifier: Apache-2.0
"""How many files this process may have open."""

from __future__ import annotations

import errno
import resource

from ..errors import AttachError

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
