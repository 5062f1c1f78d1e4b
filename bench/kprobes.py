# SPDX-License-Identifier: Apache-2.0
"""One kprobe a function, all functions: the first event, all attached, the end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.inside.traffic import PORT, TARGET
from bench.question import OLDER, Question
from bench.table import Row, Series
from bench.tools import Tool

FILTER = f"dst host {TARGET} and udp and dst port {PORT}"
USEFUL = ("ip_rcv", "ip_local_out")
ROUNDS = 2


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    plan = {
        "rounds": ROUNDS,
        "tools": [tool.as_json() for tool in tools],
        "filter": [FILTER],
        "useful": USEFUL,
    }
    with bench_guest(kernel, tools) as guest:
        return guest.release, run_json(guest, "kprobes", plan, timeout=5400)


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for key, title, scale, goal in (
        ("useful_s", f"exec to the first event in {' or '.join(USEFUL)}, s", 1.0, 0.1),
        ("start_s", "exec to all attached, s", 1.0, 0.8),
        ("start_cpu_s", "CPU of it, s", 1.0, None),
        ("peak_kb", "peak memory, all attached, MB", 1e-3, 0.5),
        ("stop_s", "SIGTERM to exit, s", 1.0, 0.5),
    ):
        series = [Series.of(v * scale for v in one[key]) for one in results.values()]
        found.append(Row.of(f"{kernel}: {title}", series, goal))
    return found


QUESTION = Question(
    "One kprobe a function",
    f"Filter `{FILTER}`, every function, while 32 such packets are sent every tenth of a second.",
    OLDER,
    measure,
    rows,
)
