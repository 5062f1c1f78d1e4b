# SPDX-License-Identifier: Apache-2.0
"""Whether anything is recorded after a pause, while packets go on: ``pause ROUNDS``.

Prints in how many rounds records came after the pause, and how many bytes of records came before.
With a pause that did not wait for running programs, 10 of 300 rounds had some on 7.3, one CPU.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
import time

from pwru_py.options.config import Config
from pwru_py.programs.attached import Attached
from pwru_py.programs.prepare import prepare
from tests.kernel.inside.watch import attach_now

PORT = 4446
# A long filter: the programs run for long, and are often preempted where they may be.
MISSES = " or ".join(f"host 10.{n >> 8}.{n & 255}.1" for n in range(200))
FILTER = f"udp and not ({MISSES})"
FUNCTIONS = "ip_send_skb|ip_output|ip_rcv|udp_rcv"


def flood() -> int:
    """A child that sends to itself until it is killed."""
    child = os.fork()
    if child:
        return child
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.bind(("127.0.0.1", PORT))
    while True:
        sock.sendto(b"x", ("127.0.0.1", PORT))


def drain(attached: Attached) -> int:
    """Bytes of the records that are there."""
    total = 0
    while attached.reader.wait(0):
        taken = sum(map(len, attached.reader.read()))
        if not taken:  # one that is still being written
            return total + 1
        total += taken
    return total


def rounds(attached: Attached, count: int) -> tuple[int, int]:
    """Rounds with a record behind the pause; bytes before."""
    late = before = 0
    for n in range(count):
        attached._loaded.switch.update(bytes(4), bytes(4))
        time.sleep(0.001 + n % 7 * 0.0003)
        attached.pause()
        before += drain(attached)
        time.sleep(0.005)
        late += drain(attached) > 0
    return late, before


def main() -> None:
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(60))  # comes between the programs
    config = Config(filter=FILTER, filter_func=FUNCTIONS, buffer_bytes=1 << 20)
    attached = attach_now(prepare(config))
    child = flood()
    os.sched_setscheduler(child, os.SCHED_OTHER, os.sched_param(0))
    try:
        print(*rounds(attached, int(sys.argv[1])))
    finally:
        os.kill(child, signal.SIGKILL)
        attached.close()


if __name__ == "__main__":
    main()
