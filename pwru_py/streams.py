# SPDX-License-Identifier: Apache-2.0
"""Where the command writes: standard streams that may be closed or full, files of its own."""

from __future__ import annotations

import errno
import io
import os
import re
import stat
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, TextIO

from .errors import OutputError, reason

if TYPE_CHECKING:
    from _typeshed import HasFileno, ReadableBuffer

_BUFFER_BYTES = 1 << 16
_NEW_FILE = 0o600  # kernel addresses are inside
_OWN = os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NOCTTY | os.O_CLOEXEC
_OPEN_ALREADY = re.compile("/(?:dev|proc/self)/fd/([0-9]{1,9})")
_STANDARD = {"/dev/stdin": 0, "/dev/stdout": 1, "/dev/stderr": 2}


def fill_standard_streams() -> None:
    """Puts /dev/null where a standard stream is closed: a file of ours would take its number."""
    for fd in (0, 1, 2):
        try:
            os.fstat(fd)
        except OSError:
            os.open(os.devnull, os.O_RDWR)  # the lowest number that is free
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a name in a script that the locale lacks
            stream.reconfigure(errors="backslashreplace")


class Notices(io.TextIOBase):
    """Standard error. The session goes on when nobody can read it, or when it is full."""

    def write(self, text: str) -> int:
        self._try(lambda stream: stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(lambda stream: stream.flush())

    def isatty(self) -> bool:
        return sys.stderr is not None and sys.stderr.isatty()

    def width(self) -> int:
        """Cells of the terminal; 0: it is none, or does not say."""
        if not self.isatty():
            return 0
        try:
            return os.get_terminal_size(sys.stderr.fileno()).columns
        except OSError:
            return 0

    def _try(self, act: Callable[[TextIO], object]) -> None:
        if sys.stderr is None:
            return
        try:
            act(sys.stderr)
            sys.stderr.flush()
        except OSError:
            discard(sys.stderr)


def discard(stream: TextIO | None) -> None:
    """Puts /dev/null in its place: what Python still holds for it must not fail again at exit."""
    if stream is None:
        return
    null = os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, stream.fileno())
    os.close(null)


def refused(error: OSError, name: str) -> OutputError:
    """The error for a stream that takes no more."""
    if error.errno == errno.ENOSPC:
        return OutputError(
            f"cannot write to {name}: the disk is full, the whole lines written before stay"
        )
    return OutputError(f"cannot write to {name}: {reason(error)}")


class WholeLines(io.FileIO):
    """A regular file that ends with a whole line, even when the disk was full in the midst of one.

    When a write fails, it cuts the file to the last whole line, and writes nothing more: what
    buffers still hold must not follow.
    """

    def __init__(self, fd: int, *, closefd: bool = True) -> None:
        super().__init__(fd, "w", closefd=closefd)
        self._whole: int | None = None  # known from the first write on: files may be appended to
        self._failed = False

    def write(self, chunk: ReadableBuffer, /) -> int:
        view = memoryview(chunk)
        if self._failed:
            return len(view)
        try:
            written = super().write(view) or 0
        except OSError:
            self._failed = True
            self._cut()
            raise
        lines = bytes(view[:written]).rfind(b"\n") + 1
        if lines or self._whole is None:
            self._whole = self.tell() - written + lines
        return written

    def empty(self) -> None:
        """Drops an earlier trace."""
        self.truncate(0)

    def _cut(self) -> None:
        try:
            if self._whole is not None and self.tell() > self._whole:
                os.ftruncate(self.fileno(), self._whole)
                os.lseek(self.fileno(), self._whole, os.SEEK_SET)
        except OSError:
            pass


def _raw(fd: int, *, closefd: bool = True) -> io.FileIO:
    regular = stat.S_ISREG(os.fstat(fd).st_mode)
    return WholeLines(fd, closefd=closefd) if regular else io.FileIO(fd, "w", closefd=closefd)


def _text_stream(raw: io.FileIO, encoding: str) -> TextIO:
    buffered = io.BufferedWriter(raw, _BUFFER_BYTES)
    return io.TextIOWrapper(buffered, encoding=encoding, errors="backslashreplace")


@contextmanager
def output(name: str, raw: Callable[[int], io.FileIO] = _raw) -> Iterator[TextIO]:
    """Where events go: a file, for '' standard output. Errors are told with its name.

    ``raw``: what writes to the file, made with its descriptor, which it closes.
    """
    if name:
        shown, stream = name, _open(name, raw)
    elif isinstance(sys.stdout, io.TextIOWrapper) and _is_regular(sys.stdout):
        shown, encoding = "standard output", sys.stdout.encoding
        stream = _text_stream(_raw(sys.stdout.fileno(), closefd=False), encoding)
    elif sys.stdout is not None:
        yield sys.stdout
        return
    else:
        raise OutputError("standard output is closed: give `output_file`")
    try:
        yield stream
        stream.close()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise refused(error, shown) from error
    finally:
        try:
            stream.close()
        except OSError:
            pass


def _is_regular(stream: TextIO) -> bool:
    return stat.S_ISREG(os.fstat(stream.fileno()).st_mode)


def _open(name: str, raw: Callable[[int], io.FileIO]) -> TextIO:
    try:
        return _text_stream(raw(_open_file(name)), "utf-8")
    except OSError as error:
        raise OutputError(
            f"cannot write to {name}: {_why(error, name)}: choose another `output_file`"
        ) from None


def _open_file(name: str) -> int:
    """A descriptor of ``name``, which is made for its owner alone, and is not emptied yet.

    A start that fails must not cost an earlier trace. Links are not followed: in a directory that
    others may write, one leads where they like.
    """
    fd = _number_of(name)
    if fd is not None:
        return os.dup(fd)
    return os.open(name, _OWN, _NEW_FILE)


def new_file(name: str) -> int:
    """A descriptor of a file that was not there before, for its owner alone. Raises OSError."""
    return os.open(name, _OWN | os.O_EXCL, _NEW_FILE)


def _number_of(name: str) -> int | None:
    """A descriptor of a file that is open already, and has a name that leads to it."""
    match = _OPEN_ALREADY.fullmatch(name)
    return int(match[1]) if match else _STANDARD.get(name)


def empty(stream: TextIO, name: str) -> None:
    """Takes an earlier trace out of a file, but not from one that somebody else has opened."""
    raw = getattr(getattr(stream, "buffer", None), "raw", None)
    if name and _number_of(name) is None and isinstance(raw, WholeLines):
        raw.empty()


def refuse_same(source: HasFileno, stream: TextIO) -> None:
    """Raises OutputError where a file would be written over while it is read."""
    try:
        same = os.path.samestat(os.fstat(source.fileno()), os.fstat(stream.fileno()))
    except OSError:  # no file at all
        return
    if same and _is_regular(stream):
        raise OutputError("the trace that is read would be written over: choose another file")


def _why(error: OSError, name: str) -> str:
    if error.errno == errno.ELOOP and os.path.islink(name):
        return f"it is a symbolic link to {os.path.realpath(name)}, and links are not followed"
    return reason(error)


def make_ready_file(name: str) -> None:
    """Creates ``name``, for whoever waits for it. Raises OutputError."""
    try:
        os.close(os.open(name, _OWN | os.O_NONBLOCK, _NEW_FILE))
    except OSError as error:
        raise OutputError(f"cannot create ready file {name}: {_why(error, name)}") from None
