# SPDX-License-Identifier: Apache-2.0
"""A file of the command's own in pieces: when it is full or old it is renamed, and begun anew.

Names are those of lumberjack, which pwru writes with: ``trace.jsonl`` is the file that grows,
``trace-2026-11-27T20-15-00.123.jsonl`` (UTC) a **backup**, the name that it had until then, and
behind it ``.gz`` once it is compressed.
"""

from __future__ import annotations

import os
import re
import stat
import time
from calendar import timegm
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from .errors import OutputError, reason
from .streams import WholeLines, new_file

if TYPE_CHECKING:
    from queue import SimpleQueue
    from threading import Thread

    from _typeshed import ReadableBuffer

_STAMP = re.compile(r"(\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d)\.(\d{3})")
_SECONDS = "%Y-%m-%dT%H-%M-%S"
_COMPRESSED, _PART = ".gz", ".gz.part"
_COPY_BYTES = 1 << 18


@dataclass(frozen=True, slots=True)
class Limits:
    """When a file is renamed, and which backups stay.

    ``max_bytes``: of one file. ``max_age_s``: a file that is older is renamed, a backup that was
    renamed longer ago is removed; ``max_backups``: so many stay; 0: no limit. ``compress``: gzip.
    """

    max_bytes: int
    max_age_s: float = 0
    max_backups: int = 0
    compress: bool = False


class Backups:
    """The backups of one file. ``tell`` is given what could not be done, in one line.

    Old ones go, and others are compressed, in a thread: tracing does not wait for it. Each is whole
    under one of its two names at any time.
    """

    def __init__(
        self, name: str, limits: Limits, tell: Callable[[str], object], clock: Callable[[], float]
    ) -> None:
        self._folder = os.path.dirname(name) or "."
        stem, self._suffix = os.path.splitext(os.path.basename(name))
        self._prefix = f"{stem}-"
        self._limits, self._tell, self._clock = limits, tell, clock
        self._told: set[str] = set()
        self._wanted: SimpleQueue[bool] | None = None
        self._thread: Thread | None = None

    def free_name(self) -> str:
        """One that no backup has, of now or a few milliseconds later."""
        ms = int(self._clock() * 1000)
        while True:
            second, rest = divmod(ms, 1000)
            stamp = f"{time.strftime(_SECONDS, time.gmtime(second))}.{rest:03d}"
            path = os.path.join(self._folder, f"{self._prefix}{stamp}{self._suffix}")
            if not (os.path.lexists(path) or os.path.lexists(path + _COMPRESSED)):
                return path
            ms += 1

    def tidy_soon(self) -> None:
        """Without waiting for it."""
        if self._wanted is None:
            from queue import SimpleQueue
            from threading import Thread

            self._wanted = SimpleQueue()
            # A daemon: who leaves at once does not wait for it.
            self._thread = Thread(target=self._work, args=(self._wanted,), daemon=True)
            self._thread.start()
        self._wanted.put(True)

    def close(self) -> None:
        """Waits until all is tidy."""
        if self._wanted is not None and self._thread is not None:
            self._wanted.put(False)
            self._thread.join()

    def _work(self, wanted: SimpleQueue[bool]) -> None:
        while wanted.get():
            self.tidy()

    def tidy(self) -> None:
        """Removes those that are too old or too many, and compresses the others."""
        limits = self._limits
        oldest_ms = (self._clock() - limits.max_age_s) * 1000 if limits.max_age_s else -1
        try:
            found, parts = self._found(), self._found(_PART)
        except OSError as error:
            self._tell(f"cannot list {self._folder}: {reason(error)}; earlier files stay")
            return
        for path, _ in parts:  # of a session that was killed
            self._try("remove", path, os.unlink)
        for number, (path, ms) in enumerate(found):
            if 0 < limits.max_backups <= number or ms < oldest_ms:
                self._try("remove", path, os.unlink)
            elif limits.compress and not path.endswith(_COMPRESSED):
                self._try("compress", path, _compress)

    def _found(self, ending: str = "") -> list[tuple[str, int]]:
        """(path, when it was renamed in ms since the epoch), the newest first."""
        with os.scandir(self._folder) as entries:
            names = [entry.name for entry in entries if entry.is_file(follow_symlinks=False)]
        found = [
            (os.path.join(self._folder, name), self._renamed_ms(name.removesuffix(ending)))
            for name in names
            if name.endswith(ending)
        ]
        backups = [backup for backup in found if backup[1] >= 0]
        return sorted(backups, key=lambda backup: (-backup[1], backup[0]))

    def _renamed_ms(self, name: str) -> int:
        """What a backup's name says, -1 for another file."""
        name = name.removesuffix(_COMPRESSED)
        if not (name.startswith(self._prefix) and name.endswith(self._suffix)):
            return -1
        stamp = _STAMP.fullmatch(name[len(self._prefix) : len(name) - len(self._suffix)])
        try:
            return timegm(time.strptime(stamp[1], _SECONDS)) * 1000 + int(stamp[2]) if stamp else -1
        except ValueError:  # the 31st of June
            return -1

    def _try(self, what: str, path: str, act: Callable[[str], object]) -> None:
        try:
            act(path)
        except FileNotFoundError:
            pass  # somebody else has
        except OSError as error:
            trouble = f"cannot {what} {path}: {reason(error)}; it stays, and tracing goes on"
            if trouble not in self._told:
                self._told.add(trouble)
                self._tell(trouble)


