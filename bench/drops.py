# SPDX-License-Identifier: Apache-2.0
"""Tools that tell of drops, under a flood of them: what a drop costs, and what a start takes.

Debian 12's bpftrace with its usual one-liner, its dropwatch, and pwru on the functions that free
what is dropped. The packets are dropped by the receiver, which answers nothing.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from bench.guest import bench_guest, run_json
from bench.question import Question
from bench.table import Row, Series
from bench.tools import Tool
from tests.vm.archive import Suite
from tests.vm.kernels import lab_directory

ROUNDS, SECONDS = 3, 3.0
_PACKAGES = ("bpftrace", "libbpfcc", "dropwatch", "libnl-genl-3-200", "libpcap0.8")
_ONE_LINER = (
    'BEGIN { printf("ready\\n"); } tracepoint:skb:kfree_skb { @[args->reason, kstack] = count(); }'
)
_READY = "/tmp/drops-ready"
_TOP = "pwru-py --drops --top"
_DROPS = "kfree_skb_reason|sk_skb_reason_drop"


def fetch_others() -> Path:
    """Debian 12's packages of the other tools, unpacked."""
    lab = lab_directory()
    root = lab / "drop-tools"
    if not (root / "usr" / "bin" / "bpftrace").exists():
        suite = Suite("bookworm", lab / "apt")
        suite.update()
        suite.unpack({name: suite.newest(name).version for name in _PACKAGES}, root)
    return root


def other(root: Path, name: str, *argv: str, before: tuple[str, ...] = ()) -> Tool:
    """A tool of ``fetch_others``, and how it is called."""
    libraries = [str(path) for path in root.rglob("*.so*") if path.is_file()]
    folders = ":".join(sorted({str(Path(path).parent) for path in libraries}))
    program = f"{root}/usr/bin/{name}"
    return Tool(
        name=name,
        version="",
        argv=(*before, program, *argv),
        env={"LD_LIBRARY_PATH": folders},
        programs=("kfree_skb",) if name == "bpftrace" else (),
        files=(program, *libraries),
    )


def _plan(tools: Sequence[Tool], others: Sequence[Tool]) -> dict[str, Any]:
    ours, pwru = tools
    trace, watch = others
    once = ("--drops", "--summary-only", "--ready-file", _READY)
    top = ("--drops", "--top", "--output-json", "--interval", "1", "--ready-file", _READY)
    rows = [
        (ours, once, "", _READY, ("drop_skb",)),
        (replace(ours, name=_TOP), top, "", _READY, ("drop_skb",)),
        (trace, (), "", "ready", trace.programs),
        (watch, (), "start\n", "Kernel monitoring activated", ()),
        (pwru, ("--filter-func", _DROPS, *pwru.columns), "", "Listening for events", pwru.programs),
    ]
    found = [
        {
            "name": tool.name,
            "argv": [*tool.argv, *arguments],
            "env": tool.env,
            "says": says,
            "words": words,
            "programs": list(programs),
        }
        for tool, arguments, says, words, programs in rows
    ]
    return {"tools": found, "rounds": ROUNDS, "seconds": SECONDS}


def measure(kernel: str, tools: Sequence[Tool]) -> tuple[str, Any]:
    root = fetch_others()
    unbuffered = ("/usr/bin/stdbuf", "-o0")
    others = [
        other(root, "bpftrace", "-e", _ONE_LINER),
        other(root, "dropwatch", "-l", "kas", before=unbuffered),
    ]
    with bench_guest(kernel, [*tools, *others]) as guest:
        return guest.release, run_json(guest, "drops", _plan(tools, others), timeout=3600)


FIGURES = (
    ("arriving", "packets that arrive, with / without", 1.0, None),
    ("start_s", "exec to listening, s", 1.0, 0.3),
    ("cost_us", "what a drop takes longer, us", 1.0, 1.0),
    ("run_ns", "of that the program, ns", 1.0, 1.0),
    ("cpu_us", "CPU of the tool a drop, us", 1.0, 1.0),
    ("peak_kb", "peak memory, MB", 1e-3, 1.0),
)
"""Key, title, scale to the unit, goal."""


def rows(kernel: str, results: Any) -> list[Row]:
    found = []
    ours = results["pwru-py"]
    for name, theirs in results.items():
        if name == "pwru-py":
            continue
        for one in (ours, theirs):
            one["cost_us"] = [
                1e6 / traced - 1e6 / bare
                for traced, bare in zip(one["traced"], one["bare"], strict=True)
            ]
        for key, title, scale, goal in FIGURES:
            if key == "run_ns" and not any(theirs[key]):
                continue
            series = [Series.of(value * scale for value in one[key]) for one in (ours, theirs)]
            wanted = None if name == _TOP else goal
            found.append(Row.of(f"{kernel}, {name}: {title}", series, wanted))
    return found


QUESTION = Question(
    "Drops",
    "`pwru-py --drops --summary-only` (left) beside each of the others: bpftrace 0.17 with "
    "`tracepoint:skb:kfree_skb { @[args->reason, kstack] = count() }`, dropwatch 1.5, "
    f"pwru with `--filter-func '{_DROPS}'`, and `pwru-py --drops --top`.",
    ("6.12",),
    measure,
    rows,
    ("pwru-py", "the other"),
)
