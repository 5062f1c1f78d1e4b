# SPDX-License-Identifier: Apache-2.0
"""How cost grows: with the functions traced, with the hosts in the filter.

Growth with the events is in ``start.py``, where a million of them are made.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.inside.growth import LONGEST_S
from bench.question import Question
from bench.table import Row, Series, number
from bench.tools import Tool

FUNCTIONS = (100, 400, 1600)
HOSTS = (1, 30, 1000)
ROUNDS = 2
NEVER = f"not within {LONGEST_S:.0f} s"
FIGURES = {
    "functions": (("start_s", "exec to listening, s"), ("stop_s", "SIGTERM to exit, s")),
    "hosts": (("start_s", "exec to listening, s"), ("reject", "a rejected hit, ns")),
}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    plan = {
        "rounds": ROUNDS,
        "functions": FUNCTIONS,
        "hosts": HOSTS,
        "tools": [tool.as_json() for tool in tools],
    }
    with bench_guest(kernel, tools, cpus=1) as guest:
        return guest.release, run_json(guest, "growth", plan, timeout=3600)


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for what, figures in FIGURES.items():
        for key, title in figures:
            for count, measured in results[what]:
                both = [Series.of(one[key]) if one.get(key) else NEVER for one in measured.values()]
                found.append(Row.of(f"{kernel}: {number(count)} {what}: {title}", both))
    return found


QUESTION = Question(
    "Growth",
    "Functions are taken evenly from all; the filter is `host A or host B …`.",
    ("6.12",),
    measure,
    rows,
)
