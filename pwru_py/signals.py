# SPDX-License-Identifier: Apache-2.0
"""Signals to a session: what ends it in order, what ends it at once, what asks where it is."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from .errors import PwruError
from .output.summary import standing

if TYPE_CHECKING:
    from .command import Command
    from .session import Tracer

_STOPPING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class Signals:
    """SIGINT, SIGTERM and SIGHUP: the first ends the session in order, the second leaves at once.

    But a second SIGHUP does nothing: a terminal that closes may send several. SIGQUIT prints a
    line on where the session is, and the session goes on. While a command runs, all but that go to
    it: the session ends when it ends.
    """

    def __init__(self, tracer: Tracer, command: Command | None = None) -> None:
        self._tracer = tracer
        self._command = command
        self._before: dict[signal.Signals, Any] = {}
        self.received = False

    def __enter__(self) -> Signals:
        for number in _STOPPING:
            if number != signal.SIGHUP or signal.getsignal(number) is not signal.SIG_IGN:
                self._take(number, self._stop)
        self._take(signal.SIGQUIT, self._say_standing)
        return self

    def _take(self, number: signal.Signals, handler: Callable[[int, object], None]) -> None:
        self._before[number] = signal.signal(number, handler)

    def __exit__(self, *_: object) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    def _stop(self, number: int, frame: object) -> None:
        if self._command is not None and self._command.running:
            self._command.pass_on(number)
            return
        if self.received and number != signal.SIGHUP:
            os._exit(0)
        self.received = True
        self._tracer.stop()

    def _say_standing(self, number: int, frame: object) -> None:
        try:
            _begun, total = self._tracer.progress
            line = standing(self._tracer.summary, total)
        except PwruError:
            line = "starting, nothing is attached yet"
        try:
            # Not by sys.stderr: this may be in the midst of a write to it.
            os.write(2, f"pwru-py: {line}\n".encode())
        except OSError:
            pass
