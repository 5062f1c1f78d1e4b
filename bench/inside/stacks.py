# SPDX-License-Identifier: Apache-2.0
"""Events and their stacks, as a tool prints them; inside the guest."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside.process import tracing
from bench.inside.traffic import PORT, Flow, make_network

_OUTPUT = "/tmp/bench.stacks"
_APART_S = 0.05
_DRAIN_S = 6.0


def printed(path: str) -> tuple[int, int]:
    """Lines of events, and how many of them lines of a stack follow."""
    events = stacks = 0
    after_event = False
    with open(path, errors="replace") as lines:
        for line in lines:
            is_event = line.startswith("0x")
            stacks += after_event and not is_event and bool(line.strip())
            events += is_event
            after_event = is_event
    return events, stacks


def measure(tool: Mapping[str, Any], expression: str, packets: int) -> dict[str, Any]:
    """Single packets, a twentieth of a second apart."""
    arguments = [*tool["arguments"], *tool["columns"], "--output-stack", expression]
    with tracing(tool, arguments, _OUTPUT) as tracer:
        flow = Flow("udp", PORT)
        for _ in range(packets):
            flow.send(1)
            time.sleep(_APART_S)
        flow.close()
        time.sleep(_DRAIN_S)
    events, stacks = printed(_OUTPUT)
    os.unlink(_OUTPUT)
    said = tracer.errors.read_text(errors="replace")
    return {"events": events, "stacks": stacks, "said": said[-500:]}


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    found = {t["name"]: measure(t, plan["expression"], plan["packets"]) for t in plan["tools"]}
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
