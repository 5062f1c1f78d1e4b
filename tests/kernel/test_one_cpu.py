# SPDX-License-Identifier: Apache-2.0
"""Exact counts where tasks take turns on one CPU: what is printed, lost and skipped adds up."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import pytest

from tests.kernel.conftest import boot, chosen_kernels
from tests.kernel.lab import Lab

# Kprobes, whose programs are not preempted, and trampolines', which are.
KERNELS = [name for name in ("6.1", "newest") if name in chosen_kernels()]
FUNCTIONS = ("ip_send_skb", "ip_output", "ip_rcv", "ip_local_deliver", "udp_rcv")

pytestmark = pytest.mark.kernel


@pytest.fixture(
    scope="module",
    params=[pytest.param(k, marks=pytest.mark.xdist_group(f"kernel-{k}")) for k in KERNELS],
)
def one_cpu(request: pytest.FixtureRequest) -> Iterator[Lab]:
    with boot(request.param, cpus=1) as guest:
        yield Lab(guest, request.param)


def test_nothing_is_recorded_after_a_pause(one_cpu: Lab) -> None:
    one_cpu.run("ip link set lo up")
    done = one_cpu.run("python -m tests.kernel.inside.pause 100", timeout=120)
    assert done.rc == 0, done.stderr
    late, before = map(int, done.stdout.split())
    assert late == 0
    assert before > 0


def test_every_hit_is_printed_lost_or_skipped(one_cpu: Lab) -> None:
    """A task that preempts another one within the program: the kernel skips what it hits."""
    one_cpu.run("ip link set lo up")
    arguments = ("--buffer-size", "16M", "--filter-func", "|".join(FUNCTIONS))
    with one_cpu.tracing(*arguments, "udp and dst port 4445") as tracing:
        sent = int(one_cpu.run("python -m tests.kernel.inside.preempt 1", timeout=60).stdout)
    trace = tracing.trace
    assert trace is not None
    losses = trace.summary["losses"]
    hits = Counter(trace.functions)
    assert set(hits) == set(FUNCTIONS)
    if losses["recursion_whole"]:
        printed = sum(hits.values())
        assert printed + losses["buffer_full"] + losses["recursion"] == sent * len(FUNCTIONS)
    else:  # nothing preempts a kprobe's program
        assert sum(hits.values()) + losses["buffer_full"] == sent * len(FUNCTIONS)
