# SPDX-License-Identifier: Apache-2.0
"""Where and why packets drop: netfilter on the way out and in, and a port without a socket."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace, frame_text

RULES = """
for t in iptables-legacy ip6tables-legacy; do
    ip netns exec a $t -A OUTPUT -p tcp --dport 81 -j DROP
    ip netns exec b $t -A INPUT -p tcp --dport 82 -j DROP
done
"""
PACKETS = """
for host in 1.1.1.1 2606:4700::1111; do timeout 2 bash -c "</dev/tcp/$host/81"; done
for host in 10.1.0.2 fd00:1::2; do timeout 2 bash -c "</dev/tcp/$host/82"; done
for host in 10.1.0.2 fd00:1::2; do echo x > /dev/udp/$host/9; done
true
"""


@pytest.fixture(scope="module")
def trace(lab: Lab) -> Trace:
    """One tracer for all these packets, with stacks."""
    lab.run(RULES)
    expression = "(tcp and (dst port 81 or dst port 82)) or (udp and dst port 9)"
    with lab.tracing("--output-stack", *lab.few, expression) as tracing:
        lab.inside("a", PACKETS)
    assert tracing.trace is not None
    return tracing.trace


def dropped(trace: Trace, daddr: str, dport: int) -> list[dict[str, Any]]:
    return [
        event
        for event in trace.events
        if event["drop"] and (event["tuple"]["daddr"], event["tuple"]["dport"]) == (daddr, dport)
    ]


@pytest.mark.parametrize("daddr", ["1.1.1.1", "2606:4700::1111"])
def test_output_rule(lab: Lab, trace: Trace, daddr: str) -> None:
    drops = dropped(trace, daddr, 81)
    assert drops
    for event in drops:
        assert event["func"] == "skb:kfree_skb"
        assert event["location"].startswith("nf_hook_slow+"), event
        assert event["drop_reason"] == ("NETFILTER_DROP" if lab.has_reasons else None)
        assert any(frame["symbol"] == "nf_hook_slow" for frame in event["stack"]), event
        assert event["netns"] == lab.inode("a")
        assert event["context"] in ("task", "softirq"), event
    assert drops[0]["process"].startswith("bash:")
    assert drops[0]["context"] == "task"


@pytest.mark.parametrize("daddr", ["10.1.0.2", "fd00:1::2"])
def test_input_rule(lab: Lab, trace: Trace, daddr: str) -> None:
    drops = dropped(trace, daddr, 82)
    assert drops
    for event in drops:
        assert event["drop_reason"] == ("NETFILTER_DROP" if lab.has_reasons else None)
        assert any(frame["symbol"] == "nf_hook_slow" for frame in event["stack"]), event
        assert event["netns"] == lab.inode("b")
        assert event["iface"] == "eth0"
        assert event["context"] == "softirq", event


@pytest.mark.parametrize("daddr", ["10.1.0.2", "fd00:1::2"])
def test_no_socket(lab: Lab, trace: Trace, daddr: str) -> None:
    (event,) = dropped(trace, daddr, 9)
    assert event["drop_reason"] == ("NO_SOCKET" if lab.has_reasons else None)
    assert any("udp" in (frame["symbol"] or "") for frame in event["stack"])
    assert event["netns"] == lab.inode("b")


def test_summary_counts_each_drop_once(lab: Lab, trace: Trace) -> None:
    drops = trace.summary["drops"]
    if lab.has_reasons:
        assert drops["NO_SOCKET"] == 2
        assert drops["NETFILTER_DROP"] >= 4
    else:
        assert list(drops) == ["no reason given by this kernel"]


def test_stack_begins_at_the_function(trace: Trace) -> None:
    for event in trace.events:
        begin = event["location"] or event["func"] + "+"
        assert frame_text(event["stack"][0]).startswith(begin), event
        assert len(event["stack"]) > 3


def test_drops_alone(lab: Lab) -> None:
    """``--drops``: one program at one tracepoint, on every kernel."""
    lab.run("ip netns exec b iptables-legacy -A INPUT -p udp --dport 83 -j DROP")
    for host in ("10.1.0.2", "fd00:1::2"):  # neighbours, to be known
        lab.inside("a", f"ping -c1 -W5 {host}")
    arguments = ("--drops", "--filter-netns", "b", "udp dst port 83 or dst port 9")
    with lab.tracing(*arguments) as tracing:
        lab.inside("a", "echo x > /dev/udp/10.1.0.2/83; echo x > /dev/udp/fd00:1::2/9; true")
    trace = tracing.trace
    assert trace is not None
    netfilter, closed = trace.events
    assert netfilter["location"].startswith("nf_hook_slow+")
    assert closed["tuple"]["daddr"] == "fd00:1::2"
    assert {event["netns"] for event in trace.events} == {lab.inode("b")}
    reasons = [event["drop_reason"] for event in trace.events]
    assert reasons == (["NETFILTER_DROP", "NO_SOCKET"] if lab.has_reasons else [None, None])
    assert trace.summary["packets_limited"] is False
    assert sum(trace.summary["drop_places"].values()) == 2
    assert re.search(r"^   (Check|Read|Look) ", trace.stderr, re.MULTILINE)


def test_drops_counted_in_the_kernel(lab: Lab) -> None:
    """``--top``: no event comes, and the sums are the tracepoint's."""
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    arguments = ("--drops", "--top", "--interval", "0.5", "udp dst port 19")
    with lab.tracing(*arguments) as tracing:
        lab.inside("a", "for n in $(seq 50); do echo x > /dev/udp/10.1.0.2/19; done")
    trace = tracing.trace
    assert trace is not None
    *reports, summary = trace.records
    (kind,) = reports[-1]["kinds"]
    assert (kind["netns"], kind["ifname"]) == (lab.inode("b"), "eth0")
    assert kind["packets"] == reports[-1]["total"] == sum(summary["drops"].values()) == 50


