# SPDX-License-Identifier: Apache-2.0
"""The host's end of the line to the agent: requests out, answers in, every wait with an end."""

from __future__ import annotations

import itertools
import marshal
import select
import socket
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tests.vm.agent import LENGTH_BYTES, message_end

Message = dict[str, Any]
LOOK_AROUND_S = 0.5


class ChannelClosedError(Exception):
    """The other end is gone."""


class ChannelTimeoutError(Exception):
    """No answer in time."""


class Channel:
    """The agent's messages (see agent.py) over a unix socket on which QEMU calls in.

    `check_alive` is called about twice a second while waiting; it may raise to end the wait.
    Threads may share a channel: whoever waits also takes in the answers for the others.
    """

    def __init__(self, path: Path, check_alive: Callable[[], None]) -> None:
        self._check_alive = check_alive
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._connection: socket.socket | None = None
        self._ids = itertools.count(1)
        self._received = bytearray()
        self._answers: dict[int, Message] = {}
        self._awaited: set[int] = {0}  # 0: the agent's greeting
        self._sending = threading.Lock()
        self._receiving = threading.Lock()

    def accept(self, timeout_s: float) -> Message:
        """Wait for QEMU to call and for the agent's greeting; returns the greeting."""
        deadline_s = time.monotonic() + timeout_s
        while not self._readable(self._listener, deadline_s):
            self._check_alive()
        self._connection, _ = self._listener.accept()
        return self._await(0, deadline_s)

    def request(self, operation: str, patience_s: float, /, **arguments: object) -> Message:
        """Send one request and wait for its answer."""
        deadline_s = time.monotonic() + patience_s
        assert self._connection is not None
        with self._sending:
            request_id = next(self._ids)
            self._awaited.add(request_id)
            message = {"id": request_id, "op": operation, **arguments}
            try:
                self._connection.settimeout(patience_s)
                content = marshal.dumps(message)
                length = len(content).to_bytes(LENGTH_BYTES, "big")
                self._connection.sendall(length + content)
            except TimeoutError as error:
                raise ChannelTimeoutError from error
            except OSError as error:
                raise ChannelClosedError from error
        return self._await(request_id, deadline_s)

    def close(self) -> None:
        self._listener.close()
        if self._connection is not None:
            self._connection.close()

    def _await(self, request_id: int, deadline_s: float) -> Message:
        try:
            while True:
                with self._receiving:
                    if request_id in self._answers:
                        return self._answers.pop(request_id)
                    self._take_in(deadline_s)
                self._check_alive()
        finally:
            self._awaited.discard(request_id)

    def _take_in(self, deadline_s: float) -> None:
        assert self._connection is not None
        if not self._readable(self._connection, deadline_s):
            return
        try:
            chunk = self._connection.recv(1 << 20)
        except ConnectionError as error:
            raise ChannelClosedError from error
        if not chunk:
            raise ChannelClosedError
        self._received += chunk
        while (end := message_end(self._received)) is not None:
            answer = marshal.loads(self._received[LENGTH_BYTES:end])
            del self._received[:end]
            if answer["id"] in self._awaited:
                self._answers[answer["id"]] = answer

    @staticmethod
    def _readable(waited_on: socket.socket, deadline_s: float) -> bool:
        left_s = deadline_s - time.monotonic()
        if left_s <= 0:
            raise ChannelTimeoutError
        return bool(select.select([waited_on], [], [], min(left_s, LOOK_AROUND_S))[0])
