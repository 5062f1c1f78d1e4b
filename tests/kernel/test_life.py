# SPDX-License-Identifier: Apache-2.0
"""Beginning and end of a session: signals at any moment, many kprobes, nothing left behind."""

from __future__ import annotations

import signal

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, PWRU, Lab

pytestmark = pytest.mark.representative("5.10", "newest")

SECONDS = 40.0
"""What "within seconds" means in an emulated guest, for a tracer of few probes."""

FLOOD = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
end = time.monotonic() + 20
while time.monotonic() < end:
    for _ in range(100):
        s.sendto(b"x", ("10.1.0.2", 4444))
"""


@pytest.fixture(autouse=True)
def _nothing_left(lab: Lab) -> None:
    """Each test starts, and so each one before it ended, without a probe in the kernel."""
    assert lab.attached_probes() == ""


@pytest.mark.parametrize("delay", [0.0, 0.7, 2.0])
def test_sigterm_while_starting(lab: Lab, delay: float) -> None:
    """At any moment once Python runs us: compiling, planning, loading, attaching, tracing."""
    tracing = lab.start(*lab.few, "icmp")
    maps = f"/proc/{tracing.process.pid}/maps"  # libpcap is there: main() has begun
    lab.run(f"while test -e {maps} && ! grep -qa pcapy {maps}; do sleep 0.05; done; sleep {delay}")
    tracing.process.signal(signal.SIGTERM)
    assert tracing.process.wait(SECONDS) == 0, tracing.process.stderr()
    assert "Traceback" not in tracing.process.stderr()
    assert lab.attached_probes() == ""


@pytest.mark.parametrize("signo", [signal.SIGTERM, signal.SIGINT])
def test_signal_while_flooded(lab: Lab, signo: int) -> None:
    lab.guest.write_file("/tmp/flood.py", FLOOD.encode())
    tracing = lab.listen(*lab.few, "-w", "/dev/null", "udp")
    flood = lab.guest.start("exec ip netns exec a python3 -I -S /tmp/flood.py")
    lab.run("sleep 2")
    process = tracing.process
    # A background job of a shell ignores SIGINT; the tracer takes it all the same.
    process.signal(signo)
    assert process.wait(SECONDS) == 0, process.stderr()
    assert "packet" in process.stderr()
    assert lab.attached_probes() == ""
    flood.stop()


def test_a_hangup_ends_it_in_order_and_quit_asks_where_it_is(lab: Lab) -> None:
    """It has the few capabilities left that reading and detaching need, and detaches."""
    tracing = lab.listen("-w", "/tmp/hangup", "--filter-func", FEW_FUNCTIONS, "icmp")
    process = tracing.process
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    status = lab.run(f"cat /proc/{process.pid}/status; stat -c %a /tmp/hangup")
    assert f"CapPrm:\t{1 << 39 | 1 << 34:016x}" in status.stdout
    assert status.stdout.splitlines()[-1] == "600"
    process.signal(signal.SIGQUIT)
    process.wait_output("pwru-py: ", SECONDS, stderr=True)
    for _ in range(2):
        process.signal(signal.SIGHUP)
    assert process.wait(SECONDS) == 0, process.stderr()
    standing, summary, *_ = process.stderr().splitlines()
    assert "; attached to " in standing
    assert not summary.startswith("0 packets"), process.stderr()
    assert lab.attached_probes() == ""


def test_sigkill_leaves_nothing(lab: Lab) -> None:
    """But definitions of kprobes, disarmed: the next session removes them."""
    tracing = lab.listen("--filter-func", FEW_FUNCTIONS, "icmp")
    assert lab.armed_probes() != []
    tracing.process.signal(signal.SIGKILL)
    assert tracing.process.wait(SECONDS) == -signal.SIGKILL
    for _ in range(50):  # the kernel detaches while it buries the process
        if lab.armed_probes() == []:
            break
        lab.run("sleep 0.1")
    assert lab.armed_probes() == []
    if lab.multi:
        assert lab.attached_probes() == ""
        return
    left = lab.kprobes()
    assert len(left) > 20
    next_one = lab.listen("--filter-func", FEW_FUNCTIONS, "icmp")
    for _ in range(50):
        found = lab.kprobes()
        if len(found) == len(left):
            break
        lab.run("sleep 0.2")
    assert sum("[DISABLED]" in line for line in found) == 0, found
    assert len(found) == len(left)
    assert next_one.finish().rc == 0


def test_a_session_leaves_the_definitions_of_others(lab: Lab) -> None:
    events = "/sys/kernel/tracing/kprobe_events"
    lab.run(f"echo 'p:mine/one ip_rcv' >> {events}")
    try:
        for _ in range(2):
            with lab.tracing(
                "--backend", "kprobe", "--filter-func", "ip_rcv|icmp_rcv", "icmp"
            ) as one:
                lab.inside("a", "ping -c1 -W5 10.1.0.2")
            assert one.trace is not None
            assert "ip_rcv" in one.trace.functions
            assert lab.run(f"cat {events}").stdout == "p:mine/one ip_rcv\n"
    finally:
        lab.run(f"echo '-:mine/one' >> {events}")


CLEAN = """
from pwru_py.attach.kprobe_events import Definitions
definitions = Definitions("/sys/kernel/tracing", 0)
found = definitions.abandoned()
for each in found:
    definitions.remove(each)
