# SPDX-License-Identifier: Apache-2.0
"""The same start with more functions, the same hit with more hosts; inside the guest."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.inside import bpfstat
from bench.inside.process import NotListeningError, Tracer
from bench.inside.traffic import OTHER_PORT, Flow, make_network
from pwru_py import Config
from pwru_py import Tracer as Session

_PACKETS = 200
LONGEST_S = 120.0


def some_functions(count: int) -> str:
    """A pattern for ``count`` of all functions, evenly taken."""
    names = sorted({target.name for target in Session(Config()).plan().targets})
    step = max(len(names) / count, 1)
    return "|".join(names[int(n * step)] for n in range(min(count, len(names))))


def hosts(count: int) -> str:
    return " or ".join(f"host 10.{7 + (n >> 16)}.{n >> 8 & 255}.{n & 255}" for n in range(count))


def one(tool: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, float]:
    words = [*tool["arguments"], *tool["columns"], *arguments]
    tracer = Tracer(tool, words, os.devnull, LONGEST_S)
    flow = Flow("udp", OTHER_PORT)
    flow.send(_PACKETS)
    before = bpfstat.programs(tool["programs"])
    flow.send(_PACKETS)
    after = bpfstat.programs(tool["programs"])
    flow.close()
    runs = sum(p.runs for p in after) - sum(p.runs for p in before)
    run_ns = sum(p.run_ns for p in after) - sum(p.run_ns for p in before)
    return {
        "start_s": tracer.start_s,
        "reject": run_ns / max(runs, 1),
        "stop_s": tracer.stop(),
    }


def series(plan: Mapping[str, Any], arguments: Sequence[str]) -> dict[str, dict[str, list[float]]]:
    """Figures by tool; none of one that did not listen the first time."""
    found: dict[str, dict[str, list[float]]] = {tool["name"]: {} for tool in plan["tools"]}
    for round_ in range(plan["rounds"]):
        for tool in plan["tools"]:
            if round_ and not found[tool["name"]]:
                continue
            try:
                measured = one(tool, arguments)
            except NotListeningError as error:
                print(f"{tool['name']}: {error}"[:500], file=sys.stderr)
                continue
            for key, value in measured.items():
                found[tool["name"]].setdefault(key, []).append(value)
    return found


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    bpfstat.enable()
    for tool in plan["tools"]:  # the page cache
        one(tool, ["icmp"])
    by_functions = [
        (count, series(plan, ["--filter-func", some_functions(count), "host 10.7.0.0"]))
        for count in plan["functions"]
    ]
    by_hosts = [(count, series(plan, [hosts(count)])) for count in plan["hosts"]]
    json.dump({"functions": by_functions, "hosts": by_hosts}, sys.stdout)


if __name__ == "__main__":
    main()
