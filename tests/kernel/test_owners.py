# SPDX-License-Identifier: Apache-2.0
"""``--filter-pid``, ``-comm``, ``-cgroup``, ``--output-owner``: packets of some, not of others."""

from __future__ import annotations

import shlex

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, PWRU, Lab

_SERVE = """
import socket
s = socket.socket(2, 2); s.bind(("10.1.0.2", 7031))
open("/tmp/owners-server", "w").close()
while True:
    s.sendto(b"y", s.recvfrom(9)[1])
"""
# A socket that is there before the tracer, and one that is made afterwards.
_ASK = """
import os, socket, time
def ask(s, port):
    s.bind(("10.1.0.1", port)); yield
    s.settimeout(20); s.sendto(b"x", ("10.1.0.2", 7031)); s.recv(9); yield
open("/proc/self/comm", "w").write("owner-{name}")
early = ask(socket.socket(2, 2), {port}); next(early)
open("/tmp/owners-n", "w").write(str(os.getpid())); os.rename("/tmp/owners-n", "/tmp/owners-{name}")
while not os.path.exists("/tmp/owners-go"):
    time.sleep(0.05)
next(early)
late = ask(socket.socket(2, 2), {port} + 1); next(late); next(late)
open("/tmp/owners-{name}-done", "w").close()
"""


def test_one_of_two_processes(lab: Lab) -> None:
    guest = lab.guest
    programs = (
        ("b", _SERVE, "server"),
        ("a", _ASK.format(name="one", port=7041), "one"),
        ("a", _ASK.format(name="two", port=7051), "two"),
    )
    started = []
    for netns, program, name in programs:
        python = f"exec ip netns exec {netns} /usr/bin/python3 -I -S -c {shlex.quote(program)}"
        started.append(guest.start(python))
        guest.wait_file(f"/tmp/owners-{name}", 30)
    one = int(lab.run("cat /tmp/owners-one").stdout)
    try:
        functions = ("--filter-func", FEW_FUNCTIONS)
        with lab.tracing("--filter-pid", str(one), "--output-owner", *functions) as tracing:
            lab.run("touch /tmp/owners-go")
            guest.wait_file("/tmp/owners-one-done", 30)
            guest.wait_file("/tmp/owners-two-done", 30)
    finally:
        for process in started:
            process.stop()
    assert tracing.trace is not None
    events = [e for e in tracing.trace.events if e["tuple"] and e["tuple"]["proto"] == 17]
    ways = {(e["tuple"]["sport"], e["tuple"]["dport"]) for e in events}
    assert ways == {(7041, 7031), (7031, 7041), (7042, 7031), (7031, 7042)}
    owner = {"pid": one, "comm": "owner-one"}
    answers = [e for e in events if e["tuple"]["sport"] == 7031 and e["netns"] == lab.inode("a")]
    assert any(e["context"] == "softirq" and e["owner"] == owner for e in answers)
    assert any(e["pid"] != one and e["owner"] == owner for e in answers), "PROCESS is another"
    owners = {e["owner"]["comm"] for e in events if e["owner"]}
    assert owners == {"owner-one", "python3"}, "the server answers"
    missing = lab.run(f"{PWRU} --filter-pid {one}")
    assert (missing.rc, missing.stderr) == (1, f"pwru-py: no process {one} is there now\n")


_SINK = """
import socket
open("/proc/self/comm", "w").write("owner-sink")
udp = socket.socket(2, 2); udp.bind(("10.1.0.2", 7061))
tcp = socket.create_server(("10.1.0.2", 7062))
open("/tmp/owners-sink", "w").close()
udp.recv(9); udp.recv(9)
for _ in range(2):
    tcp.accept()[0].close()
"""
_FEED = """
import socket
open("/proc/self/comm", "w").write("owner-feed")
for port in (7071, 7072):
    udp = socket.socket(2, 2); udp.bind(("10.1.0.1", port))
    udp.sendto(b"x", ("10.1.0.2", 7063)); udp.sendto(b"x", ("10.1.0.2", 7061))
for port in (7073, 7074):
    tcp = socket.socket(); tcp.bind(("10.1.0.1", port))
    tcp.settimeout(20); tcp.connect(("10.1.0.2", 7062)); tcp.recv(1); tcp.close()
"""