print(len(found))
"""


def test_definitions_of_a_session_in_another_pid_namespace(lab: Lab) -> None:
    """They stay while it lives, and are removed once it was killed."""
    events = "/sys/kernel/tracing/kprobe_events"
    lab.guest.write_file("/tmp/clean.py", CLEAN.encode())
    arguments = ["--backend", "kprobe", "--filter-func", "ip_rcv|icmp_rcv", "icmp"]
    inside = lab.listen(*arguments, through=f"unshare -pf --kill-child --mount-proc {PWRU}")
    defined = lab.run(f"cat {events}").stdout
    assert defined.count("pwru_py/first_") == 2
    assert lab.run("python3 /tmp/clean.py", timeout=90).stdout == "0\n"
    assert lab.run(f"cat {events}").stdout == defined
    inside.process.signal(signal.SIGKILL)
    inside.process.wait(SECONDS)
    for _ in range(50):
        if lab.armed_probes() == []:
            break
        lab.run("sleep 0.1")
    assert lab.run("python3 /tmp/clean.py", timeout=90).stdout == "2\n"
    assert lab.run(f"cat {events}").stdout == ""


def test_one_kprobe_a_function(lab: Lab) -> None:
    """The fallback backend, whole where it is the only one: attaches all, early ones first."""
    arguments = ["--backend", "kprobe", "--output-json", "--debug", "icmp"]
    if lab.multi:
        arguments += ["--filter-func", FEW_FUNCTIONS]
    pings = lab.guest.start("exec ip netns exec a ping -i 0.05 10.1.0.2")
    tracing = lab.start("--ready-file", "/tmp/all-attached", *arguments)
    lab.guest.wait_file("/tmp/all-attached", 300)
    all_attached_ns = int(lab.run("stat -c %.9Y /tmp/all-attached").stdout.replace(".", ""))
    pings.stop()
    probes = lab.attached_probes().count("\n")
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    trace = tracing.finish(timeout=400)
    assert trace.rc == 0, trace.stderr
    first = next(event for event in trace.events if event["func"] == "ip_rcv")
    if not lab.multi:  # the first functions trace while the others are being attached
        assert first["time_ns"] < all_attached_ns
        assert trace.summary["attached"] > 1000
        assert trace.summary["failed"] <= 20, trace.stderr
        assert probes >= trace.summary["attached"]
    lab.run("rm -f /tmp/all-attached")


def test_line_limit_ends_the_session(lab: Lab) -> None:
    tracing = lab.listen("-c", "3", "--filter-func", FEW_FUNCTIONS, "icmp")
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    assert tracing.process.wait(SECONDS) == 0
    assert len(tracing.process.stdout().splitlines()) == 4  # with the header


def test_reader_that_leaves_ends_the_session_quietly(lab: Lab) -> None:
    command = f"{PWRU} --ready-file /tmp/pipe --filter-func ip_rcv icmp | head -n1"
    command += "; echo ${PIPESTATUS[0]}"
    pipe = lab.guest.start(command)
    lab.guest.wait_file("/tmp/pipe", 60)
    for _ in range(3):
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
    pipe.wait(SECONDS)
    assert pipe.stdout().splitlines()[-1] == "0"
    assert "Traceback" not in pipe.stderr()
    assert "Broken" not in pipe.stderr()


LIBRARY = """
from pwru_py import Config, Event, Tracer
import subprocess
with Tracer(Config(filter="icmp", filter_func="ip_rcv|icmp_rcv")) as tracer:
    subprocess.run("ip netns exec a ping -c1 -W5 10.1.0.2", shell=True, stdout=subprocess.DEVNULL)
    for event in tracer:
        assert isinstance(event, Event)
        print(event.func, event.ifname, event.tuple.saddr, event.tuple.daddr)
        if event.func == "icmp_rcv" and event.tuple.daddr == "10.1.0.1":
            tracer.stop()
"""


def test_library(lab: Lab) -> None:
    lab.guest.write_file("/tmp/library.py", LIBRARY.encode())
    done = lab.run("python3 /tmp/library.py", timeout=90)
    assert done.rc == 0, done.stderr
    assert done.stdout.splitlines() == [
        "ip_rcv eth0 10.1.0.1 10.1.0.2",
        "icmp_rcv eth0 10.1.0.1 10.1.0.2",
        "ip_rcv eth0 10.1.0.2 10.1.0.1",
        "icmp_rcv eth0 10.1.0.2 10.1.0.1",
    ]


MISUSE = """
import gc, os, subprocess, sys, warnings
from pwru_py import Config, Tracer

warnings.simplefilter("ignore")
FILES = "cat /sys/kernel/debug/kprobes/list /sys/kernel/tracing/enabled_functions"
CONFIG = Config(filter="icmp", filter_func="ip_rcv|icmp_rcv")

def probes():
    return subprocess.run(FILES, shell=True, capture_output=True, text=True).stdout

forgotten = Tracer(CONFIG).__enter__()
assert probes()
del forgotten
gc.collect()
assert not probes(), "a Tracer that is forgotten is detached"
with Tracer(CONFIG) as tracer:
    attached = probes()
    batches = tracer.batches()
    next(batches)
    for close in (True, False):
        child = os.fork()
        if not child:
            if close:
                tracer.stop()
                tracer.close()
            sys.exit(0)
        assert os.waitpid(child, 0)[1] == 0
        assert probes() == attached
    subprocess.run("ip netns exec a ping -c1 -W5 10.1.0.2", shell=True, stdout=subprocess.DEVNULL)
    print(sum(len(next(batches)) for _ in range(4)) >= 4)
Tracer(CONFIG).__enter__()
left_open = Tracer(CONFIG).__enter__()
"""


def test_a_tracer_that_is_forgotten_and_one_that_forks(lab: Lab) -> None:
    lab.guest.write_file("/tmp/misuse.py", MISUSE.encode())
    done = lab.run("python3 /tmp/misuse.py", timeout=90)
    assert (done.rc, done.stdout) == (0, "True\n"), done.stderr
