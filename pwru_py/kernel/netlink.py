# SPDX-License-Identifier: Apache-2.0
"""What readings over netlink share: pyroute2, imported when the first of them asks."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

MOST = 64
"""Of anything that is listed."""


@contextmanager
def rtnetlink() -> Iterator[Any]:
    """A socket in the namespace that the process is in."""
    from pyroute2 import IPRoute

    with IPRoute() as link:
        yield link


def name_of(index: int) -> str:
    """An interface's name; '' where there is none."""
    try:
        return socket.if_indextoname(index) if index else ""
    except OSError:
        return ""
