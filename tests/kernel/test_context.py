# SPDX-License-Identifier: Apache-2.0
"""Where a hit runs: a task, a softirq, or a hard interrupt, of a network card that makes one."""

from __future__ import annotations

import pytest

from tests.kernel.lab import Lab
from tests.kernel.test_backends import backends

# The cards of the guest take packets in their interrupt: drivers/net/ethernet/8390/lib8390.c.
UP = """
set -e
modprobe ne2k-pci
set -- $(ip -br link | awk '/02:00:00:00:0e:0/ {print $1}')
ip netns add wire
ip link set $2 netns wire
ip addr add 10.7.0.1/24 dev $1
ip link set $1 up
ip -n wire addr add 10.7.0.2/24 dev $2
ip -n wire link set $2 up
ping -c2 -i0.2 -W5 10.7.0.2
"""
DOWN = "ip netns del wire; modprobe -r ne2k-pci"
HARDIRQ = ("netif_rx", "enqueue_to_backlog")
SOFTIRQ = ("ip_rcv", "icmp_rcv")
# Every probe a breakpoint, that stays one: it runs as if in an NMI.
BREAKPOINTS = """
from pwru_py.attach import kprobe_events
from pwru_py.cli import main
kprobe_events._AT_ENTRY = 0
raise SystemExit(main())
"""


@pytest.fixture
def wire(lab: Lab) -> Lab:
    done = lab.run(UP)
    assert done.rc == 0, done
    return lab


def test_context(wire: Lab) -> None:
    lab = wire
    lab.guest.write_file("/tmp/breakpoints.py", BREAKPOINTS.encode())
    ways = {name: ("pwru-py", "--backend", name) for name in backends(lab)}
    ways["breakpoints"] = ("python /tmp/breakpoints.py", "--backend", "kprobe")
    functions = ("--output-json", "--filter-func", "|".join((*HARDIRQ, *SOFTIRQ, "ip_output")))
    lab.run("echo 0 > /proc/sys/debug/kprobes-optimization")
    try:
        running = {
            name: lab.listen(*arguments, *functions, "icmp", through=through)
            for name, (through, *arguments) in ways.items()
        }
        lab.run("ping -c1 -W5 10.7.0.2")
        traces = {name: tracing.finish() for name, tracing in running.items()}
    finally:
        lab.run(f"echo 1 > /proc/sys/debug/kprobes-optimization; {DOWN}")
    for name, trace in traces.items():
        seen = {(event["func"], event["context"]) for event in trace.events}
        assert {(f, c) for f, c in seen if f != "ip_output"} == {
            *((function, "hardirq") for function in HARDIRQ),
            *((function, "softirq") for function in SOFTIRQ),
        }, name
        # The request is sent by ping, the reply from where the request was received.
        assert {c for f, c in seen if f == "ip_output"} == {"task", "softirq"}, name
