# SPDX-License-Identifier: Apache-2.0
"""What flags cost, and what sets of functions save: each beside the trace without it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.question import Question
from bench.table import Row, Series
from bench.tools import Tool

ROUNDS, PACKETS = 2, 500
_READY = "/tmp/options-ready"
_FILTER = "udp and dst port 5000"
_RULES = 200
_SETUP = (
    "ip netns exec b nft add table ip bench; "
    "ip netns exec b nft add chain ip bench in '{ type filter hook input priority 0; }'; "
    f"for n in $(seq {_RULES}); do "
    "ip netns exec b nft add rule ip bench in udp dport 6000 counter; done"
)
_ALL, _DROPS = "everything", "--drops"
_BESIDE = {
    _ALL: (
        ("--filter-func", "@core"),
        ("--filter-func", "@netfilter"),
        ("--filter-func", "@drops"),
        ("--output-return",),
        ("--output-stack",),
        ("--output-conntrack",),
        ("--output-owner",),
        ("--filter-comm", "nobody"),
        ("--filter-track-skb",),
        ("--filter-non-skb-funcs", "fib_table_lookup"),
        ("--filter-non-skb-funcs", "@inside"),
        ("--rules",),
        ("--output-nf-path",),
    ),
    _DROPS: (("--rules",),),
}
"""By what each is compared with: one more flag."""


def _plan(ours: Tool) -> dict[str, Any]:
    found = []
    for name, more in _BESIDE.items():
        first = () if name == _ALL else (name,)
        for arguments in ((), *more):
            words = (*first, *arguments)
            argv = (*ours.argv, *words, "--output-json", "--buffer-size", "64M",
                    "--ready-file", _READY, _FILTER)  # fmt: skip
            found.append(
                {
                    "name": " ".join((name, *arguments)),
                    "argv": argv,
                    "env": ours.env,
                    "says": "",
                    "words": _READY,
                    "programs": [],
                }
            )
    return {"tools": found, "rounds": ROUNDS, "packets": PACKETS, "setup": _SETUP}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    with bench_guest(kernel, tools) as guest:
        return guest.release, run_json(guest, "journey", _plan(tools[0]), timeout=7200)


def rows(kernel: str, results: Any) -> list[Row]:
    for one in results.values():
        pairs = zip(one["traced_us"], one["bare_us"], strict=True)
        one["cost_us"] = [traced - bare for traced, bare in pairs]
    found = []
    for name, more in _BESIDE.items():
        without = Series.of(results[name]["cost_us"])
        for arguments in more:
            flag = " ".join(arguments)
            series = Series.of(results[f"{name} {flag}"]["cost_us"])
            found.append(Row.of(f"{kernel}, {name}: {flag}", [series, without], None))
    return found


QUESTION = Question(
    "Options",
    f"What a packet of `{_FILTER}` takes longer, us, with a flag (left) and without it: bursts of "
    f"{PACKETS} from one namespace to another, which has {_RULES} rules of nf_tables. "
    f"`{_ALL}`: every function that takes an sk_buff, a line each.",
    ("6.12",),
    measure,
    rows,
    ("with it", "without"),
)
