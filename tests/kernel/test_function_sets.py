# SPDX-License-Identifier: Apache-2.0
"""``--filter-func @NAME``: what each set sees of the same packets, and what it does not."""

from __future__ import annotations

import re

import pytest

from tests.kernel.lab import Lab, Trace

# A pattern with sets, and the expression that goes with it.
SESSIONS = {
    "@drops": "icmp or udp",  # TCP has the kernel drop more, as in TIME-WAIT
    "@netfilter": "icmp or tcp or udp",
    "@tcp": "icmp or tcp or udp",
    "@journey": "icmp or tcp or udp",
}
HOSTS = "ip host 10.1.0.1 and host 10.1.0.2 and "
SERVER = "import socket; s = socket.socket(); s.bind(('10.1.0.2', 5000)); s.listen(); "
SERVER += "s.accept()[0].recv(9)"
CLIENT = "exec 3<>/dev/tcp/10.1.0.2/5000; echo x >&3"
RULE = "add table ip t; add chain ip t i { type filter hook input priority 0; }; "
RULE += "add rule ip t i udp dport 7 drop"

# Written here by hand: the families of functions that a set is about.
FAMILY = {
    "@netfilter": r"_*(nf|nft|xt|ipt|ip6t|br_nf)_.*|ip_tables_.*",
    "@tcp": r"_*(tcp|tcp4|inet_csk)_.*",
}


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    assert lab.inside("b", f"nft '{RULE}'").rc == 0
    server = lab.guest.start(f'exec ip netns exec b python3 -I -S -c "{SERVER}"')
    lab.inside("b", "until ss -ltn | grep -q :5000; do sleep 0.1; done")
    running = {
        each: lab.listen("--output-json", "--filter-func", each, f"{HOSTS}({expression})")
        for each, expression in SESSIONS.items()
    }
    try:
        sent = f"ping -c1 -W5 10.1.0.2 && echo x > /dev/udp/10.1.0.2/7; {CLIENT}"
        assert lab.inside("a", sent).rc == 0
        server.wait(30)
        found = {each: tracing.finish() for each, tracing in running.items()}
    finally:
        lab.inside("b", "nft delete table ip t")
    for trace in found.values():
        assert trace.rc == 0, trace.stderr
        assert not trace.summary["losses"]["buffer_full"]
    return found


def protocols(trace: Trace) -> set[int]:
    return {event["tuple"]["proto"] for event in trace.events}


@pytest.mark.representative("5.10", "newest")
@pytest.mark.parametrize("name", FAMILY)
def test_a_family_and_nothing_else(traces: dict[str, Trace], name: str) -> None:
    functions = {event["func"] for event in traces[name].events}
    others = {each for each in functions if not re.fullmatch(FAMILY[name] + "|skb:.*", each)}
    assert functions
    assert others == set()


@pytest.mark.representative("5.10", "newest")
def test_what_each_sees_of_the_packets(lab: Lab, traces: dict[str, Trace]) -> None:
    seen = {name: {event["func"] for event in trace.events} for name, trace in traces.items()}
    assert {"tcp_v4_rcv"} <= seen["@tcp"]
    assert "nf_hook_slow" in seen["@netfilter"]
    assert {"__dev_queue_xmit", "skb_copy_datagram_iter"} <= seen["@journey"]
    assert seen["@journey"].isdisjoint({"ip_rcv", "ip_output", "tcp_v4_rcv", "icmp_rcv"})
    assert protocols(traces["@netfilter"]) == protocols(traces["@journey"]) == {1, 6, 17}
    assert protocols(traces["@tcp"]) == {6}


@pytest.mark.representative("5.10", "newest")
def test_drops_shows_what_was_dropped(lab: Lab, traces: dict[str, Trace]) -> None:
    dropped = [event for event in traces["@drops"].events if event["drop"]]
    # The kernel drops a reply, too, once ping has got its copy.
    assert [event["tuple"]["proto"] for event in dropped] == [1, 17]
    assert dropped[1]["tuple"]["dport"] == 7
    if lab.has_reasons:
        assert dropped[1]["drop_reason"] == "NETFILTER_DROP"
