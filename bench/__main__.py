# SPDX-License-Identifier: Apache-2.0
"""Everything, one guest after the other: ``python -m bench``; or some of it, by name.

What was measured is kept in ``results.json``, by question and kernel, so that a part can be
measured again; ``RESULTS.md`` and ``results.svg`` are made of all that is there.
"""

from __future__ import annotations

import argparse
import ctypes.util
import json
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from bench import (
    drops,
    engine,
    filter,
    flood,
    growth,
    journey,
    kprobes,
    options,
    rules,
    stacks,
    start,
)
from bench.picture import draw
from bench.table import Row, markdown
from bench.tools import Tool, peer, pwru_py
from tests.vm.errors import LabError
from tests.vm.kernels import KERNELS

HERE = Path(__file__).parent
KEPT, RESULTS, PICTURE = HERE / "results.json", HERE / "RESULTS.md", HERE / "results.svg"
QUESTIONS = {
    "start": start.QUESTION,
    "kprobes": kprobes.QUESTION,
    "hits": filter.WALL,
    "instructions": filter.ICOUNT,
    "further": filter.FURTHER,
    "stacks": stacks.QUESTION,
    "flood": flood.QUESTION,
    "growth": growth.QUESTION,
    "drops": drops.QUESTION,
    "journey": journey.QUESTION,
    "options": options.QUESTION,
    "rules": rules.QUESTION,
    "engine": engine.QUESTION,
}
HEAD = """\
# pwru-py beside pwru

Written by `make bench`. Both tools ran in the same guest, in turns. Guests are emulated in
software, so ratios count, not the figures; "±" is half of (greatest - least) / median.
What each line means: [README.md](README.md). Where the time goes, and what stands between a figure
and its goal: [performance](../docs/performance.md).

![ratios and goals, and how cost grows](results.svg)
"""

Kept = dict[str, dict[str, Any]]
"""Question, kernel: the guest's release, the tools, the date, what was measured."""


def load() -> Kept:
    kept: Kept = json.loads(KEPT.read_text()) if KEPT.exists() else {}
    return kept


def ask(name: str, kernel: str, tools: Sequence[Tool]) -> None:
    """Measures, and keeps it. A question that fails keeps what it had."""
    begin = time.monotonic()
    try:
        release, measured = QUESTIONS[name].measure(kernel, tools)
    except LabError as error:
        print(f"not measured: {name}, {kernel}: {error}", file=sys.stderr)
        return
    kept = load()
    kept.setdefault(name, {})[kernel] = {
        "release": release,
        "tools": [f"{tool.name} {tool.version}" for tool in tools],
        "on": [time.strftime("%F"), *_machine()],
        "measured": measured,
    }
    KEPT.write_text(json.dumps(kept, separators=(",", ":")) + "\n")
    print(f"{name}, {kernel}: {time.monotonic() - begin:.0f} s\n\n{_table(name, kernel, kept)}\n")


def _rows(name: str, kernel: str, kept: Kept) -> list[Row]:
    return QUESTIONS[name].rows(kernel, kept[name][kernel]["measured"])


def _table(name: str, kernel: str, kept: Kept) -> str:
    tools = QUESTIONS[name].heads or kept[name][kernel]["tools"]
    head = ["", *tools, "ratio", "goal"]
    return markdown(head, [row.cells() for row in _rows(name, kernel, kept)])


def _measured(kept: Kept) -> list[tuple[str, str]]:
    return [(name, kernel) for name, kernel in chosen((), ()) if kernel in kept.get(name, {})]


def report(kept: Kept) -> Iterator[str]:
    """The parts of RESULTS.md."""
    yield HEAD
    last = ""
    for name, kernel in _measured(kept):
        if name != last:
            yield f"## {QUESTIONS[name].title}\n\n{QUESTIONS[name].note}"
            last = name
        entry = kept[name][kernel]
        yield f"### {entry['release']}\n\n{_table(name, kernel, kept)}"
        yield ", ".join(entry["on"])


def write(kept: Kept) -> None:
    RESULTS.write_text("\n\n".join(part.strip("\n") for part in report(kept)) + "\n")
    rows = [row for name, kernel in _measured(kept) for row in _rows(name, kernel, kept)]
    draw(PICTURE, [row for row in rows if row.holds is not None], kept)


def _machine() -> list[str]:
    libbpf = ctypes.util.find_library("bpf") or "libbpf"
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True)
    version = qemu.stdout.partition("(")[0].strip() or "QEMU"
    return [f"Python {platform.python_version()}", libbpf, version]


def chosen(names: Sequence[str], kernels: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(question, kernel) in order; no names, no kernels: all."""
    for name in names or QUESTIONS:
        for kernel in QUESTIONS[name].kernels:
            if not kernels or kernel in kernels:
                yield name, kernel


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("question", nargs="*", help=f"of {', '.join(QUESTIONS)}; default: all")
    parser.add_argument("--kernel", nargs="*", default=[], choices=sorted(KERNELS))
    parser.add_argument("--draw", action="store_true", help="measure nothing, write the report")
    given = parser.parse_args(argv)
    if unknown := set(given.question) - set(QUESTIONS):
        parser.error(f"no such question: {', '.join(sorted(unknown))}")
    if not given.draw:
        tools = (pwru_py(), peer())
        for name, kernel in chosen(given.question, given.kernel):
            ask(name, kernel, tools)
    write(load())
    return 0


if __name__ == "__main__":
    sys.exit(main())
