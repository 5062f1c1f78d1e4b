# SPDX-License-Identifier: Apache-2.0
"""What the kernel refuses is not the end where something else may do; else the line says why."""

from __future__ import annotations

from itertools import pairwise

import pytest

from tests.kernel.lab import TYPED_LOADS, Lab, Trace
from tests.kernel.test_backends import backends

FUNCTIONS = ("--output-json", "--filter-func", "ip_rcv|icmp_rcv|ip_output")
LINK_CREATE, EINVAL = 28, 22
HIDE_BTF = 'mount -t tmpfs none /sys/kernel/btf; exec "$@"'
CAPABILITIES = "-all,+bpf,+perfmon,+syslog"
# A filter that the verifier refuses, where loads are typed: *(u64 *)(r10 - 600) = 0.
WRONG_FILTER = """
from pwru_py.cli import main
from pwru_py.programs import load
whole = load.object_bytes
def broken(programs, compiled):
    elf, code = whole(programs, compiled), compiled["pcap_filter"].code
    wrong = bytes((0x7A, 0x0A, 0xA8, 0xFD, 0, 0, 0, 0)) + code[8:]
    return elf if programs == "plain" else elf.replace(code, wrong)
load.object_bytes = broken
raise SystemExit(main())
"""


def traced(lab: Lab, *arguments: str, through: str = "pwru-py") -> Trace:
    """Of a ping from a to b."""
    tracing = lab.listen(*FUNCTIONS, *arguments, "icmp", through=through)
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    trace = tracing.finish()
    assert trace.rc == 0, trace.stderr
    assert trace.functions.count("icmp_rcv") == 2, "request and reply"
    return trace


def warnings(trace: Trace) -> list[str]:
    return [line for line in trace.stderr.splitlines() if line.startswith("pwru-py: ")]


def test_links_are_refused(lab: Lab) -> None:
    """As by a container's seccomp filter: down to kprobes, which need no link."""
    refuse = f"python -m tests.kernel.inside.refuse {LINK_CREATE} {EINVAL} pwru-py"
    said = warnings(traced(lab, through=refuse))
    names = [name for name in ("fentry-multi", "kprobe-multi", "kprobe") if name in backends(lab)]
    steps = list(pairwise(names))
    assert len(said) == len(steps)
    for line, (refused, instead) in zip(said, steps, strict=True):
        assert line.startswith(f"pwru-py: {refused} refused, using {instead} instead: cannot")
        assert "invalid argument" in line


@pytest.mark.kernels("5.10", "6.1", "6.12")  # 7.3 lets nobody switch it off
def test_ftrace_is_switched_off(lab: Lab) -> None:
    """Then the kernel attaches probes that are never hit: tracepoints tell instead."""
    try:
        switched = lab.run("sysctl -qw kernel.ftrace_enabled=0")
        assert switched.rc == 0, switched.stderr
        tracing = lab.listen("--output-json", "icmp")
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
        trace = tracing.finish()
        (said,) = warnings(trace)
        assert said.startswith("pwru-py: ftrace is switched off")
        assert "tracepoints are traced instead" in said
        assert "net:netif_receive_skb" in trace.functions
        for name in backends(lab):
            done = lab.run(f"exec pwru-py --backend {name} --filter-func ip_rcv icmp")
            assert done.rc == 1
            assert "sysctl kernel.ftrace_enabled=1" in done.stderr
    finally:
        lab.run("sysctl -qw kernel.ftrace_enabled=1")
    traced(lab)


def test_what_is_asked_for_by_name_is_not_replaced(lab: Lab) -> None:
    for name in backends(lab)[1:]:
        refuse = f"python -m tests.kernel.inside.refuse {LINK_CREATE} {EINVAL}"
        done = lab.run(f"{refuse} pwru-py --backend {name} --filter-func ip_rcv icmp")
        assert (done.rc, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert "invalid argument" in line
    assert lab.attached_probes() == ""


@pytest.mark.kernels(*TYPED_LOADS)
def test_typed_loads_are_refused(lab: Lab) -> None:
    lab.guest.write_file("/tmp/wrong_filter.py", WRONG_FILTER.encode())
    said = warnings(traced(lab, through="python /tmp/wrong_filter.py"))
    assert said[-1].startswith("pwru-py: typed loads refused, using helper calls instead: ")
    assert "invalid write to stack" in said[-1]
    assert len(said) == len(backends(lab)) - 1, said


@pytest.mark.representative("5.10", "newest")
def test_btf_from_a_file_alone(lab: Lab) -> None:
    """/sys/kernel/btf is not there: what --kernel-btf is for."""
    lab.run("cp /sys/kernel/btf/vmlinux /run/btf")
    lab.guest.write_file("/tmp/hide.sh", HIDE_BTF.encode())
    hidden = "unshare -m bash /tmp/hide.sh pwru-py"
    trace = traced(lab, "--kernel-btf", "/run/btf", through=hidden)
    assert warnings(trace) == []
    assert {event["context"] for event in trace.events} == {"task", "softirq"}


@pytest.mark.representative("5.10", "newest")
def test_btf_of_another_kernel(lab: Lab) -> None:
    lab.guest.write_file("/tmp/other.py", OTHER_BTF.encode())
    assert lab.run("python /tmp/other.py /run/other").rc == 0
    lab.guest.write_file("/tmp/hide.sh", HIDE_BTF.encode())
    for start in ("pwru-py", "unshare -m bash /tmp/hide.sh pwru-py --all-kmods"):
        done = lab.run(f"{start} --kernel-btf /run/other icmp")
        assert (done.rc, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert "/run/other is not the BTF of this kernel" in line


# This kernel's BTF, with other names for every fifth function that takes an sk_buff.
OTHER_BTF = """
import sys
from pwru_py.facts.btf import Btf
from pwru_py.plan.candidates import Functions
raw = open("/sys/kernel/btf/vmlinux", "rb").read()
for name in sorted(Functions.of(Btf(raw)).candidates)[::5]:
    old = b"\\0" + name.encode() + b"\\0"
    raw = raw.replace(old, b"\\0x" + old[2:])
open(sys.argv[1], "wb").write(raw)
"""


def test_three_capabilities_are_enough(lab: Lab) -> None:
    drop = f"setpriv --bounding-set={CAPABILITIES} --inh-caps={CAPABILITIES} pwru-py"
    if lab.kernel == "5.10":  # which counts memory of maps that is locked
        done = lab.run(f"ulimit -l 64; {drop} --filter-func ip_rcv icmp")
        (line,) = done.stderr.splitlines()
        assert "limit is 64 KiB" in line
        assert "CAP_SYS_RESOURCE" in line
        drop = f"prlimit --memlock=unlimited {drop}"
    if not lab.multi:  # Debian's kernels ask for more, for perf events, unless told otherwise
        done = lab.run(f"{drop} --filter-func ip_rcv icmp")
        assert (done.rc, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert "CAP_SYS_ADMIN" in line
        assert "kernel.perf_event_paranoid" in line
    lab.run("sysctl -w kernel.perf_event_paranoid=2")
    assert warnings(traced(lab, through=drop)) == []


@pytest.mark.representative("6.12")
def test_few_open_files(lab: Lab) -> None:
    """Who may not raise the limit is told so."""
    drop = f"setpriv --bounding-set={CAPABILITIES} --inh-caps={CAPABILITIES}"
    done = lab.run(f"ulimit -n 20; {drop} pwru-py --filter-func ip_rcv icmp")
    assert (done.rc, done.stdout) == (1, "")
    (line,) = done.stderr.splitlines()
    assert "at most 20 open files" in line
    assert "ulimit" in line
