# SPDX-License-Identifier: Apache-2.0
"""Starts and stops the tools in turns; inside the guest."""

from __future__ import annotations

import json
import socket
import struct
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.inside.process import Tracer

TARGET = "1.1.1.1"
# A route to nowhere: what is sent there goes the whole way out of the stack.
NETWORK = f"""
modprobe dummy
ip link add sink type dummy
ip link set sink up
ip addr add 10.9.0.2/24 dev sink
ip route add {TARGET} dev sink
ip neigh add {TARGET} lladdr 02:00:00:00:00:01 dev sink
"""
OUTPUT = "/tmp/bench.out"
_BURST = 50
_PATIENCE_S = 240.0


class _Lines:
    """Counts the lines of a growing file."""

    def __init__(self, path: str) -> None:
        self._file = Path(path).open("rb")  # noqa: SIM115
        self.count = 0

    def update(self) -> int:
        while chunk := self._file.read(1 << 20):
            self.count += chunk.count(b"\n")
        return self.count


def send_until(lines: int) -> int:
    """TCP segments, no faster than the tool prints them, until its output has so many lines."""
    segment = struct.pack("!HHIIBBHHH", 40000, 80, 1, 0, 5 << 4, 2, 1024, 0, 0)
    output = _Lines(OUTPUT)
    end = time.monotonic() + _PATIENCE_S
    with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP) as sock:
        while output.update() < lines and time.monotonic() < end:
            for _ in range(_BURST):
                sock.sendto(segment, (TARGET, 0))
            before = output.count
            for _ in range(20):
                time.sleep(0.02)
                if output.update() > before:
                    break
    return output.count


def one(
    tool: Mapping[str, Any], arguments: Sequence[str], events: Sequence[int]
) -> tuple[dict[str, float], list[dict[str, float]]]:
    """(the start and the stop, memory and CPU seconds after so many ``events``)."""
    tracer = Tracer(tool, arguments, OUTPUT)
    found = {
        "start_s": tracer.start_s,
        "start_cpu_s": tracer.start_cpu_s,
        "peak_kb": tracer.peak_kb(),
    }
    growth = []
    for count in events:
        lines = send_until(count)
        growth.append(
            {"asked": count, "lines": lines, "peak_kb": tracer.peak_kb(), "cpu_s": tracer.cpu_s()}
        )
    found["stop_s"] = tracer.stop()
    return found, growth


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    subprocess.run(["bash", "-c", NETWORK], check=True, capture_output=True)
    found: dict[str, dict[str, Any]] = {tool["name"]: {} for tool in plan["tools"]}
    for number in range(plan["rounds"] + 1):
        # The first warms the page cache; the last goes on to produce events.
        events = plan["events"] if number == plan["rounds"] else ()
        for tool in plan["tools"]:
            arguments = [*tool["arguments"], *tool["columns"], *plan["filter"]]
            done, growth = one(tool, arguments, events)
            series = found[tool["name"]]
            time.sleep(0.5)
            if not number:
                series["first_s"] = done["start_s"]
                continue
            for key, value in done.items():
                series.setdefault(key, []).append(value)
            series["growth"] = growth
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
