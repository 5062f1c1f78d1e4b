# SPDX-License-Identifier: Apache-2.0
"""What ``--rules`` costs a packet, dropped and not dropped, by the size of the rule set."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from bench.guest import bench_guest, run_json
from bench.inside.traffic import OTHER_PORT, PORT
from bench.question import Question
from bench.table import Row, Series
from bench.tools import Tool

ROUNDS, PACKETS = 1, 320
SIZES = (10, 1000)
_READY = "/tmp/rules-ready"
_WITHOUT, _WITH, _PATH = "--drops", "--drops --rules", "--drops --output-nf-path"
_EVERY, _PWRU = "--rules", "pwru"
_BESIDE = {_WITH: _WITHOUT, _PATH: _WITHOUT, _EVERY: _PWRU}
"""What each is compared with."""
_FILTER = f"udp and dst portrange {PORT}-{OTHER_PORT}"
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


def _plan(ours: Tool, pwru: Tool) -> dict[str, Any]:
    flags = ("--output-json", "--buffer-size", "64M", "--ready-file", _READY)
    calls = [
        (name, (*ours.argv, *name.split(), *flags), ours.env, _READY)
        for name in (_WITHOUT, _WITH, _PATH, _EVERY)
    ]
    calls.append((_PWRU, (*pwru.argv, *pwru.columns), pwru.env, "Listening for events"))
    tools = [
        {"name": name, "argv": (*argv, _FILTER), "env": env, "says": "", "words": words,
         "programs": []}
        for name, argv, env, words in calls
    ]  # fmt: skip
    sets = [
        {"name": f"{kind}, {size} rules", "on": make(size), "off": _OFF[kind]}
        for kind, make in _SETS.items()
        for size in SIZES
    ]
    return {"tools": tools, "sets": sets, "rounds": ROUNDS, "packets": PACKETS}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    with bench_guest(kernel, tools, icount=True) as guest:
        return guest.release, run_json(guest, "rules", _plan(*tools), timeout=1e6)


def _costs(figures: Mapping[str, Sequence[float]], kind: str) -> Series:
    pairs = zip(figures[f"{kind}_traced"], figures[f"{kind}_bare"], strict=True)
    return Series.of(traced - bare for traced, bare in pairs)


def rows(kernel: str, results: Any) -> list[Row]:
    return [
        Row.of(
            f"{kernel}, {name}, a packet {words}: `{tool}`, `{other}`",
            [_costs(tools[one], kind) for one in (tool, other)],
        )
        for tool, other in _BESIDE.items()
        for name, tools in results.items()
        if tool in tools  # not in results of before it was asked
        for kind, words in _KINDS.items()
    ]


QUESTION = Question(
    "Rules",
    "Instructions that a packet takes longer than untraced, with the first of the two that a line "
    "names (left) and with the second: from one namespace to another, whose last rule drops what "
    f"is dropped. `{_EVERY}` traces every function, as pwru does, which names no rule.",
    ("6.12",),
    measure,
    rows,
    ("the first", "the second"),
)
