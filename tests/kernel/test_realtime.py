# SPDX-License-Identifier: Apache-2.0
"""Kernels with PREEMPT_RT: softirqs run in tasks, and locks sleep."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.conftest import boot
from tests.kernel.lab import Lab
from tests.vm.kernels import REALTIME

FUNCTIONS = "ip_output|ip_rcv|icmp_rcv|icmp_reply|udp_rcv|(sk_skb_reason_drop|kfree_skb(_reason)?)"

pytestmark = pytest.mark.kernel


@pytest.fixture(
    scope="module",
    params=[pytest.param(k, marks=pytest.mark.xdist_group(f"kernel-{k}")) for k in REALTIME],
)
def realtime(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with boot(request.param) as guest:
        yield Lab(guest, request.param)


def test_context_and_exact_counts(realtime: Lab) -> None:
    lab = realtime
    assert lab.run("grep -q PREEMPT_RT /proc/version").rc == 0
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    with lab.tracing("--filter-func", FUNCTIONS, "icmp and host 10.1.0.2") as tracing:
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
    trace = tracing.trace
    assert trace is not None
    contexts = {(e["func"], e["context"]) for e in trace.events if e["netns"] == lab.inode("b")}
    assert ("icmp_rcv", "softirq") in contexts
    assert {context for func, context in contexts if func == "ip_rcv"} == {"softirq"}
    sent = {e["context"] for e in trace.events if e["func"] == "ip_output"}
    assert "task" in sent
    assert trace.summary["losses"]["buffer_full"] == 0


def test_a_flood_adds_up(realtime: Lab) -> None:
    """With a buffer that fills: what is printed and what is lost is what was produced."""
    lab = realtime
    arguments = ("--filter-func", "udp_rcv", "--buffer-size", "64K", "udp dst port 9")
    with lab.tracing(*arguments) as tracing:
        lab.inside("a", "python3 -c '"
                   "import socket\n"
                   "s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\n"
                   "s.connect((\"10.1.0.2\", 9))\n"
                   "for n in range(20000):\n"
                   "    try: s.send(b\"x\")\n"
                   "    except ConnectionRefusedError: pass\n'", timeout=120)  # fmt: skip
        came = int(lab.inside("b", 'awk "/^Udp: [0-9]/ {print \\$3}" /proc/net/snmp').stdout)
    trace = tracing.trace
    assert trace is not None
    losses = trace.summary["losses"]
    assert len(trace.events) + losses["buffer_full"] == came > 10000
    with lab.tracing("--drops", "udp dst port 9") as tracing:
        lab.inside("a", "echo x > /dev/udp/10.1.0.2/9")
    assert tracing.trace is not None
    (drop,) = tracing.trace.events
    assert drop["drop_reason"] == "NO_SOCKET"
