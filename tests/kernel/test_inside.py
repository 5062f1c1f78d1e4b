# SPDX-License-Identifier: Apache-2.0
"""Functions without an sk_buff, and with another one, that run within those of a packet."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

PLAIN = "fib_table_lookup"
FUNCS = "ip_route_input_slow|icmp_rcv|icmp_reply|ip_output|ip_rcv|dev_hard_start_xmit|nf_hook_slow"
SESSIONS = {
    "entries": ("--output-json", "--filter-func", FUNCS, "--filter-non-skb-funcs",
                f"{PLAIN},kmem_cache_alloc.*", "--output-stack", "icmp[0] = 8"),
    "returns": ("--output-json", "--filter-func", FUNCS, "--filter-non-skb-funcs", PLAIN,
                "--output-return", "icmp[0] = 8"),
    "stack": ("--output-json", "--filter-func", FUNCS, "--filter-track-skb-by-stackid",
              "--filter-non-skb-funcs", PLAIN, "icmp[0] = 8"),
}  # fmt: skip
# A route is looked up for every datagram, too, in the sender's name and in softirqs.
OTHERS = "for port in 7 8 9; do echo x > /dev/udp/10.1.0.2/$port; done"


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    running = {name: lab.listen(*arguments) for name, arguments in SESSIONS.items()}
    lab.inside("a", f"bash -c '{OTHERS}'; ping -c1 -W5 10.1.0.2; bash -c '{OTHERS}'")
    found = {name: tracing.finish() for name, tracing in running.items()}
    for trace in found.values():
        assert trace.rc == 0, trace.stderr
        assert not trace.summary["losses"]["buffer_full"]
    return found


def test_a_lookup_within_the_packets_functions(lab: Lab, traces: dict[str, Trace]) -> None:
    events = traces["entries"].events
    lookups = [event for event in events if event["func"] == PLAIN]
    assert lookups
    for event in events:
        assert event["inside"] == (event["func"] not in FUNCS.split("|"))
        # What the stack says, too; 5.10 does not unwind it through kretprobes of the other session.
        if event["inside"] and event["stack"] and lab.multi:
            callers = {frame["symbol"] for frame in event["stack"]}
            assert callers & set(FUNCS.split("|")), event["stack"]
        assert event["tuple"]["proto"] == 1
        assert event["packet"] == events[0]["packet"]


def test_no_lookup_of_other_packets(lab: Lab, traces: dict[str, Trace]) -> None:
    lookups = [event for event in traces["entries"].events if event["func"] == PLAIN]
    assert not [event for event in lookups if "bash" in event["process"]]
    routes = [event for event in traces["entries"].events if event["func"] == "ip_route_input_slow"]
    # One to find the route, one to answer to, and one for the source where that is asked for.
    assert len(routes) == 1
    assert 1 <= len(lookups) <= 4


def test_what_a_lookup_returned(traces: dict[str, Trace]) -> None:
    lines: list[dict[str, Any]] = [
        each for each in traces["returns"].records if each["type"] in ("event", "return")
    ]
    entered = [each for each in lines if each["func"] == PLAIN and each["type"] == "event"]
    returned = [each for each in lines if each["func"] == PLAIN and each["type"] == "return"]
    assert len(entered) == len(returned) >= 1
    assert {each["returned"] for each in returned} == {0}
    assert all(each["depth"] >= 1 and each["inside"] for each in entered)


def test_the_reply_is_made_within_the_request(traces: dict[str, Trace]) -> None:
    functions = [event for event in traces["stack"].events if event["func"] != PLAIN]
    events = traces["stack"].events
    assert len(functions) < len(events), "of both kinds"
    requests = [event for event in events if event["tuple"]["daddr"] == "10.1.0.2"]
    replies = [event for event in events if event["tuple"]["daddr"] == "10.1.0.1"]
    assert len(requests) + len(replies) == len(events)
    assert {"icmp_rcv", "ip_output"} <= {event["func"] for event in requests}
    assert "ip_output" in {event["func"] for event in replies}
    assert {event["packet"] for event in requests}.isdisjoint(e["packet"] for e in replies)
    # Another packet's turn in the same softirq lies within none of them.
    assert "icmp_rcv" not in {event["func"] for event in replies}
    alone = traces["entries"].events
    assert alone
    assert {event["tuple"]["daddr"] for event in alone} == {"10.1.0.2"}


@pytest.mark.representative("6.12", "newest")  # 5.10 and 6.1 attach thousands in 100 s
def test_all_of_networking_inside(lab: Lab) -> None:
    """``@inside``: what the packet's functions call, by what it does and by no list."""
    inside = ("--filter-func", FUNCS, "--filter-non-skb-funcs", "@inside")
    with lab.tracing(*inside, "icmp[0] = 8") as tracing:
        lab.inside("a", f"bash -c '{OTHERS}'; ping -c1 -W5 10.1.0.2")
    assert tracing.trace is not None
    events = tracing.trace.events
    assert {event["packet"] for event in events} == {events[0]["packet"]}
    assert {event["tuple"]["daddr"] for event in events} == {"10.1.0.2"}
    assert "bash" not in {event["process"].partition(":")[0] for event in events}
    called = {event["func"] for event in events if event["inside"]}
    assert {PLAIN, "icmp_push_reply", "fib_lookup_good_nhc"} <= called
    # Without an argument of networking's; and the device's own, which no packet's function calls.
    assert called.isdisjoint({"kmem_cache_alloc", "kfree", "vfs_write", "tcp_sendmsg"})
