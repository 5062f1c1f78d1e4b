# SPDX-License-Identifier: Apache-2.0
"""A tracer as a process: started, awaited, measured, stopped."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import signal
import struct
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

IN_CREATE = 0x100
_EVENT = struct.Struct("iIII")  # struct inotify_event
_READY_DIRECTORY = "/tmp/bench-ready"


class NotListeningError(Exception):
    """The tool ended, or took too long, before it listened; carries what it said."""


class Tracer:
    """A running tool. Times are seconds of this machine's monotonic clock."""

    def __init__(
        self,
        tool: Mapping[str, Any],
        arguments: Sequence[str],
        output: str,
        timeout_s: float = 300.0,
    ) -> None:
        ready = f"{_READY_DIRECTORY}/{time.monotonic_ns()}"
        self.errors = Path(f"{output}.stderr" if output != os.devnull else "/tmp/bench.stderr")
        argv = [*tool["argv"], "--ready-file", ready, *arguments]
        with _Watch(_READY_DIRECTORY) as watch, open(output, "wb") as out:
            with self.errors.open("wb") as err:
                begin = time.monotonic()
                self.process = subprocess.Popen(
                    argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err,
                    env={**os.environ, **tool["env"]},
                )  # fmt: skip
            self.pid = self.process.pid
            self._await(watch, ready, timeout_s)
            self.start_s = time.monotonic() - begin
        self.start_cpu_s = self.cpu_s()

    def _await(self, watch: _Watch, ready: str, timeout_s: float) -> None:
        end = time.monotonic() + timeout_s
        while not os.path.exists(ready):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                self.process.wait()
                raise NotListeningError(self.errors.read_text(errors="replace")[-2000:])
            watch.wait(1.0)

    def cpu_s(self) -> float:
        """User and system time of all its threads, those that ended too: its own clock."""
        return time.clock_gettime(~self.pid << 3 | 2)

    def peak_kb(self) -> int:
        found = re.search(r"VmHWM:\s*(\d+)", Path(f"/proc/{self.pid}/status").read_text())
        return int(found[1]) if found else 0

    def stop(self, timeout_s: float = 300.0) -> float:
        """SIGTERM; seconds until it has ended."""
        begin = time.monotonic()
        self.process.send_signal(signal.SIGTERM)
        self.process.wait(timeout_s)
        return time.monotonic() - begin


@contextlib.contextmanager
def tracing(
    tool: Mapping[str, Any], arguments: Sequence[str], output: str = os.devnull
) -> Iterator[Tracer]:
    """Listens inside the block; has ended behind it."""
    tracer = Tracer(tool, arguments, output)
    try:
        yield tracer
    finally:
        if tracer.process.poll() is None:
            tracer.stop()


class _Watch:
    """Sleeps until something is created in a directory: polling would take the guest's CPU."""

    def __init__(self, directory: str) -> None:
        os.makedirs(directory, exist_ok=True)
        self._libc = ctypes.CDLL(None, use_errno=True)
        self._fd = self._libc.inotify_init1(os.O_CLOEXEC | os.O_NONBLOCK)
        self._libc.inotify_add_watch(self._fd, directory.encode(), IN_CREATE)

    def wait(self, timeout_s: float) -> None:
        import select

        if select.select([self._fd], [], [], timeout_s)[0]:
            os.read(self._fd, 65536)

    def __enter__(self) -> _Watch:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)
