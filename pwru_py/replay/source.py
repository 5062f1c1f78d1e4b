# SPDX-License-Identifier: Apache-2.0
"""A saved trace to lines, and a line to its object."""

from __future__ import annotations

import gzip
import io
import json
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from ..errors import InputError, reason
from ..escape import quote
from ..record.saved_values import Record, SavedError

_CHUNK_BYTES = 1 << 16
_LINE_MAX = 1 << 22
_GZIP = b"\x1f\x8b"
_STDIN = 0


class Source(Protocol):
    """A file that is read, unpacked already."""

    def read1(self, size: int, /) -> bytes: ...

    def fileno(self) -> int: ...


class Line(NamedTuple):
    """``number``: from 1 up."""

    number: int
    text: bytes


@contextmanager
def opened(name: str) -> Iterator[Source]:
    """The file, unpacked if gzip has packed it; ``-``: standard input. Raises InputError."""
    try:
        file = io.BufferedReader(io.FileIO(_STDIN if name == "-" else name, closefd=name != "-"))
        packed = file.peek(len(_GZIP))[: len(_GZIP)] == _GZIP
    except OSError as error:
        raise InputError(f"cannot read {quote(name)}: {reason(error)}") from None
    with file:
        yield gzip.GzipFile(fileobj=file) if packed else file


def chunks(file: Source, name: str) -> Iterator[list[Line]]:
    """The lines as they come, many at a time. Raises InputError at one without an end."""
    number, rest = 0, b""
    while chunk := _read(file, name):
        *lines, rest = (rest + chunk).split(b"\n")
        if len(rest) > _LINE_MAX:
            raise InputError(f"cannot read {quote(name)}: line {number + 1} is too long")
        yield [Line(number + 1 + at, line) for at, line in enumerate(lines)]
        number += len(lines)
    if rest:
        raise InputError(f"{quote(name)} ends in the midst of line {number + 1}")


def _read(file: Source, name: str) -> bytes:
    """What is there; b"" at the end."""
    try:
        return file.read1(_CHUNK_BYTES)
    except (OSError, EOFError, zlib.error) as error:
        why = getattr(error, "strerror", None) or str(error)
        raise InputError(f"cannot read {quote(name)}: {why.lower()}") from None


def parsed(line: bytes) -> Record:
    """Raises SavedError for what is no object of a type."""
    try:
        record = json.loads(line)
    except (ValueError, RecursionError):
        record = None
    if not isinstance(record, dict) or not isinstance(record.get("type"), str):
        raise SavedError("it is none that `output_json` writes")
    return record