def test_a_server_that_is_sent_to(lab: Lab) -> None:
    """The first packet to it is known once its socket is found, the others from the device on."""
    python = f"exec ip netns exec b /usr/bin/python3 -I -S -c {shlex.quote(_SINK)}"
    sink = lab.guest.start(python)
    try:
        lab.guest.wait_file("/tmp/owners-sink", 30)
        functions = ("--filter-func", f"{FEW_FUNCTIONS}|tcp_v4_do_rcv|__udp_enqueue_schedule_skb")
        with lab.tracing("--filter-comm", "owner-sink", "--output-owner", *functions) as tracing:
            done = lab.inside("a", f"/usr/bin/python3 -I -S -c {shlex.quote(_FEED)}")
            assert done.rc == 0, done.stderr
    finally:
        sink.stop()
    assert tracing.trace is not None
    events = [e for e in tracing.trace.events if e["tuple"] and e["tuple"]["proto"] in (6, 17)]
    ports = {frozenset((e["tuple"]["sport"], e["tuple"]["dport"])) for e in events}
    assert ports == {frozenset(each) for each in ((7071, 7061), (7072, 7061), (7073, 7062),
                                                  (7074, 7062))}  # fmt: skip
    came = [e for e in events if e["tuple"]["dport"] in (7061, 7062)]
    # Of connections: as answers to the server's, they are its own wherever those have passed.
    begin = [e for e in came if e["tuple"]["proto"] == 17 or e["tuple"]["flags"] == "SYN"]
    assert {e["netns"] for e in begin} == {lab.inode("b")}, "the sender's are another process's"
    firsts = [e["func"] for e in came if e["tuple"]["sport"] == 7071]
    assert "__udp_enqueue_schedule_skb" in firsts
    assert "ip_rcv" not in firsts, "its socket was not found yet"
    assert "ip_rcv" in [e["func"] for e in came if e["tuple"]["sport"] == 7072]
    begins = [e for e in came if e["tuple"]["flags"] == "SYN"]
    assert "ip_rcv" in [e["func"] for e in begins if e["tuple"]["sport"] == 7074]
    assert "tcp_v4_do_rcv" in [e["func"] for e in begins if e["tuple"]["sport"] == 7073]
    # Until the packet leaves the sender's socket, that tells.
    takers = [e["owner"] for e in begins if e["func"] == "tcp_v4_do_rcv"]
    takers += [e["owner"] for e in came if e["func"] == "__udp_enqueue_schedule_skb"]
    assert {each["comm"] for each in takers} == {"owner-sink"}


_GROUP = "/sys/fs/cgroup/owners"


@pytest.mark.representative("5.10", "newest")
def test_a_control_group_and_no_process_outside(lab: Lab) -> None:
    ping = "exec ip netns exec a ping -c1 -W5 10.1.0.2"
    try:
        assert lab.run(f"mkdir -p {_GROUP}/below").rc == 0
        arguments = ("--filter-cgroup", _GROUP, "--filter-func", FEW_FUNCTIONS, "icmp")
        with lab.tracing(*arguments) as tracing:
            assert lab.run(ping).rc == 0
            assert lab.run(f"echo $$ > {_GROUP}/below/cgroup.procs; {ping}").rc == 0
            assert lab.run(ping).rc == 0
    finally:
        lab.run(f"rmdir {_GROUP}/below {_GROUP}")
    assert tracing.trace is not None
    echoes = {(e["tuple"]["icmp"]["id"], e["tuple"]["icmp"]["type"]) for e in tracing.trace.events}
    assert len({one for one, _ in echoes}) == 1, "of three pings one"
    assert {kind for _, kind in echoes} == {8, 0}, "both ways"
    missing = lab.run(f"{PWRU} --filter-cgroup {_GROUP}")
    assert missing.rc == 1
    assert missing.stderr.count("\n") == 1
    assert _GROUP in missing.stderr