def _compress(path: str) -> None:
    """``path`` becomes ``path.gz``; at any failure it stays as it is. Raises OSError."""
    import gzip
    from shutil import copyfileobj

    part = path + _PART
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    with open(os.open(path, flags), "rb") as source:
        try:
            with open(new_file(part), "wb") as target:
                with gzip.GzipFile("", "wb", 6, target) as packed:
                    copyfileobj(source, packed, _COPY_BYTES)
                target.flush()
                os.fsync(target.fileno())
            os.rename(part, path + _COMPRESSED)
        except OSError:
            with suppress(OSError):
                os.unlink(part)
            raise
    os.unlink(path)


class Rotated(WholeLines):
    """The file that grows. It holds whole lines alone, so that it may be renamed after each.

    A line that is longer than ``max_bytes`` has a file for itself.
    """

    def __init__(
        self,
        fd: int,
        name: str,
        limits: Limits,
        tell: Callable[[str], object],
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        super().__init__(fd)
        self._name, self._limits, self._clock = name, limits, clock
        self._backups = Backups(name, limits, tell, clock)
        self._line = b""  # the beginning of one whose end has not come yet
        self._bytes = 0
        self._born = clock()

    def empty(self) -> None:
        """An earlier trace becomes a backup."""
        if os.fstat(self.fileno()).st_size:
            self._rotate()
        self._backups.tidy_soon()

    def write(self, chunk: ReadableBuffer, /) -> int:
        size = len(memoryview(chunk))
        if self._failed:
            return size
        text = self._line + bytes(memoryview(chunk))
        end = text.rfind(b"\n") + 1
        lines, self._line = text[:end], text[end:]
        if lines and self._is_old():
            self._rotate()
        while lines:
            fitting = self._fitting(lines)
            self._put(fitting)
            lines = lines[len(fitting) :]
            if lines:
                self._rotate()
        return size

    def close(self) -> None:
        if self.closed:
            return
        try:
            if not self._failed:
                self._put(self._line)
        finally:
            super().close()
            self._backups.close()

    def _is_old(self) -> bool:
        age_s = self._limits.max_age_s
        return bool(self._bytes and age_s and self._clock() - self._born >= age_s)

    def _fitting(self, lines: bytes) -> bytes:
        """Whole lines from the beginning that find room in this file."""
        room = self._limits.max_bytes - self._bytes
        if len(lines) <= room:
            return lines
        end = lines.rfind(b"\n", 0, max(room, 0)) + 1
        return lines[: end or (0 if self._bytes else lines.find(b"\n") + 1)]

    def _put(self, lines: bytes) -> None:
        rest = memoryview(lines)
        while rest:
            written = super().write(rest)
            self._bytes += written
            rest = rest[written:]

    def _rotate(self) -> None:
        try:
            self._rename()
            fd = new_file(self._name)
        except (OSError, OutputError):
            self._failed = True  # what buffers still hold must not follow
            raise
        os.dup2(fd, self.fileno(), inheritable=False)
        os.close(fd)
        self._whole = self._bytes = 0
        self._born = self._clock()
        self._backups.tidy_soon()

    def _rename(self) -> None:
        """The file to a backup, unless it is no longer there."""
        ours = os.fstat(self.fileno())
        try:
            there = os.lstat(self._name)
        except FileNotFoundError:
            return
        if not os.path.samestat(ours, there):
            raise OutputError(
                f"cannot rotate {self._name}: another file has taken its place; "
                "what was written is in the file that was moved"
            )
        os.rename(self._name, self._backups.free_name())


def rotated(
    name: str, limits: Limits, tell: Callable[[str], object]
) -> Callable[[int], WholeLines]:
    """What ``streams.output`` writes ``name`` with. Raises OutputError for what is no file."""

    def begin(fd: int) -> WholeLines:
        ours = os.fstat(fd)
        if not (stat.S_ISREG(ours.st_mode) and os.path.samestat(ours, os.lstat(name))):
            os.close(fd)
            raise OutputError(
                f"cannot rotate {name}: it is no regular file with a name of its own: leave "
                "`output_file_max_bytes` and its like out"
            )
        return Rotated(fd, name, limits, tell)

    return begin
