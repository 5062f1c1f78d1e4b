# SPDX-License-Identifier: Apache-2.0
"""``-F FILE``: the filter from a file, as tcpdump reads it."""

from __future__ import annotations

import re

from ..errors import UsageError, reason
from ..escape import quote

_LIMIT_BYTES = 1 << 20


def read_filter(name: str) -> str:
    """The expression in a file: its lines joined; ``#`` and what follows it in a line is a comment.

    Raises UsageError.
    """
    try:
        with open(name, "rb") as file:
            content = file.read(_LIMIT_BYTES + 1)
    except OSError as error:
        raise UsageError(f"cannot read the filter in {quote(name)}: {reason(error)}") from None
    if len(content) > _LIMIT_BYTES:
        raise UsageError(f"cannot read the filter in {quote(name)}: it is longer than 1 MiB")
    text = re.sub("#[^\n]*", "", content.decode("utf-8", "surrogateescape"))
    return " ".join(text.split())
