# SPDX-License-Identifier: Apache-2.0
"""A UDP flood between two namespaces, with and without a tracer; inside the guest."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside.process import tracing
from bench.inside.traffic import OTHER_PORT, PORT, TARGET, Flow, make_network

MATCHING = f"dst host {TARGET} and udp and dst port {PORT}"
_CHUNK = 256
_DRAIN_S = 8.0
_OUTPUT = "/tmp/bench.burst"


def rate(port: int, seconds: float) -> float:
    """Packets a second, sent and received."""
    flow = Flow("udp", port)
    flow.send(_CHUNK)
    begin = time.monotonic()
    sent = 0
    while (passed := time.monotonic() - begin) < seconds:
        sent += flow.send(_CHUNK)
    flow.close()
    return sent / passed


def traced_rates(
    tool: Mapping[str, Any], rounds: int, seconds: float, idle_s: float
) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {"reject": [], "match": [], "idle": []}
    arguments = [*tool["arguments"], *tool["columns"], MATCHING]
    with tracing(tool, arguments) as tracer:
        time.sleep(1)
        before, begin = tracer.cpu_s(), time.monotonic()
        time.sleep(idle_s)
        found["idle"].append((tracer.cpu_s() - before) / (time.monotonic() - begin))
        # A buffer full of matches keeps the tool busy long after the packets: they come last.
        found["reject"] += [rate(OTHER_PORT, seconds) for _ in range(rounds)]
        for _ in range(rounds):
            found["match"].append(rate(PORT, seconds))
            time.sleep(_DRAIN_S)
    return found


def empty_rate(tool: Mapping[str, Any], rounds: int, seconds: float) -> list[float]:
    with tracing(tool, tool["arguments"]):
        time.sleep(1)
        return [rate(PORT, seconds) for _ in range(rounds)]


def burst(tool: Mapping[str, Any], packets: int, *more: str) -> dict[str, Any]:
    """Packets as fast as they go; what was printed of them, and what the tool said of the rest.

    Ended by SIGTERM once its output has not grown for three seconds.
    """
    arguments = [*tool["arguments"], *tool["columns"], *more, MATCHING]
    with tracing(tool, arguments, _OUTPUT) as tracer:
        flow = Flow("udp", PORT)
        before = tracer.cpu_s()
        sent = flow.send(packets)
        size, since = -1, time.monotonic()
        while time.monotonic() - since < 3:
            if (now := os.path.getsize(_OUTPUT)) != size:
                size, since = now, time.monotonic()
            time.sleep(0.2)
        cpu_s = tracer.cpu_s() - before
        peak_kb = tracer.peak_kb()
        flow.close()
    said = tracer.errors.read_text(errors="replace")
    with open(_OUTPUT, "rb") as output:
        lines = sum(1 for line in output if line.startswith(b"{") or b"0x" in line[:20])
    os.unlink(_OUTPUT)
    return {"sent": sent, "lines": lines, "cpu_s": cpu_s, "peak_kb": peak_kb, "said": said[-500:]}


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    bare: list[float] = []
    rates: dict[str, dict[str, list[float]]] = {}
    for tool in plan["tools"]:
        bare += [rate(PORT, plan["seconds"]) for _ in range(plan["rounds"])]
        rates[tool["name"]] = traced_rates(tool, plan["rounds"], plan["seconds"], plan["idle_s"])
    empty = {
        tool["name"]: empty_rate(tool, plan["rounds"], plan["seconds"]) for tool in plan["empty"]
    }
    bursts = {tool["name"]: {"text": burst(tool, plan["burst"])} for tool in plan["tools"]}
    for tool in plan["tools"][: len(plan["empty"])]:
        bursts[tool["name"]]["json"] = burst(tool, plan["burst"], "--output-json")
    json.dump({"bare": bare, "rates": rates, "empty": empty, "bursts": bursts}, sys.stdout)


if __name__ == "__main__":
    main()
