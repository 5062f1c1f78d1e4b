# SPDX-License-Identifier: Apache-2.0
"""What can go wrong in the lab.

LabError
├── ArchiveError      apt cannot resolve, download or verify a package
└── GuestError        anything about a running guest; carries its console log
    ├── GuestDiedError      QEMU ended: panic, power off, or never booted
    ├── GuestTimeoutError   a wait in the guest took longer than allowed; the guest lives on
    └── GuestCommandError   the agent refused a request (no such file, no such process)
"""

from __future__ import annotations

CONSOLE_TAIL_LINES = 40


class LabError(Exception):
    """Root of the tree."""


class ArchiveError(LabError):
    """A Debian package could not be resolved, downloaded, verified or unpacked."""


class GuestError(LabError):
    """Something about one guest; `boot_log` is all its console said so far."""

    def __init__(self, message: str, boot_log: str = "") -> None:
        super().__init__(message)
        self.boot_log = boot_log


class GuestDiedError(GuestError):
    """The guest is gone. The message ends with the last lines of its console."""

    def __init__(self, message: str, boot_log: str) -> None:
        tail = "\n".join(boot_log.splitlines()[-CONSOLE_TAIL_LINES:])
        super().__init__(f"{message}; the console's last lines:\n{tail}", boot_log)


class GuestTimeoutError(GuestError):
    """Not done in time; `stdout` and `stderr` hold what was written until then."""

    def __init__(self, message: str, stdout: str = "", stderr: str = "") -> None:
        super().__init__(message)
        self.stdout = stdout
        self.stderr = stderr


class GuestCommandError(GuestError):
    """The agent answered with an error."""
