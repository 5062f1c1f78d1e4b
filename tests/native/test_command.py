# SPDX-License-Identifier: Apache-2.0
"""``--exec``, ``pwru-py-ping``, ``--filter-cgroup``: a command's packets, no others."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from pwru_py.kernel.cgroup import own_group
from tests.kernel.lab import Trace
from tests.native.net import A, B, Net
from tests.native.test_journey import NAT, PING, PONG, bridged, journeys

__all__ = ["bridged"]  # a fixture

PWRU = [sys.executable, "-m", "pwru_py"]
PING_COMMAND = str(Path(sys.executable).parent / "pwru-py-ping")


def run(*words: str, status: int = 0) -> Trace:
    done = subprocess.run([*words], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == status, done.stderr
    return Trace(done.returncode, done.stdout, done.stderr)


def inside(net: Net, name: str, command: str) -> str:
    """What ``--exec`` takes to run it in a namespace."""
    return f"ip netns exec {Path(net.netns(name)).name} {command}"


def groups() -> list[str]:
    """What is left of commands' control groups."""
    with own_group() as group:
        found = os.listdir(Path(group).parent)
    return [name for name in found if name.startswith("pwru-py-") and not group.endswith(name)]


@contextmanager
def others(net: Net) -> Iterator[None]:
    """Another process pings meanwhile, the same host."""
    ping = subprocess.Popen(
        inside(net, "a", f"ping -i 0.02 {B}").split(), stdout=subprocess.DEVNULL
    )
    try:
        yield
    finally:
        ping.kill()
        ping.wait()


def test_its_packets_and_the_answers_alone(net: Net) -> None:
    with others(net):
        trace = run(*PWRU, "--journey", "--exec", inside(net, "a", f"ping -c1 -W5 {B}"))
    assert journeys(net, trace) == [PING, PONG]
    assert "1 received, 0% packet loss" in trace.stderr, "the command's own words"
    assert not groups()


def test_the_command_keeps_its_output_where_a_file_has_the_trace(net: Net) -> None:
    file = net.directory / "command.jsonl"
    ping = inside(net, "a", f"ping -c1 -W5 {B}")
    trace = run(*PWRU, "--journey", "--output-json", "-w", str(file), "--exec", ping)
    assert "1 received" in trace.stdout
    *records, summary = map(json.loads, file.read_text().splitlines())
    assert [record["type"] for record in records] == ["journey", "journey"]
    assert summary["type"] == "summary"


def test_answers_on_both_sides_of_a_translation(net: Net) -> None:
    """The router hides a's address: the answer comes back to the router's."""
    net.run("r", NAT)
    try:
        trace = run(*PWRU, "--journey", "--exec", inside(net, "a", f"ping -c1 -W5 {B}"))
    finally:
        net.run("r", "nft delete table ip n")
    asked, reply = journeys(net, trace)
    assert f" [r]  out  e2               nat source {A} -> 10.77.2.1\n" in asked
    assert reply.splitlines()[1:4] == [
        " [b]  out  e3",
        " [r]  in   e2",
        f" [r]  out  e1               nat target 10.77.2.1 -> {A}",
    ]


def test_an_icmp_error_is_an_answer(net: Net) -> None:
    trace = run(*PWRU, "--journey", "--exec", inside(net, "a", "ping -c1 -W5 10.99.9.9"), status=1)
    lost, told = journeys(net, trace)[:2]
    assert "an ICMP error is sent back" in lost
    assert told.startswith(f"packet 2  10.77.1.1->{A}(icmp unreachable)")


def test_a_neighbour_that_does_not_answer(net: Net) -> None:
    """ping's own packet waits in the neighbour's queue, where no tracepoint is."""
    trace = run(*PWRU, "--journey", "--exec", inside(net, "a", "ping -c1 -W1 10.77.1.77"), status=1)
    assert journeys(net, trace)[0].startswith("packet 1  10.77.1.2->10.77.1.77(arp request)")


def test_tcp_of_both_sides(net: Net) -> None:
    serve = "import socket;s=socket.create_server(('10.77.2.2',7020));s.accept()[0].recv(9)"
    python = ["ip", "netns", "exec", Path(net.netns("b")).name, "/usr/bin/python3", "-c", serve]
    server = subprocess.Popen(python)
    try:
        time.sleep(0.5)
        talk = f"bash -c 'echo x > /dev/tcp/{B}/7020'"
        trace = run(*PWRU, "--output-json", "--exec", inside(net, "a", talk))
    finally:
        server.kill()
        server.wait()
    events = [e for e in map(json.loads, trace.stdout.splitlines()) if e["type"] == "event"]
    ends = {(e["tuple"]["sport"], e["tuple"]["dport"]) for e in events if e["tuple"]}
    assert len(ends) == 2, "both directions of one connection, nothing else"
    assert all(7020 in pair for pair in ends)
    ours = {e["tuple"]["flags"] for e in events if e["tuple"] and e["tuple"]["dport"] == 7020}
    assert {"SYN", "ACK", "PSH,ACK"} <= {",".join(sorted(f.split(","))[::-1]) for f in ours}


