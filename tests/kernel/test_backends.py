# SPDX-License-Identifier: Apache-2.0
"""Every backend that a kernel has sees the same events of the same packet."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, MODULE_BTF, PWRU, TRAMPOLINES, Lab, Trace

PACKETS = """
echo x > /dev/udp/10.1.0.2/9
echo x > /dev/udp/fd00:1::2/9
timeout 2 bash -c '</dev/tcp/10.1.0.2/84'
ping -c1 -W5 -s 2000 10.1.0.2
true
"""
EXPRESSION = "(udp and dst port 9) or (tcp and dst port 84) or icmp[icmptype] = 8"
SAME = ("skb", "func", "module", "netns", "iface", "mark", "len", "tuple", "drop", "drop_reason",
        "context", "addr")  # fmt: skip


def backends(lab: Lab) -> list[str]:
    return ["kprobe", *["kprobe-multi"] * lab.multi, *["fentry-multi"] * lab.trampolines]


def told(trace: Trace) -> list[dict[str, Any]]:
    return [{key: event.get(key) for key in SAME} for event in trace.events]


def traces(lab: Lab, *arguments: str, names: list[str]) -> list[Trace]:
    """One session for each backend, all at once."""
    running = [lab.listen("--output-json", "--backend", name, *arguments, EXPRESSION)
               for name in names]  # fmt: skip
    lab.inside("a", PACKETS)
    found = [tracing.finish() for tracing in running]
    for trace in found:
        assert trace.rc == 0, trace.stderr
        assert trace.summary["losses"]["buffer_full"] == 0
        assert "refused" not in trace.stderr
    return found


def test_the_same_events(lab: Lab) -> None:
    names = backends(lab)
    lab.inside("a", PACKETS)
    assert lab.inside("b", "iptables-legacy -A INPUT -p tcp --dport 84 -j DROP").rc == 0
    first, *others = traces(lab, "--filter-func", FEW_FUNCTIONS, names=names)
    for other in others:
        assert told(other) == told(first)
    reasons = {event["drop_reason"] for event in first.events if event["drop"]}
    if lab.has_reasons:
        assert reasons >= {"NO_SOCKET", "NETFILTER_DROP"}


@pytest.mark.representative("6.1", "newest")
def test_the_same_events_without_tracefs(lab: Lab) -> None:
    """Then each kprobe has a perf event of its own."""
    hide = "umount /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug"
    lab.inside("a", PACKETS)
    usual = lab.listen("--output-json", "--backend", "kprobe", "--filter-func", FEW_FUNCTIONS,
                       EXPRESSION)  # fmt: skip
    events = lab.run("cat /sys/kernel/tracing/kprobe_events").stdout
    lab.guest.write_file("/tmp/hidden.sh", f'{hide}; exec pwru-py "$@"'.encode())
    hidden = lab.listen("--output-json", "--backend", "kprobe", "--filter-func", FEW_FUNCTIONS,
                        EXPRESSION, through="unshare -m bash /tmp/hidden.sh")  # fmt: skip
    assert lab.run("cat /sys/kernel/tracing/kprobe_events").stdout == events != ""
    lab.inside("a", PACKETS)
    first, second = usual.finish(), hidden.finish()
    assert first.rc == second.rc == 0, second.stderr
    assert told(first) == told(second) != []
    # Before 6.7 nobody counts a program that is not run within another one.
    counts = lab.multi
    assert first.summary["losses"]["recursion"] == (0 if counts else None)
    assert first.summary["losses"]["recursion_whole"] == counts
    assert second.summary["losses"]["recursion"] == (0 if counts else None)
    assert lab.run("cat /sys/kernel/tracing/kprobe_events").stdout == ""


@pytest.mark.kernels(*TRAMPOLINES)
def test_the_same_events_of_all_functions(lab: Lab) -> None:
    """But for those that one of the two cannot reach: on the stack, or a structure returned."""
    names = ["kprobe-multi", "fentry-multi"]
    known = [planned(lab, name) for name in names]
    lab.inside("a", PACKETS)
    found = traces(lab, "--kmods", "veth,bridge", names=names)
    both = known[0] & known[1]
    assert len(both) > 1000
    paths = [[e for e in told(t) if (e["func"], e["module"]) in both] for t in found]
    assert paths[0] == paths[1]
    assert {event["module"] for event in paths[1]} >= {"", "bridge", "veth"}


def planned(lab: Lab, backend: str) -> set[tuple[str, str]]:
    listed = lab.run(f"pwru-py --list-funcs --kmods veth,bridge --backend {backend}")
    functions = listed.stdout.partition("\n\n")[0]  # sets come behind them
    rows = [line.split() for line in functions.splitlines()[1:]]
    return {(row[0], row[2].replace("vmlinux", "")) for row in rows if row[1] != "-"}


@pytest.mark.kernels(*MODULE_BTF)
def test_modules_through_the_queue(lab: Lab) -> None:
    """Several programs share a place where a record is made."""
    arguments = ("--kmods", "veth,bridge", "--filter-func",
                 "br_.*|veth_xmit|ip_rcv|__dev_queue_xmit", "--filter-netns")  # fmt: skip
    root = ["/proc/self/ns/net"]
    with lab.tracing("--transport", "queue", *arguments, *root, "icmp") as tracing:
        lab.inside("a", "ping -c3 -i0.1 -W5 10.1.0.2")
    assert tracing.trace is not None
    assert {event["module"] for event in tracing.trace.events} == {"", "bridge", "veth"}


def test_an_argument_on_the_stack(lab: Lab) -> None:
    """Beyond the registers: only a trampoline gets at it."""
    listed = lab.run("pwru-py --list-funcs --filter-func 'udp4_lib_lookup2|__udp4_lib_lookup'")
    if not lab.trampolines:
        assert "passed on the stack" in listed.stdout
        return
    assert "passed on the stack" not in listed.stdout
    functions = "udp4_lib_lookup2|__udp4_lib_lookup|udp_rcv"
    with lab.tracing("--filter-func", functions, "udp and dst port 9") as tracing:
        lab.inside("a", "echo x > /dev/udp/10.1.0.2/9")
    assert tracing.trace is not None
    assert {"udp_rcv", "udp4_lib_lookup2"} <= set(tracing.trace.functions)
    assert len({event["skb"] for event in tracing.trace.events}) == 1


# Two groups of each protocol: the kernel reports them together, within a second.
JOIN = """
import socket, struct, time
index = socket.if_nametoindex("eth0")
old = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
new = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
for n in (1, 2):
    group = socket.inet_aton(f"239.1.1.{n}") + bytes(4) + struct.pack("I", index)
    old.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, group)
    group = socket.inet_pton(socket.AF_INET6, f"ff05::77:{n}") + struct.pack("I", index)
    new.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP, group)
