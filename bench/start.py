# SPDX-License-Identifier: Apache-2.0
"""Exec to listening, peak memory, SIGTERM to exit: ``python -m bench.start [--kernel 6.12]``.

Both tools in one guest, in turns, after one start of each to warm the page cache. Without
``--icount`` times are wall-clock; with it only CPU seconds mean something, and they repeat.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from collections.abc import Sequence
from dataclasses import dataclass

from bench.guest import bench_guest, run_json
from bench.table import Series, judged, markdown, number, ratio
from bench.tools import Tool, peer, pwru_py
from tests.vm.kernels import KERNELS

FILTER = ("dst host 1.1.1.1 and tcp",)
ROUNDS, EVENTS = 5, 100_000


@dataclass(frozen=True, slots=True)
class Figure:
    """A row: ``key`` of what the guest measured, ``scale`` to the unit shown."""

    key: str
    title: str
    scale: float = 1.0
    goal: float | None = None


WALL = (
    Figure("start_s", "exec to listening, s", goal=0.5),
    Figure("start_cpu_s", "CPU of the start, s"),
    Figure("peak_kb", "peak memory, listening, MB", 1e-3, goal=1.0),
    Figure("peak_after_kb", "peak memory, after the events, MB", 1e-3, goal=1.0),
    Figure("lines", "events by then"),
    Figure("stop_s", "SIGTERM to exit, s", goal=0.5),
)
ICOUNT = (
    Figure("start_cpu_s", "CPU of the start under icount, s", goal=0.5),
    Figure("peak_kb", "peak memory, listening, MB", 1e-3, goal=1.0),
)

Rounds = list[dict[str, dict[str, float]]]


def measure(
    kernel: str, tools: Sequence[Tool], *, rounds: int, events: int, icount: bool, backend: str
) -> tuple[str, Rounds]:
    """(the kernel's release, for each round each tool's figures)."""
    words = ["--backend", backend] if backend else []
    plan = {
        "rounds": rounds,
        "events": 0 if icount else events,
        "tools": [{**tool.as_json(), "arguments": words} for tool in tools],
        "filter": FILTER,
    }
    with bench_guest(kernel, tools, icount=icount) as guest:
        return guest.release, run_json(guest, "start", plan, timeout=3600)


def table(rounds: Rounds, tools: Sequence[Tool], figures: Sequence[Figure]) -> str:
    ours, theirs = tools
    rows = []
    for figure in figures:
        series = [
            Series.of(r[tool.name][figure.key] * figure.scale for r in rounds
                      if figure.key in r[tool.name])
            for tool in (ours, theirs)
        ]  # fmt: skip
        if all(one.values for one in series):
            compared = judged(ratio(*series), figure.goal)
            rows.append([figure.title, *series, compared])
    head = ["", f"{ours.name} {ours.version}", f"{theirs.name} {theirs.version}", "ratio"]
    return markdown(head, rows)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.start", description=__doc__)
    parser.add_argument("--kernel", default="6.12", choices=sorted(KERNELS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--events", type=int, default=EVENTS)
    parser.add_argument("--icount", action="store_true", help="CPU seconds that repeat")
    parser.add_argument("--backend", default="", help="for both; default: each its own choice")
    parser.add_argument("--json", action="store_true", help="raw figures instead of a table")
    given = parser.parse_args(argv)
    tools = (pwru_py(), peer())
    release, rounds = measure(
        given.kernel,
        tools,
        rounds=given.rounds,
        events=given.events,
        icount=given.icount,
        backend=given.backend,
    )
    if given.json:
        json.dump(rounds, sys.stdout, indent=1)
        return 0
    shown = table(rounds, tools, ICOUNT if given.icount else WALL)
    print(f"{release}, {number(given.rounds)} rounds, filter {shlex.quote(FILTER[0])}\n\n{shown}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
