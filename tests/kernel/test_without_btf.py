# SPDX-License-Identifier: Apache-2.0
"""A kernel that carries no BTF, traced with its types by BCC and its headers.

They are compiled outside of the guest, where that takes seconds and not minutes, and put where the
first start would have kept them.
"""

from __future__ import annotations

import pytest

from pwru_py.facts import header_btf
from pwru_py.facts.skb_functions import WITH_SKB
from tests.kernel.lab import Lab
from tests.kernel.test_refusals import HIDE_BTF, warnings
from tests.vm.headers import forget_made, keep_made, own_and_made

HIDDEN = "unshare -m bash /tmp/hide.sh pwru-py"
WRONG = "ip_finish_output2"
FUNCTIONS = f"ip_rcv|ip_output|icmp_rcv|__udp4_lib_rcv|arp_rcv|kfree_skb(_reason)?|{WRONG}"
SENDING = "dev_hard_start_xmit"
LOOKUP = "fib_table_lookup"
"""No header declares it: the kernel's symbols say that it is there."""
BY_HEADERS = "by the kernel's headers"


@pytest.mark.kernels("5.10", "6.1")
def test_a_kernel_without_btf(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    lab.guest.write_file("/tmp/hide.sh", HIDE_BTF.encode())
    (line,) = lab.run(f"exec {HIDDEN} icmp").stderr.splitlines()
    release = lab.run("uname -r").stdout.strip()
    assert f"install python3-bpfcc linux-headers-{release}; or give" in line
    # The list is made to have its sk_buff where the namespace is.
    right = [name for name in WITH_SKB[3].split() if name != WRONG]
    wrong = {1: f"{WITH_SKB[1]} {WRONG}", 3: " ".join(right)}
    monkeypatch.setattr(header_btf, "WITH_SKB", WITH_SKB | wrong)
    _own, made = own_and_made(lab.kernel)
    keep_made(lab.guest, made)

    listed = lab.run(f"exec {HIDDEN} --list-funcs --filter-func '{FUNCTIONS}'")
    assert listed.rc == 0, listed.stderr
    lines = {line.split()[0]: line for line in listed.stdout.splitlines() if line}
    assert lines["ip_rcv"].split(maxsplit=3) == ["ip_rcv", "1", "vmlinux", BY_HEADERS]
    assert lines[WRONG].split()[1] == "1"
    assert lines["arp_rcv"].endswith("by the list of known functions")

    # On its way out a packet has no device yet.
    expression = "skb->dev->ifindex > 0 || skb->sk->__sk_common.skc_family == 2"
    show = ("--output-json", "--output-stack", "--output-caller", "--filter-func", FUNCTIONS)
    tracing = lab.listen(*show, "--filter-skb-expr", expression, "icmp or udp port 4242",
                         through=HIDDEN)  # fmt: skip
    lab.inside("a", "ping -c1 -W5 10.1.0.2; echo x > /dev/udp/10.1.0.2/4242")
    trace = tracing.finish()
    assert trace.rc == 0, trace.stderr
    assert warnings(trace) == []
    assert trace.functions.count("icmp_rcv") >= 2, "request and reply"
    assert {event["iface"] for event in trace.events} >= {"eth0"}
    assert {event["netns"] for event in trace.events} >= {lab.inode("a"), lab.inode("b")}
    assert {event["context"] for event in trace.events} == {"task", "softirq"}
    tuples = {(e["tuple"]["saddr"], e["tuple"]["dport"]) for e in trace.events if e["tuple"]}
    assert ("10.1.0.1", 4242) in tuples
    received = [event for event in trace.events if event["func"] == "icmp_rcv"]
    for event in received:
        callers = {frame["symbol"] for frame in event["stack"]}
        assert callers >= {"ip_local_deliver_finish", "__netif_receive_skb_one_core"}
        assert event["caller_func"].startswith("ip_protocol_deliver_rcu+")
    meta = {(e["mark"], e["mtu"], e["len"], e["proto"]) for e in received}
    assert meta == {(0, 1500, 64, 0x0800), (0, 1500, 38, 0x0800)}, "echoes, an error"
    assert WRONG not in trace.functions
    assert trace.summary["unbelieved"] >= 2

    selected(lab)
    drops = lab.listen("--output-json", "--drops", "udp port 4242", through=HIDDEN)
    lab.inside("a", "echo x > /dev/udp/10.1.0.2/4242")
    (drop,) = drops.finish().events
    assert "udp" in drop["location"]
    if lab.has_reasons:
        assert drop["drop_reason"] == "NO_SOCKET"

    journey = lab.listen("--journey", "icmp", through=HIDDEN)
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    told = journey.finish().stdout
    assert "va" in told and "vb" in told  # noqa: PT018  one picture
    assert "✘" not in told
    forget_made(lab.guest)


def selected(lab: Lab) -> None:
    """By mark, namespace and interface; then followed where none holds, into a lookup, too."""
    where = ("--filter-netns", "a", "--filter-ifname", "eth0", "--filter-mark", "0x5/0xf")
    what = ("--filter-func", f"{FUNCTIONS}|{SENDING}", "--filter-non-skb-funcs", LOOKUP)
    tracing = lab.listen("--output-json", "--filter-track-skb", *what, *where, "icmp",
                         through=HIDDEN)  # fmt: skip
    for mark, size in ((8, 80), (0x25, 56)):
        lab.inside("a", f"ping -c1 -W5 -m {mark} -s {size} 10.1.0.2")
    trace = tracing.finish()
    assert trace.rc == 0, trace.stderr
    (line,) = warnings(trace)
    assert "copies and clones of a packet are not followed" in line
    first = trace.events[0]
    assert (first["func"], first["iface"], first["mark"]) == (SENDING, "eth0", 0x25)
    assert first["netns"] == lab.inode("a")
    (arrived,) = [e for e in trace.events if e["func"] == "icmp_rcv" and e["skb"] == first["skb"]]
    assert (arrived["netns"], arrived["mark"]) == (lab.inode("b"), 0)
    assert [e["func"] for e in trace.events if e["inside"]].count(LOOKUP) >= 1
    assert {event["tuple"]["saddr"] for event in trace.events if event["len"] > 84 + 14} == set()
