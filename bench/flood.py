# SPDX-License-Identifier: Apache-2.0
"""Packets a second under each tool, a burst, and idling.

From one namespace to another over veth: without a tracer, with an empty program on the same
functions, with one that rejects them all, with one that matches them all (printing to /dev/null).
Then 20 000 packets as fast as they go, with the default buffer and output to a file: events
printed, events counted as lost. Idle: share of a CPU while attached and nothing happens.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from bench.functions import arguments
from bench.guest import bench_guest, run_json
from bench.question import Question, pairs, variants
from bench.table import Row, Series
from bench.tools import Tool, empty

ROUNDS, SECONDS, IDLE_S, BURST = 5, 2.0, 10.0, 20_000
NEAR = 0.6  # within 40 % of the empty program


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    measured = variants(kernel, tools)
    words = arguments(kernel)
    nothing = empty()
    plan = {
        "rounds": ROUNDS,
        "seconds": SECONDS,
        "idle_s": IDLE_S,
        "burst": BURST,
        "tools": [tool.named(tool.name, *words).as_json() for tool in measured],
        "empty": [nothing.named(tool.name, *tool.arguments, *words).as_json()
                  for tool in measured[:-1]],
    }  # fmt: skip
    with bench_guest(kernel, [*tools, nothing]) as guest:
        return guest.release, run_json(guest, "flood", plan, timeout=3600)


def lost(said: str) -> str:
    """The tool's own count of what it lost, from its last words."""
    found = re.findall(r"^lost: (\d+|nothing)", said, re.MULTILINE)
    return found[-1].replace("nothing", "0") if found else "untold"


def rows(kernel: str, results: Any) -> list[Row]:
    bare = Series.of(results["bare"])
    found = [Row(f"{kernel}: no tracer, packets/s", bare)]
    for what, ours, theirs in pairs(results["rates"]):
        at = f"{kernel} {what}".strip()
        name = next(name for name in results["empty"] if name.partition(" ")[2] == what)
        nothing = Series.of(results["empty"][name])
        mine = {key: Series.of(one) for key, one in ours.items()}
        others = {key: Series.of(one) for key, one in theirs.items()}
        goal = 4.0 if what == "fentry-multi" else 2.0
        found += [
            Row(f"{at}: rejecting, packets/s", mine["reject"], others["reject"], goal, True),
            Row(f"{at}: matching, packets/s", mine["match"], others["match"], 2.5, True),
            Row(f"{at}: rejecting, beside an empty program (right), packets/s",
                mine["reject"], nothing, NEAR, True),
            Row(f"{at}: idle, CPUs", mine["idle"], others["idle"], 0.02),
        ]  # fmt: skip
    return found


def burst_rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for what, ours, theirs in pairs(results["bursts"]):
        for kind, goal in (("text", 3.0), ("json", 2.0)):
            at = f"{kernel} {what}".strip() + f": {kind}"
            mine, others = ours[kind], theirs["text"]
            speeds = [one["lines"] / one["cpu_s"] if one["cpu_s"] else 0.0
                      for one in (mine, others)]  # fmt: skip
            found += [
                Row(f"{at}: events written", float(mine["lines"]), float(others["lines"])),
                Row(f"{at}: events lost, by its own count", lost(mine["said"]),
                    lost(others["said"])),
                Row.of(f"{at}: events a CPU second", speeds, goal, at_least=True),
                Row(f"{at}: peak memory, MB", mine["peak_kb"] / 1000, others["peak_kb"] / 1000),
            ]  # fmt: skip
    return found


def all_rows(kernel: str, results: Any) -> list[Row]:
    return rows(kernel, results) + burst_rows(kernel, results)


QUESTION = Question(
    "A flood, and a burst",
    "pwru 1.0.5 writes no JSON: beside pwru-py's stands its text.",
    ("6.12", "newest", "6.1", "5.10"),
    measure,
    all_rows,
)
