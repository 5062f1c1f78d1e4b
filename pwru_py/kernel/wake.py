# SPDX-License-Identifier: Apache-2.0
"""Ends what waits, from a signal handler or another thread."""

from __future__ import annotations

import os


class Wake:
    """A word that it is time to end, once given never taken back.

    ``fd`` becomes readable then. ``set`` takes no lock, so a signal handler may call it at any
    moment, and after ``close`` too.
    """

    def __init__(self) -> None:
        self.fd, self._write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        self.is_set = False

    def set(self) -> None:
        self.is_set = True
        if self._write >= 0:
            try:
                os.write(self._write, b"x")
            except OSError:  # full: it is readable
                pass

    def close(self) -> None:
        fds, self.fd, self._write = (self.fd, self._write), -1, -1
        for fd in fds:
            if fd >= 0:
                os.close(fd)
