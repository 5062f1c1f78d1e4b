# SPDX-License-Identifier: Apache-2.0
"""How long a drop takes to be a line that somebody can read: ``python -m bench.latency``.

No guest: drops on this machine, in namespaces made for it. From just before the system call that
sends the packet, in which it is dropped, until the line has come out of the tracer's pipe or
terminal.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import pty
import random
import re
import select
import signal
import socket
import statistics
import subprocess
import sys
import time
import tty
from collections.abc import Iterator
from dataclasses import dataclass

from bench.inside.traffic import inside
from bench.table import markdown
from tests.native.net import B, Net

_ASKED, _OTHERS = 4100, 4000
_FILTER = f"udp and (dst port {_ASKED} or dst port {_OTHERS})"
_PORT = re.compile(rf'({re.escape(B)}:|"dport": ?){_ASKED}\b'.encode())
_PAUSES_S = 0.02, 0.08
_LATEST_S = 5.0
_FLOOD = f"""
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
while True:
    s.sendto(b"x", ("{B}", {_OTHERS}))
    time.sleep(0.001)
"""


@dataclass(frozen=True, slots=True)
class Case:
    """``terminal``: the tracer writes to one; ``flood``: of another 1 000 drops a second."""

    title: str
    arguments: tuple[str, ...] = ()
    terminal: bool = False
    flood: bool = False


CASES = (
    Case("a line, to a pipe"),
    Case("a line, to a terminal", terminal=True),
    Case("JSON, to a pipe", ("--output-json",)),
    Case("JSON, with `--advice`", ("--output-json", "--advice")),
    Case("JSON, with `--journey` in place of `--drops`", ("--output-json", "--journey")),
    Case("a line, to a terminal, among 1 000 drops a second", terminal=True, flood=True),
    Case("JSON, to a pipe, among 1 000 drops a second", ("--output-json",), flood=True),
)


@contextlib.contextmanager
def tracing(net: Net, case: Case) -> Iterator[int]:
    """The descriptor that its output is read from."""
    ready = net.directory / "ready"
    ready.unlink(missing_ok=True)
    output, its = pty.openpty() if case.terminal else os.pipe()
    if case.terminal:
        tty.setraw(its)
    way = () if "--journey" in case.arguments else ("--drops",)
    tracer = subprocess.Popen(
        [sys.executable, "-m", "pwru_py", *way, "--filter-netns", net.netns("b"),
         "--ready-file", str(ready), *case.arguments, _FILTER],
        stdin=subprocess.DEVNULL, stdout=its, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(its)
    try:
        begun = time.monotonic()
        while not ready.exists():
            if tracer.poll() is not None or time.monotonic() > begun + 30:
                raise SystemExit("bench: it does not trace")
            time.sleep(0.05)
        yield output
        tracer.send_signal(signal.SIGTERM)
        while _read(output, 10):
            pass
        tracer.wait(30)
    finally:
        tracer.kill()
        tracer.wait()
        os.close(output)


def _read(output: int, seconds: float) -> bytes:
    """b'' at the end, or when nothing comes."""
    if not select.select([output], [], [], seconds)[0]:
        return b""
    with contextlib.suppress(OSError):  # a terminal that nobody writes to any more
        return os.read(output, 1 << 16)
    return b""


def _wait(output: int) -> None:
    """Until a whole line has the port."""
    seen, end = b"", time.monotonic() + _LATEST_S
    while not _PORT.search(seen.rpartition(b"\n")[0]):
        if time.monotonic() > end:
            raise SystemExit(f"bench: no line within {_LATEST_S} s: {seen[-300:]!r}")
        seen = seen[-1000:] + _read(output, _LATEST_S)


def measure(net: Net, case: Case, count: int) -> list[float]:
    """Milliseconds of each."""
    found = []
    with inside(net.name("a")):
        sender = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    flood = ["ip", "netns", "exec", net.name("a"), sys.executable, "-I", "-S", "-c", _FLOOD]
    with tracing(net, case) as output:
        others = subprocess.Popen(flood) if case.flood else None
        try:
            for number in range(count + 1):
                begun = time.monotonic()
                sender.sendto(b"x", (B, _ASKED))
                _wait(output)
                if number:  # the first reads files
                    found.append((time.monotonic() - begun) * 1e3)
                end = time.monotonic() + random.uniform(*_PAUSES_S)
                while (left := end - time.monotonic()) > 0:
                    _read(output, left)
        finally:
            if others is not None:
                others.kill()
                others.wait()
    sender.close()
    return found


def _row(case: Case, found: list[float]) -> list[str]:
    parts = statistics.quantiles(found, n=100)
    return [case.title, *(f"{value:.1f}" for value in (parts[49], parts[94], max(found)))]


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.latency", description=__doc__)
    parser.add_argument("--count", type=int, default=200, help="drops of each case")
    given = parser.parse_args()
    with Net() as net:
        rows = [_row(case, measure(net, case, given.count)) for case in CASES]
    print(markdown(["ms", "median", "95 of 100", "most"], rows))


if __name__ == "__main__":
    main()
