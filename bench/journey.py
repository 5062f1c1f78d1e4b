# SPDX-License-Identifier: Apache-2.0
"""What it costs to show a packet's way: journeys, a full trace, pwru, and bpftrace's lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.drops import fetch_others, other
from bench.guest import bench_guest, run_json
from bench.question import Question
from bench.table import Row, Series
from bench.tools import Tool

ROUNDS, PACKETS = 2, 1000
_POINTS = (
    "net:net_dev_queue", "net:netif_rx_entry", "net:napi_gro_receive_entry",
    "net:netif_receive_skb_entry", "skb:consume_skb", "skb:kfree_skb",
    "skb:skb_copy_datagram_iovec",
)  # fmt: skip
_LINES = (
    'BEGIN { printf("ready\\n"); } '
    + ",".join(f"tracepoint:{point}" for point in _POINTS)
    + ' { printf("%llx %lld %s\\n", args->skbaddr, nsecs, probe); }'
)
_READY = "/tmp/journey-ready"
_FILTER = "udp and dst port 5000"
_JOURNEY, _TRACE = "pwru-py --journey", "pwru-py"
_GOALS = {_TRACE: 0.1, "bpftrace": 1.0}


def _plan(tools: Sequence[Tool], trace: Tool) -> dict[str, Any]:
    ours, pwru = tools
    common = ("--output-json", "--buffer-size", "64M", "--ready-file", _READY, _FILTER)
    rows = [
        (_JOURNEY, ours, ("--journey", *common), _READY),
        (_TRACE, ours, common, _READY),
        ("bpftrace", trace, (), "ready"),
        ("pwru", pwru, (*pwru.columns, _FILTER), "Listening for events"),
    ]
    found = [
        {
            "name": name,
            "argv": [*tool.argv, *arguments],
            "env": tool.env,
            "says": "",
            "words": words,
            "programs": [],
        }
        for name, tool, arguments, words in rows
    ]
    return {"tools": found, "rounds": ROUNDS, "packets": PACKETS}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    trace = other(fetch_others(), "bpftrace", "-e", _LINES)
    with bench_guest(kernel, [*tools, trace]) as guest:
        return guest.release, run_json(guest, "journey", _plan(tools, trace), timeout=3600)


def rows(kernel: str, results: Any) -> list[Row]:
    for one in results.values():
        pairs = zip(one["traced_us"], one["bare_us"], strict=True)
        one["cost_us"] = [traced - bare for traced, bare in pairs]
    ours, found = results[_JOURNEY], []
    for name, theirs in results.items():
        if name == _JOURNEY:
            continue
        for key, title, goal in (
            ("cost_us", "what a packet takes longer, us", _GOALS.get(name)),
            ("cpu_us", "CPU of the tool a packet, us", None),
        ):
            series = [Series.of(one[key]) for one in (ours, theirs)]
            found.append(Row.of(f"{kernel}, {name}: {title}", series, goal))
    return found


QUESTION = Question(
    "Journeys",
    f"`pwru-py --journey '{_FILTER}'` (left) beside each of the others on bursts of {PACKETS} UDP "
    "packets from one namespace to another: a full trace by pwru-py and by pwru with the same "
    f"filter, and bpftrace, without a filter, with a line at each of {len(_POINTS)} tracepoints.",
    ("6.12",),
    measure,
    rows,
    ("journeys", "the other"),
)
