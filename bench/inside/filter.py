# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds a probe hit, from the kernel's own statistics; inside the guest."""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from bench.inside import bpfstat
from bench.inside.process import tracing
from bench.inside.traffic import OTHER_PORT, PORT, Flow, make_network

_WARM_PACKETS = 64
_DRAIN_S = 1.0


def measure(
    tool: Mapping[str, Any],
    case: Mapping[str, Any],
    packets: Mapping[str, int],
    found: dict[str, Any],
) -> None:
    """One start of ``tool`` with the case's expression; its two flows. Into ``found``."""
    more = case["more"].split() if "more" in case else []
    arguments = [*tool["arguments"], *tool["columns"], *more, case["expression"]]
    with tracing(tool, arguments):
        loaded = bpfstat.programs(tool["programs"])
        found["programs"] = len(loaded)
        found["xlated_insns"] = sum(p.xlated_insns for p in loaded)
        found["jited_bytes"] = sum(p.jited_bytes for p in loaded)
        found["verified"] = sum(p.verified for p in loaded)
        # What matched is still being printed for a while: that must not lie beside a measurement.
        for verdict in ("reject", "match"):
            for _ in range(case["rounds"]):
                cost, hits = _cost(tool, case[verdict], packets[verdict])
                found[verdict].append(cost)
                if case[verdict][0] == "udp":
                    found["hits"].append(hits)


def measure_empty(tool: Mapping[str, Any], rounds: int, packets: int) -> list[float]:
    """Of a program that does nothing: what the kernel's statistics find in every hit."""
    with tracing(tool, tool["arguments"]):
        return [_cost(tool, ("udp", OTHER_PORT), packets)[0] for _ in range(rounds)]


def _cost(tool: Mapping[str, Any], flow_of: tuple[str, int], packets: int) -> tuple[float, float]:
    """Nanoseconds a hit, hits a packet."""
    time.sleep(_DRAIN_S)
    flow = Flow(*flow_of)
    flow.send(_WARM_PACKETS)
    before = bpfstat.programs(tool["programs"])
    sent = flow.send(packets)
    after = bpfstat.programs(tool["programs"])
    flow.close()
    runs = sum(p.runs for p in after) - sum(p.runs for p in before)
    run_ns = sum(p.run_ns for p in after) - sum(p.run_ns for p in before)
    return run_ns / max(runs, 1), runs / sent


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    bpfstat.enable()
    results: list[dict[str, Any]] = []
    ports = {"udp": ("udp", PORT), "other": ("udp", OTHER_PORT), "icmp": ("icmp", PORT)}
    for case in plan["cases"]:
        flows = {verdict: ports[case[verdict]] for verdict in ("match", "reject")}
        found: dict[str, dict[str, Any]] = {
            tool["name"]: {"match": [], "reject": [], "hits": []} for tool in plan["tools"]
        }
        for _ in range(plan["starts"]):
            for tool in plan["tools"]:
                measure(tool, {**case, **flows}, plan["packets"], found[tool["name"]])
        results.append({"expression": case["expression"], "tools": found})
    rounds, packets = plan["cases"][0]["rounds"], plan["packets"]["reject"]
    empty = {tool["name"]: measure_empty(tool, rounds, packets) for tool in plan["empty"]}
    json.dump({"cases": results, "empty": empty}, sys.stdout)


if __name__ == "__main__":
    main()
