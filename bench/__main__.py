# SPDX-License-Identifier: Apache-2.0
"""Everything, one guest after the other, into ``bench/RESULTS.md``: ``python -m bench``."""

from __future__ import annotations

import argparse
import ctypes.util
import platform
import subprocess
import sys
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from bench import filter, flood, start
from bench.functions import has_multi
from bench.tools import Tool, peer, pwru_py
from tests.vm.errors import LabError
from tests.vm.kernels import KERNELS

RESULTS = Path(__file__).parent / "RESULTS.md"
HEAD = """\
# pwru-py beside pwru

Written by `python -m bench`. Both tools ran in the same guest, in turns. Guests are emulated in
software, so ratios count, not the figures; "±" is half of (greatest - least) / median.
What each line means: [README.md](README.md).
"""


def sections(kernels: Sequence[str], tools: Sequence[Tool], rounds: int) -> Iterator[str]:
    """Markdown, a section each; yielded as they are measured. One that fails says so."""
    yield HEAD
    yield "\n".join([f"- {tool.name} {tool.version}" for tool in tools] + _machine())
    multi = [kernel for kernel in kernels if has_multi(kernel)]
    work = [partial(_start, kernel, tools, rounds) for kernel in multi]
    work += [partial(_start_icount, kernel, tools) for kernel in multi[:1]]
    work += [partial(_hits, kernel, tools) for kernel in kernels]
    work += [partial(_flood, kernel, tools, rounds) for kernel in kernels]
    for section in work:
        try:
            yield section()
        except LabError as error:
            yield f"## Not measured: {section.func.__name__[1:]}, {section.args[0]}\n\n    {error}"


def _start(kernel: str, tools: Sequence[Tool], rounds: int) -> str:
    release, measured = start.measure(
        kernel, tools, rounds=rounds, events=start.EVENTS, icount=False, backend=""
    )
    shown = start.table(measured, tools, start.WALL)
    return f"## Start and stop, {release}\n\nFilter `{start.FILTER[0]}`.\n\n{shown}"


def _start_icount(kernel: str, tools: Sequence[Tool]) -> str:
    release, measured = start.measure(kernel, tools, rounds=2, events=0, icount=True, backend="")
    return (
        f"## Start under icount, {release}\n\nOne CPU, whose clock counts instructions: "
        f"a second is 10⁹ of them.\n\n{start.table(measured, tools, start.ICOUNT)}"
    )


def _hits(kernel: str, tools: Sequence[Tool]) -> str:
    release, results = filter.measure(kernel, tools, icount=True, rounds=2, packets=300)
    return (
        f"## A probe hit under icount, {release}\n\n"
        f"A nanosecond is one instruction.\n\n{filter.table([(kernel, results)], tools)}"
    )


def _flood(kernel: str, tools: Sequence[Tool], rounds: int) -> str:
    release, figures = flood.measure(kernel, tools, rounds=rounds)
    return f"## A flood, {release}\n\n{flood.table([(kernel, figures)], tools)}"


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
