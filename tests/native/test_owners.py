# SPDX-License-Identifier: Apache-2.0
"""``--filter-pid``, ``--filter-comm``, ``--output-owner``, natively: two processes ask a server."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.kernel.lab import Trace
from tests.native.net import Net
from tests.native.test_command import PWRU, run
from tests.native.test_journey import NAT

# UDP with a socket made before the tracer, TCP with one made afterwards.
_SERVE = """
import socket
s = socket.socket(2, 2); s.bind(("10.77.2.2", 7301))
t = socket.socket(); t.setsockopt(1, 2, 1); t.bind(("10.77.2.2", 7302)); t.listen()
print(flush=True)
for _ in range(2):
    s.sendto(b"y", s.recvfrom(9)[1])
    with t.accept()[0] as taken:
        taken.sendall(taken.recv(9)); taken.recv(9)
"""
_ASK = """
import socket, sys
name, port = sys.argv[1], int(sys.argv[2])
open("/proc/self/comm", "w").write(name)
s = socket.socket(2, 2); s.bind(("10.77.1.2", port))
print(flush=True)
input()
s.sendto(b"x", ("10.77.2.2", 7301)); s.recv(9)
with socket.socket() as t:
    t.setsockopt(1, 2, 1); t.bind(("10.77.1.2", port))
    t.connect(("10.77.2.2", 7302)); t.sendall(b"x"); t.recv(9)
"""
PACKETS = "host 10.77.2.2 and (udp port 7301 or tcp port 7302)"


def python(net: Net, namespace: str, *words: str) -> subprocess.Popen[str]:
    """It has printed a line."""
    command = ["ip", "netns", "exec", Path(net.netns(namespace)).name, "/usr/bin/python3", "-c"]
    process = subprocess.Popen(
        [*command, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "\n"
    return process


@contextmanager
def asking(net: Net) -> Iterator[tuple[subprocess.Popen[str], subprocess.Popen[str]]]:
    """Two processes of other names; each asks when it reads a line. They have asked behind it."""
    server = python(net, "b", _SERVE)
    both = python(net, "a", _ASK, "own\x1bone", "7311"), python(net, "a", _ASK, "two", "7321")
    try:
        yield both
    finally:
        for process in (*both, server):
            process.kill()
            process.wait()


def ask(*processes: subprocess.Popen[str]) -> None:
    for process in processes:
        process.communicate("\n", timeout=30)
        assert process.returncode == 0


def ports(trace: Trace) -> set[int]:
    """Of those who asked."""
    ends = {(e["tuple"]["sport"], e["tuple"]["dport"]) for e in trace.events if e["tuple"]}
    return {port for pair in ends for port in pair} - {7301, 7302}


@pytest.mark.parametrize("by", ["pid", "comm"])
def test_one_of_two(net: Net, by: str) -> None:
    net.run("r", NAT)
    try:
        with asking(net) as (one, two):
            chosen = (
                ("--filter-pid", str(one.pid)) if by == "pid" else ("--filter-comm", "own\x1bone")
            )
            with net.trace(*chosen, "--output-owner", "--filter-track-skb") as traces:
                ask(one, two)
    finally:
        net.run("r", "nft delete table ip n")
    (trace,) = traces
    assert ports(trace) == {7311}
    protos = {
        e["tuple"]["proto"] for e in trace.events if e["tuple"] and e["tuple"]["dport"] == 7311
    }
    assert protos == {6, 17}, "answers to a socket from before, and to one that is new"
    places = {e["netns"] for e in trace.events if e["tuple"] and e["tuple"]["dport"] == 7311}
    assert places == {net.inode(name) for name in "arb"}, "on both sides of the translation"
    owner = {"pid": one.pid, "comm": "own\\x1bone"}
    came = [e for e in trace.events if e["tuple"] and e["tuple"]["dport"] == 7311]
    here = [e for e in came if e["netns"] == net.inode("a")]
    assert any(e["owner"] == owner and e["pid"] != one.pid for e in here), "PROCESS is another"
    owners = {e["owner"]["comm"] for e in trace.events if e["owner"]}
    assert owners == {"own\\x1bone", "python3"}, "the server answers"


def test_the_column_without_a_filter(net: Net) -> None:
    with asking(net) as (one, two), net.trace("--output-owner", PACKETS) as traces:
        ask(one, two)
    (trace,) = traces
    assert ports(trace) == {7311, 7321}
    for process, name, port in ((one, "own\\x1bone", 7311), (two, "two", 7321)):
        sent = [e for e in trace.events if e["tuple"] and e["tuple"]["sport"] == port]
        left = [
            e for e in sent if e["netns"] == net.inode("a") and e["func"] == "net:net_dev_queue"
        ]
        told = [e["owner"] for e in left]
        assert told
        # The last packets of a connection may be sent when the process is no more.
        assert all(owner == {"pid": process.pid, "comm": name} for owner in told)
    with (
        net.tracing("--output-owner", "--backend", "tracepoint", PACKETS) as shown,
        asking(net) as (one, two),
    ):
        ask(one, two)
    header, *lines = shown[0].stdout.splitlines()
    assert " OWNER " in header
    assert any(f" own\\x1bone:{one.pid} " in line for line in lines)


def test_a_name_that_nobody_has_yet(net: Net) -> None:
    """Sockets of processes that start afterwards count; of drops, where the socket is known."""
    program = (
        "import socket; open('/proc/self/comm', 'w').write('{}')\n"
        "try: socket.socket(2, 2).sendto(b'x', ('10.77.2.2', {}))\n"
        "except PermissionError: pass"
    )
    chain = "type filter hook output priority 0; udp dport { 7331, 7332 } drop;"
    net.run("a", f"nft 'table ip own {{ chain out {{ {chain} }}; }}'")
    try:
        with net.tracing("--drops", "--output-json", "--filter-comm", "late") as traces:
            net.python("a", program.format("late", 7331))
            net.python("a", program.format("later", 7332))
    finally:
        net.run("a", "nft delete table ip own")
    drops = [e for e in traces[0].events if e["tuple"] and e["tuple"]["proto"] == 17]
    assert {e["tuple"]["dport"] for e in drops} == {7331}


def test_a_journey_of_a_process(net: Net) -> None:
    with asking(net) as (one, two):
        with net.tracing("--journey", "--output-json", "--filter-pid", str(one.pid)) as traces:
            ask(one, two)
    ways = [r["tuple"] for r in traces[0].records if r["type"] == "journey"]
    udp = {(t["sport"], t["dport"]) for t in ways if t["proto"] == 17}
    assert udp == {(7311, 7301), (7301, 7311)}


def test_no_such_process(net: Net) -> None:
    trace = run(*PWRU, "--filter-pid", "4194304", status=1)
    assert trace.stderr == "pwru-py: no process 4194304 is there now\n"
