# SPDX-License-Identifier: Apache-2.0
"""Sends UDP to oneself from a task that others preempt: ``preempt SECONDS``; prints how many."""

from __future__ import annotations

import os
import socket
import sys
import time

PORT = 4445


def send(until_s: float, pause_s: float) -> int:
    """Datagrams sent until then, each after a pause."""
    sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sent = 0
    while time.monotonic() < until_s:
        sender.sendto(b"x", ("127.0.0.1", PORT))
        sent += 1
        if pause_s:
            time.sleep(pause_s)
    return sent


def main() -> None:
    until_s = time.monotonic() + float(sys.argv[1])
    receiver = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    receiver.bind(("127.0.0.1", PORT))
    reader, writer = os.pipe()
    if os.fork() == 0:
        os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(50))
        os.write(writer, b"%d" % send(until_s, 0.0005))
        os._exit(0)
    sent = send(until_s, 0)
    os.wait()
    print(sent + int(os.read(reader, 32)))


if __name__ == "__main__":
    main()
