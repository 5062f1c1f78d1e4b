# SPDX-License-Identifier: Apache-2.0
"""Every error that pwru-py raises on purpose.

::

    PwruError                      one line: what, why, what to do
    ├── UsageError                 the command line or the Config asks for something impossible
    │   ├── FilterError            the pcap expression: syntax, unsupported, too large
    │   ├── ExpressionError        a field expression: syntax, no such member, types
    │   └── NotFoundError          an interface, namespace, module or function that is not there
    ├── PrivilegeError             missing capabilities, kernel lockdown
    ├── FeatureUnsupportedError    this kernel or system lacks something
    ├── LoadError                  libbpf or the verifier refused the program
    ├── AttachError                nothing could be attached
    ├── CommandError               the command to be traced cannot be run
    ├── InputError                 a saved trace cannot be read
    └── OutputError                a file or stream cannot be written

Only ``cli`` prints errors and decides on the exit status.
"""

from __future__ import annotations

from .escape import printable


def reason(error: OSError) -> str:
    """The system's words for it, as part of a line."""
    return (error.strerror or str(error)).lower()


class PwruError(Exception):
    """Base of all errors; ``str()`` is one lower-case line fit for a terminal."""

    exit_status = 1

    def __init__(self, message: str) -> None:
        super().__init__(printable(message))


class UsageError(PwruError):
    """The request itself is wrong: exit status 2, as every usage error."""

    exit_status = 2


class FilterError(UsageError):
    """The pcap expression cannot be used; libpcap's own words where it has any."""


class ExpressionError(UsageError):
    """A field expression cannot be used. ``text``: all of it; ``column``: where, from 1 up."""

    def __init__(self, message: str, text: str, column: int) -> None:
        super().__init__(message)
        self.text = text
        self.column = column


class NotFoundError(UsageError):
    """A named interface, namespace, module or function does not exist.

    It is a run error for the exit status: the same command line may work on the next machine.
    """

    exit_status = 1


class PrivilegeError(PwruError):
    """The process may not trace: capabilities are missing or the kernel is locked down."""

    def __init__(self, message: str, missing: tuple[str, ...] = ()) -> None:
        super().__init__(message)
        self.missing = missing


class FeatureUnsupportedError(PwruError):
    """This kernel or this system lacks a feature.

    ``feature`` names it, ``since`` the first kernel or library version that has it.
    """

    def __init__(self, message: str, *, feature: str, since: str = "") -> None:
        super().__init__(message)
        self.feature = feature
        self.since = since


class LoadError(PwruError):
    """libbpf or the kernel refused the program; ``log`` keeps their words whole."""

    def __init__(self, message: str, log: str = "", errno: int = 0) -> None:
        super().__init__(message)
        self.log = log
        self.errno = errno


class AttachError(PwruError):
    """A probe, or every probe, could not be attached. ``errno`` is the kernel's answer."""

    def __init__(self, message: str, errno: int = 0) -> None:
        super().__init__(message)
        self.errno = errno

    @classmethod
    def of(cls, error: OSError) -> AttachError:
        """The same answer."""
        return cls(reason(error), error.errno or 0)


class CommandError(PwruError):
    """The command whose packets are to be traced cannot be run: exit status 127, as env(1) has."""

    exit_status = 127


class InputError(PwruError):
    """A saved trace cannot be read, or is none."""


class OutputError(PwruError):
    """Output cannot be written (not writable, disk full)."""
