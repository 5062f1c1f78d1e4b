# SPDX-License-Identifier: Apache-2.0
"""Readings in any namespace, by a process of its own, which keeps the rights to go there.

The tracer's threads stay where they are, and reading its events never waits: questions go into a
pipe, answers come out of another one. A question and an answer are a line of JSON each.
"""

from __future__ import annotations

import json
import os
import select
import time
from typing import Any

from .helper import start_helper

READY = "ready"
_READY_S = 15.0
_UNSENT_BYTES = 1 << 20


class Reader:
    """``netns``: the inode of the one namespace that matters, 0: all. Raises OSError."""

    def __init__(self, netns: int = 0) -> None:
        self._process = start_helper("pwru_py.kernel.reader_process", str(netns))
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._ask, self._answer = self._process.stdin.fileno(), self._process.stdout.fileno()
        os.set_blocking(self._ask, False)
        os.set_blocking(self._answer, False)
        self._rest = self._unsent = b""
        self._found: list[dict[str, Any]] = []
        self._ready = False
        self._ended = False

    def wait_ready(self) -> bool:
        """Whether it has read the counters as they were before; waits for that."""
        until_s = time.monotonic() + _READY_S
        while not (self._ready or self._ended) and time.monotonic() < until_s:
            self._select(until_s)
            self._take()
        return self._ready

    def ask(self, question: dict[str, Any]) -> bool:
        """Whether the question goes out; never waits."""
        if self._ended or len(self._unsent) > _UNSENT_BYTES:
            return False
        self._unsent += json.dumps(question).encode() + b"\n"
        self._send()
        return not self._ended

    def _send(self) -> None:
        try:
            while self._unsent:
                self._unsent = self._unsent[os.write(self._ask, self._unsent) :]
        except BlockingIOError:  # the pipe is full: the rest follows
            pass
        except OSError:  # the process is gone
            self._ended = True

    def answers(self) -> list[dict[str, Any]]:
        """What has come; never waits."""
        self._send()
        self._take()
        found, self._found = self._found, []
        return found

    def wait(self, until_s: float) -> list[dict[str, Any]]:
        """What comes first; nothing when ``until_s``, of the monotonic clock, has passed."""
        while True:
            found = self.answers()
            if found or self._ended or time.monotonic() >= until_s:
                return found
            self._select(until_s)

    def _take(self) -> None:
        try:
            while part := os.read(self._answer, 1 << 16):
                self._rest += part
            self._ended = True
        except BlockingIOError:
            pass
        *lines, self._rest = self._rest.split(b"\n")
        for line in lines:
            if line == READY.encode():
                self._ready = True
            else:
                self._found.append(json.loads(line))

    @property
    def ended(self) -> bool:
        """No answer will come any more."""
        return self._ended

    def _select(self, until_s: float) -> None:
        select.select([self._answer], [], [], max(0.0, until_s - time.monotonic()))

    def close(self) -> None:
        """Ends the process; may be called again."""
        self._process.kill()
        self._process.communicate()