def test_the_exit_status_is_the_commands(net: Net) -> None:
    run(*PWRU, "--journey", "--exec", "sh -c 'exit 7'", status=7)
    run(*PWRU, "--journey", "--exec", "sh -c 'kill -9 $$'", status=128 + signal.SIGKILL)
    trace = run(*PWRU, "--exec", "no-such-command", status=127)
    assert trace.stderr == "pwru-py: no command 'no-such-command': not in PATH, or not executable\n"


def test_signals_go_to_the_command(net: Net) -> None:
    for number in (signal.SIGINT, signal.SIGTERM):
        ready = net.directory / f"signal-{number}"
        command = [*PWRU, "--journey", "--ready-file", str(ready), "--exec", "sleep 30"]
        tracer = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
        while not ready.exists() and tracer.poll() is None:
            time.sleep(0.05)
        time.sleep(0.2)
        tracer.send_signal(number)
        _out, err = tracer.communicate(timeout=30)
        assert tracer.returncode == 128 + number, err
        assert b"0 packets" in err, "the summary still comes"
    assert not groups()


def test_a_killed_session_leaves_no_group(net: Net) -> None:
    ready = net.directory / "killed"
    command = [*PWRU, "--journey", "--ready-file", str(ready), "--exec", "sleep 1"]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    while not ready.exists() and tracer.poll() is None:
        time.sleep(0.05)
    tracer.kill()
    tracer.wait()
    time.sleep(1.5)
    assert not groups()


def test_sockets_of_a_group_and_those_below(net: Net) -> None:
    with own_group() as group:
        below = Path(group, "below")
        below.mkdir()
        try:
            ping = inside(net, "a", f"ping -c1 -W5 {B}")
            with others(net), net.tracing("--journey", "--filter-cgroup", group) as traces:
                join = f"echo $$ > {below}/cgroup.procs && exec {ping}"
                subprocess.run(["sh", "-c", join], check=True, capture_output=True, timeout=30)
        finally:
            below.rmdir()
    assert journeys(net, traces[0]) == [PING, PONG]


def test_the_six_lines_of_tracepkts_example(bridged: Net) -> None:
    """From a host to a container on its bridge: bridge, port, container, and back."""
    trace = run(*inside(bridged, "r", f"{PING_COMMAND} --tracepkt -c1 -W5 {A}").split())
    lines = [line.split(maxsplit=3) for line in trace.stdout.splitlines()]
    host, container = f"{bridged.inode('r')}]", f"{bridged.inode('a')}]"
    crossed = [(host, "br0"), (host, "e1"), (container, "e0")]
    assert [(line[1], line[2]) for line in lines] == crossed + crossed[::-1]
    assert [line[3].split()[0] for line in lines] == ["request"] * 3 + ["reply"] * 3
    assert lines[0][3].endswith(f".001 10.77.1.1 -> {A}")
    assert all(
        len(line.split("]")[0]) == len("[  4026531957") for line in trace.stdout.splitlines()
    )


def test_pings_hops_in_the_form_of_tracepkt(net: Net) -> None:
    """Within ``ip netns exec``, which hides where control groups are mounted."""
    trace = run(*inside(net, "a", f"{PING_COMMAND} --tracepkt -c1 -W5 {B}").split())
    lines = [line.split() for line in trace.stdout.splitlines()]
    crossed = [(net.inode("a"), "e0"), (net.inode("r"), "e1"), (net.inode("r"), "e2"),
               (net.inode("b"), "e3")]  # fmt: skip
    assert [(int(line[1][:-1]), line[2]) for line in lines] == crossed + crossed[::-1]
    assert [line[3] for line in lines] == ["request"] * 4 + ["reply"] * 4
    assert [line[5:] for line in lines] == [[A, "->", B]] * 4 + [[B, "->", A]] * 4
    assert all(line[4].endswith(".001") for line in lines)
    missing = run(*inside(net, "a", f"{PING_COMMAND} -c1 -W1 10.77.1.77").split(), status=1)
    assert "100% packet loss" in missing.stderr
