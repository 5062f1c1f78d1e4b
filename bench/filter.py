# SPDX-License-Identifier: Apache-2.0
"""Nanoseconds a probe hit: ``python -m bench.filter [--kernel 6.12 …]``.

``kernel.bpf_stats_enabled`` makes the kernel time every run of every program; that costs both
tools the same. Packets go between two namespaces over veth. The rejected ones are UDP packets
that the expression looks at to its end.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Sequence
from typing import Any

from bench.functions import arguments
from bench.guest import bench_guest, run_json
from bench.inside.traffic import PORT, TARGET
from bench.table import Series, judged, markdown, number, ratio
from bench.tools import Tool, peer, pwru_py
from tests.vm.kernels import KERNELS

STARTS, ROUNDS, PACKETS = 3, 5, 500
CASES = (
    {
        "expression": f"dst host {TARGET} and udp and dst port {PORT}",
        "match": "udp",
        "reject": "other",
    },
    {"expression": "tcp or icmp", "match": "icmp", "reject": "udp"},
)
# (reject, match), of pwru's; on kernels with typed loads, on older ones
GOALS, GOALS_OLDER = (0.2, 0.3), (0.4, 0.5)
OLDER = ("5.10", "6.1")

Results = list[dict[str, Any]]


def measure(
    kernel: str,
    tools: Sequence[Tool],
    *,
    starts: int = STARTS,
    rounds: int = ROUNDS,
    packets: int = PACKETS,
    icount: bool = False,
) -> tuple[str, Results]:
    """(the kernel's release, for each expression each tool's figures)."""
    words = arguments(kernel)
    plan = {
        "starts": starts,
        "packets": packets,
        "cases": [{**case, "rounds": rounds} for case in CASES],
        "tools": [{**tool.as_json(), "arguments": words} for tool in tools],
    }
    with bench_guest(kernel, tools, cpus=1, icount=icount) as guest:
        return guest.release, run_json(guest, "filter", plan, timeout=1800)


def rows(kernel: str, results: Results, names: Sequence[str]) -> Iterable[list[object]]:
    goals = GOALS_OLDER if kernel in OLDER else GOALS
    for result in results:
        ours, theirs = (result["tools"][name] for name in names)
        for verdict, goal in zip(("reject", "match"), goals, strict=True):
            times = [Series.of(one[verdict]) for one in (ours, theirs)]
            yield [
                f"{kernel}: {result['expression']}: {verdict}, ns a hit",
                *times,
                judged(ratio(*times), goal),
            ]
        for key, title in (
            ("hits", "hits a UDP packet"),
            ("programs", "programs"),
            ("verified", "instructions the verifier walked"),
            ("xlated_insns", "instructions loaded"),
            ("jited_bytes", "bytes of machine code"),
        ):
            shown = [Series.of(v) if isinstance(v := one[key], list) else v
                     for one in (ours, theirs)]  # fmt: skip
            middle = [v.median if isinstance(v, Series) else v for v in shown]
            yield [f"{kernel}: {result['expression']}: {title}", *map(number, middle),
                   f"{ratio(*middle):.2f}"]  # fmt: skip


def table(measured: Iterable[tuple[str, Results]], tools: Sequence[Tool]) -> str:
    names = [tool.name for tool in tools]
    lines = [row for kernel, results in measured for row in rows(kernel, results, names)]
    return markdown(["", *(f"{tool.name} {tool.version}" for tool in tools), "ratio"], lines)


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.filter", description=__doc__)
    kernels = ["6.12", "newest", "6.1", "5.10"]
    parser.add_argument("--kernel", nargs="*", default=kernels, choices=sorted(KERNELS))
    parser.add_argument("--starts", type=int, default=STARTS, help="of each tool, in turns")
    parser.add_argument("--rounds", type=int, default=ROUNDS)
    parser.add_argument("--packets", type=int, default=PACKETS)
    parser.add_argument("--icount", action="store_true", help="ns are instructions, and repeat")
    given = parser.parse_args(argv)
    tools = (pwru_py(), peer())
    measured = []
    for kernel in given.kernel:
        release, results = measure(
            kernel,
            tools,
            starts=given.starts,
            rounds=given.rounds,
            packets=given.packets,
            icount=given.icount,
        )
        print(f"{kernel}: {release}")
        measured.append((kernel, results))
    print(f"\n{table(measured, tools)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
