# SPDX-License-Identifier: Apache-2.0
"""What ``--rules`` costs a packet, dropped and not dropped, by the size of the rule set."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.inside.traffic import OTHER_PORT, PORT
from bench.question import Question
from bench.table import Row, Series
from bench.tools import Tool

ROUNDS, PACKETS = 2, 300
SIZES = (10, 1000)
_READY = "/tmp/rules-ready"
_WITHOUT, _WITH = "--drops", "--drops --rules"
_KINDS = {"passes": "that passes", "drops": "that is dropped"}


def nft_set(size: int) -> str:
    """A command that puts so many rules before the one that drops."""
    rules = [f"add rule ip bench in udp dport {6000 + n} counter" for n in range(size)]
    lines = [
        "add table ip bench",
        "flush table ip bench",
        "add chain ip bench in { type filter hook input priority 0; }",
        *rules,
        f"add rule ip bench in udp dport {OTHER_PORT} drop",
    ]
    return "ip netns exec b nft -f - <<'EOF'\n" + "\n".join(lines) + "\nEOF"


def iptables_set(size: int) -> str:
    """The same of x_tables."""
    rules = [f"-A INPUT -p udp --dport {6000 + n}" for n in range(size)]
    lines = ["*filter", *rules, f"-A INPUT -p udp --dport {OTHER_PORT} -j DROP", "COMMIT"]
    return "ip netns exec b iptables-legacy-restore <<'EOF'\n" + "\n".join(lines) + "\nEOF"


_OFF = {
    "nft": "ip netns exec b nft delete table ip bench",
    "iptables": "ip netns exec b iptables-legacy -F",
}
_SETS = {"nft": nft_set, "iptables": iptables_set}


def _plan(ours: Tool) -> dict[str, Any]:
    tools = [
        {
            "name": name,
            "argv": [*ours.argv, *name.split(), "--output-json", "--ready-file", _READY,
                     f"udp and dst portrange {PORT}-{OTHER_PORT}"],
            "env": ours.env,
            "says": "",
            "words": _READY,
            "programs": [],
        }
        for name in (_WITHOUT, _WITH)
    ]  # fmt: skip
    sets = [
        {"name": f"{kind}, {size} rules", "on": make(size), "off": _OFF[kind]}
        for kind, make in _SETS.items()
        for size in SIZES
    ]
    return {"tools": tools, "sets": sets, "rounds": ROUNDS, "packets": PACKETS}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    with bench_guest(kernel, tools[:1], icount=True) as guest:
        return guest.release, run_json(guest, "rules", _plan(tools[0]), timeout=7200)


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    for name, tools in results.items():
        for kind, words in _KINDS.items():
            costs = [
                Series.of(
                    traced - bare
                    for traced, bare in zip(
                        tools[tool][f"{kind}_traced"], tools[tool][f"{kind}_bare"], strict=True
                    )
                )
                for tool in (_WITH, _WITHOUT)
            ]
            found.append(Row.of(f"{kernel}, {name}: a packet {words}", costs))
    return found


QUESTION = Question(
    "Rules",
    f"Instructions that a packet takes longer with `{_WITH}` (left) and with `{_WITHOUT}`, to a "
    "namespace whose last rule drops what is dropped: what the sender's thread and the soft "
    "interrupts in it take, not the tracer's own process.",
    ("6.12",),
    measure,
    rows,
    ("with it", "without"),
)
