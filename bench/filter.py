# SPDX-License-Identifier: Apache-2.0
"""What a probe hit costs, by the kernel's own statistics.

``kernel.bpf_stats_enabled`` makes the kernel time every run of every program; that costs both
tools the same. Packets go between two namespaces over veth. The rejected ones are UDP packets
that the expression looks at to its end.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from typing import Any

from bench.functions import arguments
from bench.guest import bench_guest, run_json
from bench.inside.traffic import PORT, TARGET
from bench.question import OLDER, Question, pairs, variants
from bench.table import Row, Series
from bench.tools import Tool, empty

HOST = f"dst host {TARGET} and udp and dst port {PORT}"
CASES = (
    {"expression": HOST, "match": "udp", "reject": "other"},
    {"expression": "tcp or icmp", "match": "icmp", "reject": "udp"},
)
WORK = (
    ("--filter-track-skb", "following"),
    ("--output-stack", "with stacks"),
)
# (reject, match), of pwru's; on kernels with typed loads, on older ones
GOALS, GOALS_OLDER = (0.2, 0.3), (0.4, 0.5)


def measure(
    kernel: str, tools: Sequence[Tool], *, icount: bool, cases: Sequence[Mapping[str, str]] = CASES
) -> tuple[str, Any]:
    """``icount``: what repeats to the digit needs no rounds, and is slow."""
    measured = variants(kernel, tools)
    words = arguments(kernel)
    nothing = empty()
    plan = {
        "starts": 1 if icount else 3,
        # What matches must find room in the buffers of both.
        "packets": {"reject": 200 if icount else 3000, "match": 200 if icount else 300},
        "cases": [{"rounds": 2 if icount else 5, **case} for case in cases],
        "tools": [tool.named(tool.name, *words).as_json() for tool in measured],
        "empty": [nothing.named(tool.name, *tool.arguments, *words).as_json()
                  for tool in measured[:-1]],
    }  # fmt: skip
    with bench_guest(kernel, [*tools, nothing], cpus=1, icount=icount) as guest:
        return guest.release, run_json(guest, "filter", plan, timeout=3600)


def rows(kernel: str, results: Any, *, unit: str) -> list[Row]:
    goals = GOALS_OLDER if kernel in OLDER else GOALS
    found: list[Row] = []
    for result in results["cases"]:
        for what, ours, theirs in pairs(result["tools"]):
            at = f"{kernel} {what}".strip() + f": `{result['expression']}`"
            found += _verdicts(at, ours, theirs, goals, unit)
            nothing = Series.of(results["empty"][f"pwru-py {what}".strip()])
            beside = Series.of(theirs["reject"])
            found.append(
                Row(f"{at}: an empty program beside pwru's reject, {unit}", nothing, beside)
            )
            if unit != "ns":
                continue
            for key, text in (
                ("hits", "hits a UDP packet"),
                ("xlated_insns", "BPF instructions loaded"),
                ("verified", "BPF instructions the verifier walked"),
            ):
                both = [
                    Series.of(v).median if isinstance(v := one[key], list) else v
                    for one in (ours, theirs)
                ]
                found.append(Row.of(f"{at}: {text}", both))
    return found


def _verdicts(
    at: str, ours: Any, theirs: Any, goals: tuple[float, float], unit: str
) -> Iterator[Row]:
    for verdict, goal in zip(("reject", "match"), goals, strict=True):
        series = [Series.of(one[verdict]) for one in (ours, theirs)]
        yield Row.of(f"{at}: {verdict}, {unit}", series, goal)


def measure_work(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    """The same filter, and more to do on a match."""
    cases = [
        {"expression": HOST, "match": "udp", "reject": "other", "more": flag} for flag, _ in WORK
    ]
    return measure(kernel, tools, icount=True, cases=cases)


def work_rows(kernel: str, results: Any) -> list[Row]:
    found: list[Row] = []
    for (_, title), result in zip(WORK, results["cases"], strict=True):
        for what, ours, theirs in pairs(result["tools"]):
            at = f"{kernel} {what}".strip() + f": {title}"
            found += _verdicts(at, ours, theirs, (1.0, 1.0), "instructions")
    return found


_KERNELS = ("6.12", "newest", "6.1", "5.10")
WALL = Question(
    "A probe hit, nanoseconds",
    "A guest of one CPU, timed by its clock.",
    _KERNELS,
    partial(measure, icount=False),
    partial(rows, unit="ns"),
)
ICOUNT = Question(
    "A probe hit, instructions",
    "Under `icount`, where a nanosecond of the guest is one instruction: these figures repeat.",
    _KERNELS,
    partial(measure, icount=True),
    partial(rows, unit="instructions"),
)
FURTHER = Question(
    "A probe hit with more to do, instructions",
    f"`{HOST}` with `--filter-track-skb`, with `--output-stack`, under `icount`.",
    ("6.12",),
    measure_work,
    work_rows,
)
