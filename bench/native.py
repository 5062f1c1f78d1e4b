# SPDX-License-Identifier: Apache-2.0
"""What a hit at a tracepoint costs on this machine: ``python -m bench.native [TREE ...]``.

No guest: the running kernel's own tracepoints, in namespaces made for it. Several source trees are
measured in turns, which tells what a change of the code is worth. Nanoseconds are those of the
kernel's statistics (BPF_ENABLE_STATS), which last as long as this process.
"""

from __future__ import annotations

import argparse
import ctypes
import os
import signal
import struct
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.inside import bpfstat
from bench.table import Series, markdown
from pwru_py.kernel.libbpf import BpfObject, Libbpf
from tests.native.net import Net
from tests.vm.kernels import PROJECT

_BPF, _ENABLE_STATS = 321, 32
_SEND = """
import socket, sys, time
count, pause = int(sys.argv[1]), float(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(count):
    try:
        s.sendto(b"x", ("10.77.2.2", 4000))
    except ConnectionRefusedError:
        pass
    if pause:
        time.sleep(pause)
"""
ALL = ("--backend", "tracepoint", "--output-json")


@dataclass(frozen=True, slots=True)
class Case:
    """``arguments`` of the tracer; ``count`` UDP packets to a closed port, ``pause_s`` apart."""

    title: str
    arguments: tuple[str, ...]
    count: int
    pause_s: float
    programs: tuple[str, ...] = ("tracepoint_", "drop_skb")


CASES = (
    Case("a match, a packet every ms", (*ALL, "udp dst port 4000"), 1000, 0.001),
    Case("a match, packets in a row", (*ALL, "udp dst port 4000"), 3000, 0),
    Case("a rejected hit", (*ALL, "udp dst port 4001"), 10000, 0),
    Case("a drop with --drops", ("--drops", "--output-json", "udp"), 10000, 0),
    Case("a drop with --drops --top", ("--drops", "--top", "--output-json", "udp"), 10000, 0),
)


def _enable_stats() -> int:
    attr = ctypes.create_string_buffer(struct.pack("=I", 0), 128)
    libc = ctypes.CDLL(None, use_errno=True)
    fd = int(libc.syscall(_BPF, _ENABLE_STATS, attr, len(attr)))
    if fd < 0:
        raise SystemExit(f"bench: no statistics of programs: {os.strerror(ctypes.get_errno())}")
    return fd


@contextmanager
def _tracing(net: Net, tree: Path, arguments: Sequence[str]) -> Iterator[None]:
    ready = net.directory / "ready"
    ready.unlink(missing_ok=True)
    command = [sys.executable, "-m", "pwru_py", "--ready-file", str(ready), *arguments]
    environment = {**os.environ, "PYTHONPATH": f"{tree}:{tree / 'filters'}"}
    out = subprocess.DEVNULL
    tracer = subprocess.Popen(command, env=environment, cwd=tree, stdout=out, stderr=out)
    try:
        for _ in range(600):
            if ready.exists():
                break
            time.sleep(0.05)
        else:
            raise SystemExit(f"bench: {tree} does not trace")
        yield
        tracer.send_signal(signal.SIGTERM)
        tracer.wait(60)
    finally:
        tracer.kill()
        tracer.wait()


def _runs(case: Case) -> tuple[int, int]:
    found = bpfstat.programs(case.programs)
    return sum(p.run_ns for p in found), sum(p.runs for p in found)


def measure(net: Net, tree: Path, case: Case) -> float:
    """Nanoseconds a hit."""
    with _tracing(net, tree, case.arguments):
        time.sleep(0.3)
        return _cost(net, case)


def _cost(net: Net, case: Case) -> float:
    arguments = [str(case.count), str(case.pause_s)]
    before = _runs(case)
    net.python("a", f"import sys; sys.argv[1:] = {arguments}\n{_SEND}")
    after = _runs(case)
    return (after[0] - before[0]) / max(1, after[1] - before[1])


def measure_by_stack(net: Net) -> float:
    """Nanoseconds a drop of a program that counts by reason and stack."""
    target = net.directory / "stacks.o"
    command = ["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu"]
    source = Path(__file__).with_name("stacks.bpf.c")
    subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True)
    with BpfObject(Libbpf(), target.read_bytes()) as counter:
        counter.load()
        (program,) = counter.programs()
        link = program.attach()
        cost = _cost(net, Case("", (), 10000, 0, ("count_stacks",)))
        link.destroy()
    return cost


_ANSWER = """
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("0.0.0.0", 4002))
if not os.fork():
    os.closerange(0, 3)
    said = b""
    while said != b"end":
        said, sender = s.recvfrom(9)
        s.sendto(said, sender)
"""
_ASK = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("10.77.2.2", 4002))
s.settimeout(5)
began = time.perf_counter()
for n in range(10000):
    s.send(b"x")
    s.recv(9)
print(10000 / (time.perf_counter() - began))
s.send(b"end")
s.recv(9)
"""


def measure_rate(net: Net, tree: Path, *, traced: bool) -> float:
    """Questions and answers a second over UDP: nothing is dropped."""
    net.python("b", _ANSWER)
    if not traced:
        return float(net.python("a", _ASK))
    with _tracing(net, tree, ("--drops", "--output-json")):
        return float(net.python("a", _ASK))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m bench.native", description=__doc__)
    parser.add_argument("tree", nargs="*", type=Path, default=[PROJECT])
    parser.add_argument("--rounds", type=int, default=7)
    given = parser.parse_args()
    stats = _enable_stats()
    rows = []
    with Net() as net:
        for case in CASES:
            found: list[list[float]] = [[] for _ in given.tree]
            for _ in range(given.rounds):
                for series, tree in zip(found, given.tree, strict=True):
                    series.append(measure(net, tree.absolute(), case))
            rows.append([f"{case.title}, ns", *(str(Series.of(series)) for series in found)])
            print(*rows[-1], sep="  ", file=sys.stderr)
        ratios = [
            Series.of(
                measure_rate(net, tree.absolute(), traced=True)
                / measure_rate(net, tree.absolute(), traced=False)
                for _ in range(given.rounds)
            )
            for tree in given.tree
        ]
        title = "UDP round trips a second with --drops, of those without"
        rows.append([title, *map(str, ratios)])
        by_stack = Series.of(measure_by_stack(net) for _ in range(given.rounds))
        others = [""] * (len(given.tree) - 1)
        rows.append(["a drop counted by reason and stack, ns", str(by_stack), *others])
    os.close(stats)
    print(markdown(["", *map(str, given.tree)], rows))


if __name__ == "__main__":
    main()
