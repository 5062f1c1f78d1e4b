# SPDX-License-Identifier: Apache-2.0
"""Nothing is lost without being counted: rates the tracer sustains, and floods."""

from __future__ import annotations

import re

import pytest

from tests.kernel.lab import Lab

pytestmark = pytest.mark.representative("5.10", "6.12")

SEND = """
import socket, sys, time
count, rate = int(sys.argv[1]), float(sys.argv[2])
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
start = time.monotonic()
for n in range(count):
    s.sendto(b"x", ("10.1.0.2", 4444))
    if rate and (ahead := start + n / rate - time.monotonic()) > 0:
        time.sleep(ahead)
"""
RECEIVED = "nstat -asz UdpInDatagrams UdpInErrors UdpNoPorts | awk '/Udp/ {n += $2} END {print n}'"


def send(lab: Lab, count: int, rate: float) -> int:
    """Sends UDP from a to b; how many reached the UDP of b, by the kernel's own count."""
    lab.guest.write_file("/tmp/send.py", SEND.encode())
    before = int(lab.inside("b", RECEIVED).stdout)
    done = lab.inside("a", f"python3 -I -S /tmp/send.py {count} {rate}", timeout=300)
    assert done.rc == 0, done.stderr
    return int(lab.inside("b", RECEIVED).stdout) - before


def test_1000_packets_at_a_sustained_rate(lab: Lab) -> None:
    with lab.tracing(*lab.few, "udp and dst port 4444") as tracing:
        assert send(lab, 1000, 100) == 1000
    trace = tracing.trace
    assert trace is not None
    assert trace.functions.count("udp_rcv") == 1000
    assert trace.summary["losses"]["buffer_full"] == 0
    assert trace.summary["events"] == len(trace.events)


def test_a_flood_is_accounted_for_exactly(lab: Lab) -> None:
    """printed + reported lost = produced, with a buffer far too small."""
    arguments = ("--buffer-size", "64K", "--filter-func", "udp_rcv", "udp and dst port 4444")
    with lab.tracing(*arguments) as tracing:
        produced = send(lab, 20000, 0)
    trace = tracing.trace
    assert trace is not None
    printed = len(trace.events)
    assert printed + trace.summary["losses"]["buffer_full"] == produced
    assert printed > 0


def test_a_flood_through_the_queue_is_accounted_for_exactly(lab: Lab) -> None:
    arguments = ("--transport", "queue", "--buffer-size", "16K", "--filter-func", "udp_rcv",
                 "udp and dst port 4444")  # fmt: skip
    with lab.tracing(*arguments) as tracing:
        produced = send(lab, 5000, 0)
    trace = tracing.trace
    assert trace is not None
    assert len(trace.events) + trace.summary["losses"]["buffer_full"] == produced
    assert len(trace.events) > 0


def test_losses_are_told_in_text_too(lab: Lab) -> None:
    tracing = lab.listen("--buffer-size", "4K", "--filter-func", "udp_rcv", "dst port 4444")
    produced = send(lab, 5000, 0)
    trace = tracing.finish()
    lines = trace.stdout.splitlines()[1:]
    lost = re.findall(r"lost: (\d+)", trace.stderr)  # live first, the whole at the end
    assert len(lines) + int(lost[-1]) == produced, trace.stderr
