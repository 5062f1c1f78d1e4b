# SPDX-License-Identifier: Apache-2.0
"""Whether an event that was asked for with its stack comes with it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.filter import HOST
from bench.flood import lost
from bench.guest import bench_guest, run_json
from bench.question import Question, pairs, variants
from bench.table import Row
from bench.tools import Tool

PACKETS = 100


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    plan = {
        "expression": HOST,
        "packets": PACKETS,
        "tools": [tool.as_json() for tool in variants(kernel, tools)],
    }
    with bench_guest(kernel, tools) as guest:
        return guest.release, run_json(guest, "stacks", plan)


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for what, ours, theirs in pairs(results):
        at = f"{kernel} {what}".strip()
        both = (ours, theirs)
        shares = [one["stacks"] / one["events"] if one["events"] else 0.0 for one in both]
        found += [
            Row.of(f"{at}: events printed", (float(one["events"]) for one in both)),
            Row.of(f"{at}: events lost, by its own count", (lost(one["said"]) for one in both)),
            Row.of(f"{at}: events with their stack", (float(one["stacks"]) for one in both)),
            Row.of(f"{at}: share of events with their stack", shares, 1.0, at_least=True),
        ]
    return found


QUESTION = Question(
    "Stacks delivered",
    f"`{HOST}` with `--output-stack`, {PACKETS} packets, 0.05 s apart, text to a file.",
    ("6.12", "newest"),
    measure,
    rows,
)
