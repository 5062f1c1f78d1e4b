# SPDX-License-Identifier: Apache-2.0
"""Types by the kernel's headers beside its own BTF: a start, and a probe hit."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.filter import HOST
from bench.functions import arguments
from bench.guest import bench_guest, run_json
from bench.question import OLDER, Question
from bench.start import FIGURES
from bench.table import Row, Series
from bench.tools import Tool
from tests.vm.headers import keep_made, own_and_made

_ENGINES = ("bcc", "libbpf")
_STARTS = 3
_CASE = {"expression": HOST, "match": "udp", "reject": "other", "rounds": 2}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    """The types are compiled before: what that takes, the first start takes longer."""
    ours = tools[0]
    engines = [ours.named(engine, "--engine", engine) for engine in _ENGINES]
    _own, made = own_and_made(kernel)
    words = arguments(kernel)
    hits = {
        "starts": 1,
        "packets": {"reject": 200, "match": 200},
        "cases": [_CASE],
        "tools": [engine.named(engine.name, *words).as_json() for engine in engines],
        "empty": [],
    }
    starts = {
        "rounds": _STARTS,
        "events": [],
        "tools": [engine.as_json() for engine in engines],
        "filter": [HOST],
    }
    with bench_guest(kernel, [ours], cpus=1, icount=True) as guest:
        keep_made(guest, made)
        found = {"hits": run_json(guest, "filter", hits, timeout=3600)["cases"][0]["tools"]}
    with bench_guest(kernel, [ours]) as guest:
        keep_made(guest, made)
        found["starts"] = run_json(guest, "start", starts, timeout=3600)
        return guest.release, found


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for verdict in ("reject", "match"):
        series = [Series.of(results["hits"][engine][verdict]) for engine in _ENGINES]
        found.append(Row.of(f"{kernel}: {verdict}, instructions a hit", series, None))
    for key, title, scale, _goal in FIGURES:
        series = [
            Series.of(value * scale for value in results["starts"][engine][key])
            for engine in _ENGINES
        ]
        found.append(Row.of(f"{kernel}: {title}", series, None))
    return found


QUESTION = Question(
    "Engines",
    f"Filter `{HOST}`; types by BCC and the kernel's headers (left), which a start before has "
    "compiled, and the kernel's own BTF.",
    OLDER,
    measure,
    rows,
    _ENGINES,
)
