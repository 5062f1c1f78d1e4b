# SPDX-License-Identifier: Apache-2.0
"""Field expressions at functions: one that matches, one that does not, and what is printed."""

from __future__ import annotations

import re

import pytest
from jsonschema import Draft202012Validator

from pwru_py.output.schema import schema
from tests.kernel.lab import Lab, Trace

FUNCTIONS = ("--filter-func", "ip_output|ip_local_out|__dev_queue_xmit|ip_rcv|icmp_rcv|udp_rcv")
IP = "((struct iphdr *)(skb->head + skb->network_header))"
COMMON = "skb->sk->__sk_common."
DEEP = "(skb->len - " * 17 + "skb->len" + ")" * 17
VALUES = ("skb->mark", "skb->len", "skb->dev->name", "skb->protocol", f"{IP}->daddr", DEEP)
"""The last needs as much stack as there is."""
SHOWN = ("--output-skb-metadata", ",".join(VALUES))
NO_DEVICE = "skb->dev->mtu > 1500 or not skb->dev->mtu <= 1500"
"""No device has more than 1500 here; before routing there is none."""
SESSIONS = {
    "matches": ("--output-json", *FUNCTIONS, *SHOWN, "--filter-skb-expr",
                f'skb->mark == 0x75 and (not skb->dev or skb->dev->name == "eth0") and {DEEP} >= 0',
                "icmp"),
    "differs": ("--output-json", *FUNCTIONS, *SHOWN, "--filter-skb-expr",
                f"skb->mark == 0x76 or {NO_DEVICE}", "icmp"),
    "socket": ("--transport", "queue", *FUNCTIONS, "--output-meta=false",
               "--output-skb-metadata", f"{COMMON}skc_dport,{COMMON}skc_daddr,skb->pkt_type",
               "--filter-skb-expr",
               f"{COMMON}skc_dport == 7733 && {COMMON}skc_daddr == 10.1.0.0/30", "udp"),
}  # fmt: skip


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    running = {name: lab.listen(*arguments) for name, arguments in SESSIONS.items()}
    assert lab.inside("a", "ping -m 117 -c1 -W5 10.1.0.2").rc == 0
    assert lab.inside("a", "ping -c1 -W5 10.1.0.2").rc == 0
    assert lab.inside("a", "echo x > /dev/udp/10.1.0.2/7733").rc == 0
    assert lab.inside("a", "echo x > /dev/udp/10.1.0.2/7734").rc == 0
    return {name: tracing.finish() for name, tracing in running.items()}


@pytest.mark.parametrize("name", SESSIONS)
def test_every_session_ends_well(traces: dict[str, Trace], name: str) -> None:
    assert traces[name].rc == 0, traces[name].stderr


def test_values_of_what_matches(traces: dict[str, Trace]) -> None:
    trace, validator = traces["matches"], Draft202012Validator(schema())
    for record in trace.records:
        validator.validate(record)
    assert {event["mark"] for event in trace.events} == {117}
    assert {event["func"] for event in trace.events} >= {"ip_output", "__dev_queue_xmit"}
    for event in trace.events:
        values = event["skb_metadata"]
        assert [*values] == [*VALUES]
        assert values["skb->mark"] == 117
        assert values["skb->len"] == event["len"]
        assert values[DEEP] == 0
        assert values["skb->dev->name"] == (event["iface"] or None)
        assert values["skb->protocol"] == event["proto"]
        assert values[f"{IP}->daddr"] == "10.1.0.2"
    names = {event["skb_metadata"]["skb->dev->name"] for event in trace.events}
    assert {"eth0"} <= names <= {"eth0", None}


def test_what_does_not_match_is_not_shown(traces: dict[str, Trace]) -> None:
    assert traces["differs"].events == []
    assert traces["differs"].summary["losses"]["buffer_full"] == 0


def test_columns(traces: dict[str, Trace]) -> None:
    header, *rows = traces["socket"].stdout.splitlines()
    titles = ["sk->__sk_common.skc_dport", "sk->__sk_common.skc_daddr", "pkt_type", "FUNC"]
    assert header.split()[-4:] == titles
    assert rows
    assert re.search(r" 7733 +10\.1\.0\.2 +0 +ip_", rows[0])
    for row in rows:  # on the bridge the packet is for another host, and still the socket's
        assert "->10.1.0.2:7733(udp)" in row
        assert re.search(rf" 7733 +10\.1\.0\.2 +[03] +({FUNCTIONS[1]})$", row)