time.sleep(1)
"""


@pytest.mark.kernels("6.1")
def test_functions_of_one_name(lab: Lab) -> None:
    """That of IGMP and that of MLD are both traced, and each has its own packets."""
    lab.guest.write_file("/tmp/join.py", JOIN.encode())
    with lab.tracing("--filter-func", "add_grhead") as tracing:
        lab.inside("a", "python3 -I -S /tmp/join.py")
    assert tracing.trace is not None
    found = {(event["addr"], event["proto"]) for event in tracing.trace.events}
    assert len(found) == len({addr for addr, _ in found}) == 2
    assert {proto for _, proto in found} == {0, 0x86DD}, "IGMP has none as yet"
    assert set(tracing.trace.functions) == {"add_grhead"}


def test_a_backend_that_the_kernel_lacks(lab: Lab) -> None:
    for name in {"kprobe-multi", "fentry-multi"} - set(backends(lab)):
        done = lab.run(f"pwru-py --backend {name} icmp")
        assert (done.rc, done.stdout) == (1, "")
        (line,) = done.stderr.splitlines()
        assert line.startswith(f"pwru-py: this kernel has no {name} (Linux ")


@pytest.mark.kernels(*TRAMPOLINES)
def test_modules_need_more_than_the_usual_capabilities(lab: Lab) -> None:
    """Without CAP_SYS_ADMIN the other backend is chosen for them; asked for, it is an error."""
    drop = "setpriv --bounding-set=-sys_admin --inh-caps=-sys_admin pwru-py --kmods bridge"
    done = lab.run(f"{drop} --list-funcs")
    assert "passed on the stack" in done.stdout, done.stderr
    done = lab.run(f"{drop} --backend fentry-multi icmp")
    assert done.rc == 1
    (line,) = done.stderr.splitlines()
    assert "CAP_SYS_ADMIN" in line


def test_a_table_of_arguments_as_it_rarely_is(lab: Lab) -> None:
    """Places that all functions share lead on; an address that nobody knows is told as skipped."""
    done = lab.run("ip link set lo up; python -m tests.kernel.inside.arguments", timeout=120)
    assert done.rc == 0, done.stderr
    found = json.loads(done.stdout)
    functions, skipped = found["usual"]
    assert functions.count("ip_rcv") == functions.count("icmp_rcv") == 2, "request and reply"
    assert not skipped
    assert found["crowded"] == found["usual"]
    for name in ("unknown", "nobody"):
        assert set(found[name][0]) <= {"skb:kfree_skb"}, "the tracepoint needs no table"
        assert found[name][1] >= len([name for name in functions if name != "skb:kfree_skb"])


def test_tracepoints_see_the_same_packet(lab: Lab) -> None:
    expression = "icmp[icmptype] == icmp-echo"
    functions = "ip_rcv|icmp_rcv"
    points = lab.listen("--output-json", "--backend", "tracepoint", "--output-stack", expression)
    probes = lab.listen("--output-json", "--filter-func", functions, expression)
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    seen, probed = points.finish(), probes.finish()
    assert seen.rc == 0, seen.stderr
    assert {e["tuple"]["icmp"]["id"] for e in seen.events} == {
        e["tuple"]["icmp"]["id"] for e in probed.events
    }
    names = {e["func"] for e in seen.events if e["netns"] == lab.inode("b")}
    assert {"net:netif_receive_skb", "skb:consume_skb"} <= names
    sent = next(e for e in seen.events if e["func"] == "net:net_dev_queue")
    assert sent["location"].startswith("__dev_queue_xmit+")
    assert sent["netns"] == lab.inode("a")


@pytest.mark.representative("5.10", "newest")
def test_tracepoints_beside_functions(lab: Lab) -> None:
    """They tell when a packet ends, which these functions do not."""
    functions = "ip_rcv|icmp_rcv"
    expression = "icmp[icmptype] == icmp-echo"
    arguments = ("--output-json", "--filter-func", functions, expression)
    alone = lab.listen(*arguments)
    beside = lab.listen("--with-tracepoints", *arguments)
    lab.inside("a", "ping -c5 -i0.2 -W5 10.1.0.2")
    few, all_ = alone.finish(), beside.finish()
    assert few.rc == all_.rc == 0, few.stderr + all_.stderr
    assert {e["func"] for e in few.events} == {"ip_rcv", "icmp_rcv"}
    names = {e["func"] for e in all_.events}
    assert {"ip_rcv", "icmp_rcv", "net:netif_receive_skb", "skb:consume_skb"} <= names
    assert (all_.summary["packets"], all_.summary["packets_limited"]) == (5, False)
    ends = [e for e in all_.events if e["func"] == "skb:consume_skb"]
    assert [e["packet"] for e in ends] == [1, 2, 3, 4, 5]
    listed = lab.run(f"exec {PWRU} --with-tracepoints --list-funcs")
    assert "skb:consume_skb" in listed.stdout
