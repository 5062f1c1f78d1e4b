# SPDX-License-Identifier: Apache-2.0
"""Exec to listening, memory, SIGTERM to exit, where a link takes many functions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.question import Question, pairs, variants
from bench.table import Row, Series, number
from bench.tools import Tool

FILTER = "dst host 1.1.1.1 and tcp"
ROUNDS, EVENTS = 3, (10_000, 100_000, 1_000_000)


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    measured = variants(kernel, tools)
    plan = {
        "rounds": ROUNDS,
        "events": EVENTS,
        "tools": [tool.as_json() for tool in measured],
        "filter": [FILTER],
    }
    with bench_guest(kernel, tools) as guest:
        return guest.release, run_json(guest, "start", plan, timeout=3600)


FIGURES = (
    ("start_s", "exec to listening, s", 1.0, 0.4),
    ("start_cpu_s", "CPU of the start, s", 1.0, None),
    ("peak_kb", "peak memory, listening, MB", 1e-3, 0.5),
    ("stop_s", "SIGTERM to exit, s", 1.0, 0.5),
)
"""Key, title, scale to the unit, goal."""


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for what, ours, theirs in pairs(results):
        at = f"{kernel} {what}".strip()
        first = "the first start of all, s"
        found.append(Row(f"{at}: {first}", ours["first_s"], theirs["first_s"]))
        for key, title, scale, goal in FIGURES:
            series = [Series.of(value * scale for value in one[key]) for one in (ours, theirs)]
            found.append(Row.of(f"{at}: {title}", series, goal))
        for mine, others in zip(ours["growth"], theirs["growth"], strict=True):
            title = f"{at}: peak memory after {number(mine['asked'])} events, MB"
            reached = others["lines"] >= others["asked"]
            peak = others["peak_kb"] / 1000 if reached else None
            found.append(Row(title, mine["peak_kb"] / 1000, peak, 0.5))
    return found


QUESTION = Question(
    "Start and stop",
    f"Filter `{FILTER}`, every function. pwru-py keeps notes on a kernel: its first start has a "
    "line of its own.",
    ("6.12", "newest"),
    measure,
    rows,
)
