# SPDX-License-Identifier: Apache-2.0
"""Everything, one guest after the other, into ``bench/RESULTS.md``: ``python -m bench``."""

from __future__ import annotations

import argparse
import ctypes.util
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from bench import flood, hits, start
from bench.functions import has_multi
from bench.tools import Tool, peer, pwru_py
from tests.vm.kernels import KERNELS

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """\
# pwru-py beside pwru

Written by `python -m bench`. Both tools ran in the same guest, in turns. Guests are emulated in
software, so ratios count, not the figures; "±" is half of (greatest - least) / median.
What each line means: [README.md](README.md).
"""


def sections(kernels: Sequence[str], tools: Sequence[Tool], rounds: int) -> Iterator[str]:
    """Markdown, a section each; yielded as they are measured."""
    yield HEAD
    yield "\n".join([f"- {tool.name} {tool.version}" for tool in tools] + _machine())
    multi = [kernel for kernel in kernels if has_multi(kernel)]
    for kernel in multi:
        release, measured = start.measure(
            kernel, tools, rounds=rounds, events=start.EVENTS, icount=False, backend=""
        )
        shown = start.table(measured, tools, start.WALL)
        yield f"## Start and stop, {release}\n\nFilter `{start.FILTER[0]}`.\n\n{shown}"
    for kernel in multi[:1]:
        release, measured = start.measure(
            kernel, tools, rounds=2, events=0, icount=True, backend=""
        )
        yield (
            f"## Start under icount, {release}\n\nOne CPU, whose clock counts instructions: "
            f"a second is 10⁹ of them.\n\n{start.table(measured, tools, start.ICOUNT)}"
        )
    for kernel in kernels:
        release, results = hits.measure(kernel, tools, icount=True, rounds=2, packets=300)
        yield (
            f"## A probe hit under icount, {release}\n\n"
            f"A nanosecond is one instruction.\n\n{hits.table([(kernel, results)], tools)}"
        )
    for kernel in kernels:
        release, figures = flood.measure(kernel, tools, rounds=rounds)
        yield f"## A flood, {release}\n\n{flood.table([(kernel, figures)], tools)}"


def _machine() -> list[str]:
    libbpf = ctypes.util.find_library("bpf") or "libbpf"
    qemu = subprocess.run(["qemu-system-x86_64", "--version"], capture_output=True, text=True)
    return [
        f"- Python {platform.python_version()}, {libbpf}",
        f"- {qemu.stdout.splitlines()[0] if qemu.stdout else 'QEMU'}",
    ]


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--kernel", nargs="*", default=["6.12", "newest", "6.1", "5.10"], choices=sorted(KERNELS)
    )
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path, default=RESULTS)
    given = parser.parse_args(argv)
    written: list[str] = []
    for section in sections(given.kernel, (pwru_py(), peer()), given.rounds):
        print(f"{section}\n", flush=True)
        written.append(section)
        given.output.write_text("\n\n".join(part.strip("\n") for part in written) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
