# SPDX-License-Identifier: Apache-2.0
"""Prepared → Attached: what the kernel refuses is not the end while something else may do."""

from __future__ import annotations

import errno

from ..errors import AttachError, LoadError, PrivilegeError
from ..kernel.files import allow_files
from ..kernel.wake import Wake
from .attached import Attached, attach
from .choose import instead, left
from .load import load
from .prepare import Prepared, prepare_next

_FILES = 64  # maps, programs, links, the reader; what Python has open
# Nothing else would fare better.
_HOPELESS = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def start(prepared: Prepared, wake: Wake) -> Attached:
    """Loads and attaches; where that is refused, the next choice. Raises the last refusal.

    Each step down is a warning that names what was refused, why, and what is used instead.
    """
    allow_files(_FILES, "cannot load the program")
    warnings: tuple[str, ...] = ()
    while True:
        try:
            return attach(load(prepared, wake), wake, warnings)
        except (LoadError, AttachError, PrivilegeError) as refusal:
            others = left(prepared.choice, prepared.others, refusal)
            if not others or getattr(refusal, "errno", 0) in _HOPELESS:
                raise
            following = prepare_next(prepared, others)
            if not following.plan.targets:
                raise
            if following.choice.follows or prepared.config.follows:
                warnings += (instead(prepared.choice, following.choice, refusal),)
            prepared = following
