# SPDX-License-Identifier: Apache-2.0
"""A UDP flood under each tool, a burst, and idling: ``python -m bench.flood [--kernel 6.12]``.

Packets a second that cross from one namespace to another over veth: without a tracer, with one
that rejects them all, with one that matches them all (printing to /dev/null). Then 20 000 packets
as fast as they go, with the default buffer and output to a file: events printed, events counted
as lost. Idle: share of a CPU while attached and nothing happens.
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bench.functions import arguments
from bench.guest import bench_guest, run_json
from bench.table import Series, judged, markdown, number, ratio
from bench.tools import Tool, peer, pwru_py
from tests.vm.kernels import KERNELS

ROUNDS, SECONDS, IDLE_S, BURST = 3, 2.0, 10.0, 20_000
GOALS = {"reject": 2.0, "match": 2.5}


def measure(
    kernel: str, tools: Sequence[Tool], *, rounds: int = ROUNDS, burst: int = BURST
) -> tuple[str, dict[str, Any]]:
    """(the kernel's release, figures of the tools)."""
    words = arguments(kernel)
    plan = {
        "rounds": rounds,
        "seconds": SECONDS,
        "idle_s": IDLE_S,
        "burst": burst,
        "tools": [{**tool.as_json(), "arguments": words} for tool in tools],
    }
    with bench_guest(kernel, tools) as guest:
        return guest.release, run_json(guest, "flood", plan, timeout=1800)


def lost(said: str) -> str:
    """The tool's own count of what it lost, from its last words; '-' when it says nothing."""
    found = re.findall(r"^lost: (\d+|nothing)", said, re.MULTILINE)
    if not found:
        return "-"
    return "0" if found[-1] == "nothing" else number(int(found[-1]))


def rows(kernel: str, results: dict[str, Any], names: Sequence[str]) -> Iterable[list[object]]:
    bare = Series.of(results["bare"])
    yield [f"{kernel}: no tracer, packets/s", bare, bare, ""]
    rates = [results["rates"][name] for name in names]
    for key, goal in GOALS.items():
        ours, theirs = (Series.of(one[key]) for one in rates)
        compared = judged(ratio(ours, theirs), goal, at_least=True)
        yield [f"{kernel}: {key}, packets/s", ours, theirs, compared]
    idle = [Series.of(one["idle"]) for one in rates]
    yield [f"{kernel}: idle, CPUs", *idle, judged(ratio(*idle), 0.02)]
    bursts = [results["bursts"][name] for name in names]
    lines = [one["lines"] for one in bursts]
    sent = number(bursts[0]["sent"])
    yield [f"{kernel}: burst of {sent}: events printed", *map(number, lines),
           f"{ratio(*lines):.2f}"]  # fmt: skip
    yield [
        f"{kernel}: burst: events lost, by its own count",
        *(lost(b["said"]) for b in bursts),
        "",
    ]
    speeds = [one["lines"] / one["cpu_s"] if one["cpu_s"] else 0.0 for one in bursts]
    yield [f"{kernel}: burst: events a CPU second", *map(number, speeds),
           judged(ratio(*speeds), 3.0, at_least=True)]  # fmt: skip
    peaks = [one["peak_kb"] / 1000 for one in bursts]
    yield [f"{kernel}: burst: peak memory, MB", *map(number, peaks), f"{ratio(*peaks):.2f}"]


def table(measured: Iterable[tuple[str, dict[str, Any]]], tools: Sequence[Tool]) -> str:
    names = [tool.name for tool in tools]
    lines = [row for kernel, results in measured for row in rows(kernel, results, names)]
    return markdown(["", *(f"{tool.name} {tool.version}" for tool in tools), "ratio"], lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.flood", description=__doc__)
    parser.add_argument("--kernel", nargs="*", default=["6.12"], choices=sorted(KERNELS))
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    given = parser.parse_args(argv)
    tools = (pwru_py(), peer())
    measured = []
    for kernel in given.kernel:
        release, results = measure(kernel, tools, rounds=given.rounds)
        print(f"{kernel}: {release}")
        measured.append((kernel, results))
    print(f"\n{table(measured, tools)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
