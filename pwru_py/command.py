# SPDX-License-Identifier: Apache-2.0
"""``--exec``: a command in a control group of its own, which tells what its sockets send."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from types import TracebackType

from .errors import CommandError
from .escape import quote
from .kernel.cgroup import own_group

_SETTLE_S, _GIVEN_S = 0.2, 5.0
_LOOK_S = 0.05
# The shell joins the group, and becomes the command.
_JOIN = 'echo 0 > "$0/cgroup.procs" && exec "$@"'


class Command:
    """A command to be run while its packets are traced.

    ``own_stdout``: its standard output is ours; else it goes where our errors go, so that a trace
    on standard output stays one. ``group``: the directory of its control group, once entered.
    Entering raises CommandError when there is no such command, or what ``own_group`` raises;
    leaving ends a command that still runs: SIGTERM, after five seconds SIGKILL.
    """

    def __init__(self, words: Sequence[str], *, own_stdout: bool) -> None:
        self._words = [*words]
        self._own_stdout = own_stdout
        self._process: subprocess.Popen[bytes] | None = None
        self._interrupts = 0
        self._stack = ExitStack()
        self.group = ""

    def __enter__(self) -> Command:
        if shutil.which(self._words[0]) is None:
            raise CommandError(
                f"no command {quote(self._words[0])}: not in PATH, or not executable"
            )
        self.group = self._stack.enter_context(own_group())
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._process is not None and self.running:
            self._process.terminate()
            try:
                self._process.wait(_GIVEN_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        self._stack.close()

    def start(
        self, settled: Callable[[], bool], linger_s: float, ended: Callable[[], None]
    ) -> None:
        """Runs it. ``ended`` is called, by another thread, when it has ended and nothing more is
        awaited of its packets (``settled``), or ``linger_s`` seconds later.
        """
        self._process = process = subprocess.Popen(
            ["/bin/sh", "-c", _JOIN, self.group, *self._words],
            stdout=None if self._own_stdout else 2,
        )

        def watch() -> None:
            process.wait()
            late_s = time.monotonic() + linger_s
            time.sleep(_SETTLE_S)
            while not settled() and time.monotonic() < late_s:
                time.sleep(_LOOK_S)
            ended()

        threading.Thread(target=watch, daemon=True).start()

    @property
    def running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._process is not None and self._process.poll() is None

    def pass_on(self, number: int) -> None:
        """A signal that came to us. Ctrl-C the terminal has sent to the command, too, already."""
        assert self._process is not None
        self._interrupts += number == signal.SIGINT
        if number == signal.SIGINT and self._interrupts == 1 and _in_foreground():
            return
        self._process.send_signal(number)

    def wait(self) -> int:
        """Waits for its end. The exit status as shells have it: 128 + the signal that ended it."""
        if self._process is None:
            return 0
        status = self._process.wait()
        return status if status >= 0 else 128 - status


def _in_foreground() -> bool:
    """Whether we belong to those to whom a terminal sends its signals."""
    try:
        fd = os.open("/dev/tty", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) == os.getpgrp()
    except OSError:
        return False
    finally:
        os.close(fd)
