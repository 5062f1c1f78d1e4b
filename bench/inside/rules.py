# SPDX-License-Identifier: Apache-2.0
"""Packets that pass rules, and packets that a rule drops, under a tool; inside the guest."""

from __future__ import annotations

import contextlib
import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from bench.inside.drops import Tool, in_turns
from bench.inside.traffic import OTHER_PORT, TARGET, Batch, Flow, inside, make_network

_PREPARE = "modprobe -a nf_tables iptable_filter"
Send = Callable[[int], int]


def dropped() -> Batch:
    """Packets to a port that a rule is about."""
    with inside("a"):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sender.connect((TARGET, OTHER_PORT))
    return Batch(sender, bytes(32))


@contextlib.contextmanager
def undisturbed() -> Iterator[None]:
    """This thread goes before every other one, so before the tool's own process."""
    os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
    try:
        yield
    finally:
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))


def spent_ns(send: Send, packets: int) -> float:
    """By packet: what the system call takes, and soft interrupts in it."""
    with undisturbed():
        begin, left = time.monotonic_ns(), packets
        while left > 0:
            left -= send(min(32, left))
        return (time.monotonic_ns() - begin) / packets


def measure(tool: Mapping[str, Any], ways: Mapping[str, Send], packets: int) -> dict[str, float]:
    """By way, without the tool and with it."""
    found = {f"{name}_bare": spent_ns(send, packets) for name, send in ways.items()}
    running = Tool(tool)
    try:
        for send in ways.values():
            send(1)
        time.sleep(3)
        found |= {f"{name}_traced": spent_ns(send, packets) for name, send in ways.items()}
    finally:
        running.stop()
    return found


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    subprocess.run(["bash", "-ec", _PREPARE], check=True)
    ways = {"passes": Flow("udp").send, "drops": dropped().send}
    found = {}
    for rules in plan["sets"]:
        subprocess.run(["bash", "-ec", rules["on"]], check=True)
        found[rules["name"]] = in_turns(plan, lambda tool: measure(tool, ways, plan["packets"]))
        subprocess.run(["bash", "-ec", rules["off"]], check=True)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