def test_a_vlan_that_a_bridge_port_does_not_take(lab: Lab) -> None:
    lab.run("ip link set br0 type bridge vlan_filtering 1")
    lab.inside("a", "ip link add link eth0 name eth0.7 type vlan id 7; ip link set eth0.7 up; "
               "ip addr add 10.17.0.1/24 dev eth0.7; "
               "ip neigh add 10.17.0.2 lladdr 02:00:00:00:00:77 dev eth0.7")  # fmt: skip
    try:
        with lab.tracing("--drops", "vlan 7 and udp dst port 7001") as tracing:
            lab.inside("a", "echo x > /dev/udp/10.17.0.2/7001")
    finally:
        lab.run("ip -n a link del eth0.7; ip link set br0 type bridge vlan_filtering 0")
    assert tracing.trace is not None
    (event,) = tracing.trace.events
    assert re.match(r"(__)?allowed_ingress\+|br_", event["location"]), event
    assert event["iface"] == "va"
    assert event["tuple"]["daddr"] == "10.17.0.2"
    assert event["drop_reason"] == ("NOT_SPECIFIED" if lab.has_reasons else None)


def test_a_full_connection_table(lab: Lab) -> None:
    """The table is full of one connection, and all others are refused."""
    rule = "INPUT -m conntrack --ctstate INVALID -j ACCEPT"
    lab.run("modprobe -a nf_conntrack xt_conntrack; sysctl -n net.netfilter.nf_conntrack_max "
            ">/tmp/conntrack_max; sysctl -qw net.netfilter.nf_conntrack_max=1")  # fmt: skip
    assert lab.inside("b", f"iptables-legacy -A {rule}").rc == 0
    try:
        with lab.tracing("--drops", "--filter-netns", "b", "udp dst port 7002") as tracing:
            lab.inside("a", "for n in 1 2 3; do echo x > /dev/udp/10.1.0.2/7002; done")
    finally:
        lab.inside("b", f"iptables-legacy -D {rule}")
        lab.run("sysctl -qw net.netfilter.nf_conntrack_max=$(cat /tmp/conntrack_max)")
    assert tracing.trace is not None
    last = tracing.trace.events[-1]
    assert len(tracing.trace.events) == 3
    assert last["location"].startswith("nf_hook_slow+")
    assert last["drop_reason"] == ("NETFILTER_DROP" if lab.has_reasons else None)
    assert (last["netns"], last["iface"]) == (lab.inode("b"), "eth0")


def test_wireguard_both_ways(lab: Lab) -> None:
    """To an address of no peer: a drop. From an address that is not the peer's: silent."""
    lab.run("modprobe wireguard")
    keys = {}
    for name, address in (("a", "10.7.0.1/24"), ("b", "10.7.0.2/24")):
        lab.inside(name, f"ip link add wg0 type wireguard; ip addr add {address} dev wg0; "
                   "ip link set wg0 up")  # fmt: skip
        done = lab.inside(name, "python -m tests.kernel.inside.wireguard wg0 51820")
        keys[name] = done.stdout.strip()
        assert keys[name], done.stderr
    for name, peer, number in (("a", "b", 2), ("b", "a", 1)):
        done = lab.inside(name, "python -m tests.kernel.inside.wireguard wg0 51820 "
                          f"{keys[peer]} 10.1.0.{number} 10.7.0.{number}")  # fmt: skip
        assert done.rc == 0, done.stderr
    assert lab.inside("a", "ping -c1 -W20 10.7.0.2; ip addr add 10.7.0.99/32 dev wg0").rc == 0
    try:
        with lab.tracing("--drops", "--filter-netns", "a", "udp dst port 7003") as tracing:
            lab.inside("a", "echo x > /dev/udp/10.7.0.77/7003")
        sent = tracing.trace
        with lab.tracing("--drops", "--filter-netns", "b", "udp dst port 7003") as tracing:
            lab.inside("a", "ping -c1 -W1 -I 10.7.0.99 10.7.0.2")
        received = tracing.trace
    finally:
        lab.run("ip -n a link del wg0; ip -n b link del wg0")
    assert sent is not None
    assert received is not None
    (event,) = sent.events
    assert event["location"].startswith("wg_xmit+")
    assert (event["iface"], event["tuple"]["daddr"]) == ("wg0", "10.7.0.77")
    assert received.events == []
    assert received.summary["silent"] == {"wg0: receive errors": 1}
    assert "allowed-ips" in received.stderr
