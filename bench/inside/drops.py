# SPDX-License-Identifier: Apache-2.0
"""A flood of drops under tools that tell of drops; inside the guest."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from bench.inside import bpfstat
from bench.inside.traffic import Batch, Flow, inside, make_network

# A host that b is not: b does not forward, drops the packet and answers nothing.
NOWHERE = "10.2.0.77"
_PREPARE = f"""
modprobe drop_monitor
ip -n a neigh replace {NOWHERE} lladdr $(ip netns exec b cat /sys/class/net/eth0/address) dev eth0
"""
_CHUNK = 256
_OUTPUT = Path("/tmp/drops-output")


class Tool:
    """A tool at work, its output in a file that nobody reads meanwhile.

    ``words``: what it prints on either stream once it counts, or the path of a file that it makes.
    """

    def __init__(self, tool: Mapping[str, Any]) -> None:
        words = tool["words"]
        shown = _OUTPUT
        if words.startswith("/"):
            shown, words = Path(words), ""
        shown.unlink(missing_ok=True)
        begin = time.monotonic()
        with _OUTPUT.open("wb") as output:
            self.process = subprocess.Popen(
                tool["argv"], stdin=subprocess.PIPE, stdout=output, stderr=subprocess.STDOUT,
                env={**os.environ, **tool["env"]},
            )  # fmt: skip
        assert self.process.stdin is not None
        if tool["says"]:
            self.process.stdin.write(tool["says"].encode())
            self.process.stdin.flush()
        while not (shown.exists() and words in shown.read_text(errors="replace")):
            if self.process.poll() is not None or time.monotonic() > begin + 240:
                raise RuntimeError(_OUTPUT.read_text(errors="replace")[-2000:])
            time.sleep(0.002)
        self.start_s = time.monotonic() - begin

    def cpu_s(self) -> float:
        return time.clock_gettime(~self.process.pid << 3 | 2)

    def peak_kb(self) -> int:
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        found = re.search(r"VmHWM:\s*(\d+)", status)
        return int(found[1]) if found else 0

    def stop(self) -> None:
        self.process.send_signal(signal.SIGINT)
        try:
            self.process.communicate(timeout=60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.communicate()


class Traffic:
    """Packets from a: those that b drops, and those that arrive."""

    def __init__(self) -> None:
        with inside("a"):
            self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            self._socket.connect((NOWHERE, 5000))
        self.dropped = Batch(self._socket, bytes(32)).send
        self.arriving = Flow("udp").send


def rate(send: Callable[[int], int], seconds: float) -> tuple[float, int]:
    """(packets a second, packets)."""
    begin, sent = time.monotonic(), 0
    while (passed := time.monotonic() - begin) < seconds:
        for _ in range(_CHUNK // 32):
            sent += send(32)
    return sent / passed, sent


def measure(tool: Mapping[str, Any], traffic: Traffic, seconds: float) -> dict[str, Any]:
    """Of one start: seconds to listen, packets a second without and with it, CPU, memory.

    The tool has told of one drop before its CPU is counted: to name the place of a first drop, all
    of the kernel's symbols are read once.
    """
    arrived, _ = rate(traffic.arriving, seconds)
    bare, _ = rate(traffic.dropped, seconds)
    running = Tool(tool)
    try:
        traffic.dropped(1)
        time.sleep(1.5)
        arriving, _ = rate(traffic.arriving, seconds)
        cpu = running.cpu_s()
        traced, sent = rate(traffic.dropped, seconds)
        time.sleep(1.5)
        cpu = running.cpu_s() - cpu
        found = {
            "start_s": running.start_s,
            "bare": bare,
            "traced": traced,
            "arriving": arriving / arrived,
            "cpu_us": cpu / sent * 1e6,
            "peak_kb": running.peak_kb(),
            "run_ns": _run_ns(tool, traffic, seconds),
        }
    finally:
        running.stop()
    return found


def _run_ns(tool: Mapping[str, Any], traffic: Traffic, seconds: float) -> float:
    bpfstat.enable()
    try:
        before = _programs(tool)
        rate(traffic.dropped, seconds / 3)
        after = _programs(tool)
    finally:
        bpfstat.enable(False)
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def _programs(tool: Mapping[str, Any]) -> tuple[int, int]:
    found = bpfstat.programs(tool["programs"]) if tool["programs"] else []
    return sum(p.run_ns for p in found), sum(p.runs for p in found)


def in_turns(
    plan: Mapping[str, Any], measure: Callable[[Mapping[str, Any]], Mapping[str, float]]
) -> dict[str, dict[str, list[float]]]:
    """Each of the plan's tools in each of its rounds; by tool and figure, in order."""
    found: dict[str, dict[str, list[float]]] = {tool["name"]: {} for tool in plan["tools"]}
    for number in range(plan["rounds"] + 1):
        for tool in plan["tools"]:
            one = measure(tool)
            if number:  # the first start reads files
                for key, value in one.items():
                    found[tool["name"]].setdefault(key, []).append(value)
    return found


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    subprocess.run(["bash", "-ec", _PREPARE], check=True)
    traffic = Traffic()
    found = in_turns(plan, lambda tool: measure(tool, traffic, plan["seconds"]))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
