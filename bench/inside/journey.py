# SPDX-License-Identifier: Apache-2.0
"""Bursts of packets under tools that show their way; inside the guest."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside.drops import Tool, in_turns
from bench.inside.traffic import Flow, make_network

_AFTER_S = 5  # in which a tool works off what it has; one that polls takes CPU as long as it runs


def burst_us(flow: Flow, packets: int) -> float:
    """Microseconds a packet, sent, on its way and taken out of the socket."""
    begin, left = time.monotonic(), packets
    while left > 0:
        left -= flow.send(min(32, left))
    return (time.monotonic() - begin) / packets * 1e6


def measure(tool: Mapping[str, Any], flow: Flow, packets: int) -> dict[str, float]:
    """Microseconds a packet without and with the tool, and of its CPU."""
    bare = burst_us(flow, packets)
    running = Tool(tool)
    try:
        burst_us(flow, 32)
        time.sleep(3)
        cpu = running.cpu_s()
        traced = burst_us(flow, packets)
        time.sleep(_AFTER_S)
        spent = running.cpu_s() - cpu
    finally:
        running.stop()
    return {"bare_us": bare, "traced_us": traced, "cpu_us": spent / packets * 1e6}


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    subprocess.run(["bash", "-ec", plan.get("setup", ":")], check=True)
    flow = Flow("udp")
    found = in_turns(plan, lambda tool: measure(tool, flow, plan["packets"]))
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
