# SPDX-License-Identifier: Apache-2.0
"""Columns that a session asks for: callers, the packet within a tunnel, raw structures.

One ping goes through a VXLAN, one beside it while kretprobes are in place.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, Lab, Trace, frame_text
from tests.kernel.test_backends import backends

COLUMNS = ("--output-caller", "--output-stack", "--output-tunnel", "--output-tcp-flags",
           "--output-skb", "--output-skb-shared-info", "--output-skb-cb")  # fmt: skip
# Who calls a function that nobody jumps to.
CALLERS = {
    "ip_rcv_core": {"ip_rcv", "ip_list_rcv"},
    "icmp_rcv": {"ip_protocol_deliver_rcu"},
    "udp_rcv": {"ip_protocol_deliver_rcu"},
    "dev_hard_start_xmit": {"__dev_queue_xmit", "sch_direct_xmit"},
    "arp_process": {"arp_rcv"},
}
UP = """
set -e
modprobe vxlan
for side in a:1:2 b:2:1; do
    IFS=: read n here there <<< $side
    ip -n $n link add columns0 type vxlan id 77 dstport 4789 local 10.1.0.$here remote 10.1.0.$there
    ip -n $n addr add 10.77.0.$here/24 dev columns0
    ip -n $n link set columns0 up
done
"""
DOWN = "ip -n a link del columns0; ip -n b link del columns0"
RETURNS = """
cd /sys/kernel/tracing
for f in ip_rcv_core icmp_rcv dev_hard_start_xmit; do echo "r:columns/$f $f" >> kprobe_events; done
echo 1 > events/columns/enable
"""
NO_RETURNS = """
cd /sys/kernel/tracing
echo 0 > events/columns/enable
for f in ip_rcv_core icmp_rcv dev_hard_start_xmit; do echo "-:columns/$f" >> kprobe_events; done
"""
# With a kretprobe, and the tracepoints within.
RETURNED = {"ip_rcv_core", "icmp_rcv", "dev_hard_start_xmit", "net:net_dev_start_xmit",
            "net:net_dev_xmit"}  # fmt: skip
WITH_RETURNS = 184  # length of the second ping's packets


@pytest.fixture(scope="module")
def traces(lab: Lab) -> Iterator[dict[str, Trace]]:
    """By backend: each sees the same packets."""
    done = lab.run(UP)
    assert done.rc == 0, done
    assert lab.inside("a", "ping -c1 -W5 10.77.0.2 && ping -c1 -W5 10.1.0.2").rc == 0
    expression = "icmp or udp port 4789"
    functions = ("--filter-func", FEW_FUNCTIONS)
    ways: dict[str, tuple[str, ...]] = {
        name: ("--backend", name, *functions) for name in backends(lab)
    }
    ways["tracepoint"] = ("--backend", "tracepoint")
    try:
        running = {
            name: lab.listen("--output-json", *COLUMNS, *arguments, expression)
            for name, arguments in ways.items()
        }
        assert lab.inside("a", "ping -c1 -W5 10.77.0.2").rc == 0
        lab.run(RETURNS)
        assert lab.inside("a", f"ping -c1 -W5 -s {WITH_RETURNS - 28} 10.1.0.2").rc == 0
        lab.run(NO_RETURNS)
        yield {name: tracing.finish() for name, tracing in running.items()}
    finally:
        lab.run(DOWN)


def symbol(frame: str) -> str:
    return frame.partition("+")[0]


def beside_returns(event: dict[str, Any]) -> bool:
    return event["tuple"] is not None and event["tuple"]["proto"] == 1 and event["len"] >= 150


def test_callers(lab: Lab, traces: dict[str, Trace]) -> None:
    for name, trace in traces.items():
        assert trace.rc == 0, trace.stderr
        if name == "tracepoint":
            continue
        known: dict[str, set[str]] = {
            event["func"]: set() for event in trace.events if event["func"] in CALLERS
        }
        for event in trace.events:
            if event["func"] in CALLERS:
                known[event["func"]].add(symbol(event["caller_func"] or ""))
        assert "icmp_rcv" in known, name
        for func, callers in known.items():
            assert callers - {""} <= CALLERS[func], (name, func, callers)
            assert callers - {""}, (name, func)


def test_a_caller_is_what_the_unwinder_finds(traces: dict[str, Trace]) -> None:
    """It knows functions with a frame and without; where it stops, nothing is compared."""
    for name, trace in traces.items():
        compared = 0
        for event in trace.events:
            stack = [frame_text(frame) for frame in event["stack"]]
            if event["func"] == "skb:kfree_skb":
                assert event["caller_func"] == event["location"], (name, event)
            elif event["func"] == "skb:consume_skb":  # tells who called since 6.3, dd1b527831a3
                assert event["caller_func"] in (event["location"], stack[1]), (name, event)
            elif len(stack) > 1 and event["caller_func"]:
                assert event["caller_func"] == stack[1], (name, event["func"], stack[:3])
                compared += 1
        assert compared > 10, (name, compared, len(trace.events))
        missing = {e["func"] for e in trace.events if not e["caller_func"] and not
                   beside_returns(e)}  # fmt: skip
        assert missing <= RETURNED, (name, missing)


def test_a_tracer_of_returns_is_no_caller(traces: dict[str, Trace]) -> None:
    for name, trace in traces.items():
        callers = {event["caller_func"] or "" for event in trace.events if beside_returns(event)}
        assert callers, name
        assert not [c for c in callers if "trampoline" in c or "return_to_handler" in c], name


def test_the_packet_within(traces: dict[str, Trace]) -> None:
    for name, trace in traces.items():
        outer = [event for event in trace.events if event["tuple"] and
                 event["tuple"]["dport"] == 4789]  # fmt: skip
        assert outer, name
        for event in outer:
            inner = event["tunnel_tuple"]
            if event["func"] in ("ip_rcv", "dev_hard_start_xmit", "net:netif_receive_skb"):
                assert inner, (name, event["func"])
            if inner and inner["proto"] == 1:
                assert {inner["saddr"], inner["daddr"]} == {"10.77.0.1", "10.77.0.2"}
                assert inner["icmp"]["name"] in ("echo request", "reply", "echo", "echo reply")
        for event in trace.events:
            if event["tuple"] and event["tuple"]["proto"] == 1:
                assert event["tunnel_tuple"] is None, (name, event["func"])


def test_structures(traces: dict[str, Trace]) -> None:
    for name, trace in traces.items():
        for event in trace.events:
            skb = event["sk_buff"]
            assert (skb["len"], skb["mark"]) == (event["len"], event["mark"]), (name, event)
            assert skb["protocol"] == event["proto"]
            assert skb["head"].startswith("0xffff")
            assert bytes(word & 0xFF for word in skb["cb"]) == struct.pack("=12I", *event["cb"])
            shared = event["skb_shared_info"]
            assert (shared is None) == (event["func"] in ("kfree_skbmem", "napi_skb_cache_put"))
            if shared is not None:
                assert len(shared["frags"]) == shared["nr_frags"] == 0
                assert shared["dataref"]["counter"] & 0xFFFF > 0
