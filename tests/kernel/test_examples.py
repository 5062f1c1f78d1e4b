# SPDX-License-Identifier: Apache-2.0
"""An example for real; all of them are in ``tests/unit/test_examples.py``."""

from __future__ import annotations

import re
import signal
import sys
from pathlib import Path

import pytest

from tests.kernel.lab import Lab

pytestmark = pytest.mark.representative("6.12")

LATENCY = Path(__file__).parents[2] / "examples" / "latency.py"


def test_latency_of_pings(lab: Lab) -> None:
    tracer = lab.guest.start(
        f"exec {sys.executable} {LATENCY} ip_rcv icmp_rcv 'icmp and dst host 10.1.0.2'"
    )
    attached = "cat /sys/kernel/debug/kprobes/list /sys/kernel/tracing/enabled_functions"
    waited = lab.run(
        f"for n in $(seq 300); do {attached} | grep -qw icmp_rcv && exit 0; sleep 0.1; done; exit 1"
    )
    assert waited.rc == 0, tracer.stderr()
    lab.inside("a", "ping -c3 -i0.2 -W5 10.1.0.2")
    tracer.signal(signal.SIGINT)
    assert tracer.wait(60) == 0, tracer.stderr()
    counts, spread = tracer.stdout().splitlines()
    assert counts == "3 packets from ip_rcv to icmp_rcv, 0 did not arrive"
    least, median, most = map(float, re.findall(r"[\d.]+", spread))
    assert 0 < least <= median <= most < 1e6
