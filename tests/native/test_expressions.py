# SPDX-License-Identifier: Apache-2.0
"""Field expressions on packets whose fields are known from elsewhere, by tracepoints."""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

import pytest

from tests.kernel.lab import Trace
from tests.native.net import Net

PORT, SOURCE, MARK = 4017, 5017, 0x51
SEND = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 36, {MARK})  # SO_MARK
s.setsockopt(socket.SOL_SOCKET, socket.SO_PRIORITY, 5)
s.bind(("10.77.1.2", {SOURCE}))
s.connect(("10.77.2.2", {PORT}))
s.send(b"12345678901")
s.close()
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
s.bind(("10.77.1.2", {SOURCE}))
s.connect(("10.77.2.2", {PORT}))
s.send(b"123")
"""
FRAME = 14 + 20 + 8 + 11
COMMON = "skb->sk->__sk_common."
IP = "((struct iphdr *)(skb->head + skb->network_header))"
VALUES = (
    "skb->mark", "skb->len", "skb->priority", "skb->protocol", "skb->pkt_type", "skb->dev->name",
    "skb->dev->ifindex", "skb->dev->mtu", f"{COMMON}skc_dport", f"{COMMON}skc_num",
    f"{COMMON}skc_daddr", f"{COMMON}skc_family", "skb->dev->nd_net.net->ns.inum",
    f"{IP}->ttl", f"{IP}->daddr", f"{IP}->version",
    "((struct ethhdr *)(skb->head + skb->mac_header))->h_dest",
)  # fmt: skip
SENT = ("net:net_dev_queue", "net:net_dev_start_xmit")
ASKED = {
    "matches": f"skb->mark == {MARK:#x} && skb->dev->mtu >= 1500",
    "socket": f"{COMMON}skc_dport == {PORT} and {COMMON}skc_daddr == 10.77.2.0/24 and skb->mark",
    "name": 'skb->dev->name == "e0" and skb->priority == 5',
    "packet": f"{IP}->saddr == 10.77.1.2 and {IP}->protocol == IPPROTO_UDP and skb->mark",
    "bits": "skb->pkt_type == PACKET_OTHERHOST or skb->pkt_type == 6",
    "not": f"skb->mark == {MARK + 1:#x} or skb->dev->mtu < 1500",
    "unknown": f"{COMMON}skc_num != {SOURCE} and not {COMMON}skc_num != {SOURCE}",
}


def ifindex(net: Net, namespace: str, name: str) -> int:
    (link,) = json.loads(net.run(namespace, f"ip -j link show {name}"))
    return int(link["ifindex"])


@pytest.fixture(scope="module")
def traces(net: Net) -> dict[str, Trace]:
    """One packet with a mark and one without, seen from namespace a."""
    found = {}
    for name, expression in ASKED.items():
        shown = ("--output-skb-metadata", ",".join(VALUES)) if name == "matches" else ()
        with net.trace(
            "--filter-netns", net.netns("a"), "--filter-skb-expr", expression, *shown,
            f"udp port {PORT}",
        ) as trace:  # fmt: skip
            net.python("a", SEND)
        found[name] = trace[0]
    return found


def sent(trace: Trace) -> list[dict[str, Any]]:
    return [event for event in trace.events if event["func"] in SENT]


def test_values_are_those_of_the_packet(net: Net, traces: dict[str, Trace]) -> None:
    events = sent(traces["matches"])
    assert {event["func"] for event in events} == {*SENT}
    for event in events:
        assert event["skb_metadata"] == {
            "skb->mark": MARK,
            "skb->len": FRAME,
            "skb->priority": 5,
            "skb->protocol": 0x0800,
            "skb->pkt_type": 0,
            "skb->dev->name": "e0",
            "skb->dev->ifindex": ifindex(net, "a", "e0"),
            "skb->dev->mtu": 1500,
            f"{COMMON}skc_dport": PORT,
            f"{COMMON}skc_num": SOURCE,
            f"{COMMON}skc_daddr": "10.77.2.2",
            f"{COMMON}skc_family": 2,
            "skb->dev->nd_net.net->ns.inum": net.inode("a"),
            f"{IP}->ttl": 64,
            f"{IP}->daddr": "10.77.2.2",
            f"{IP}->version": 4,
            "((struct ethhdr *)(skb->head + skb->mac_header))->h_dest": "02:00:00:00:01:01",
        }


@pytest.mark.parametrize("name", ["matches", "socket", "name", "packet"])
def test_the_packet_with_the_mark_matches_alone(traces: dict[str, Trace], name: str) -> None:
    assert {event["mark"] for event in traces[name].events} == {MARK}
    assert {event["len"] for event in sent(traces[name])} == {FRAME}


@pytest.mark.parametrize("name", ["bits", "not", "unknown"])
def test_what_does_not_match_is_not_shown(traces: dict[str, Trace], name: str) -> None:
    assert traces[name].events == []
    assert traces[name].summary["losses"]["buffer_full"] == 0


def test_a_field_that_cannot_be_read_is_null(net: Net) -> None:
    """Behind a forwarding host no socket is left, until the packet arrives."""
    values = f"{COMMON}skc_num,skb->dev->name,skb->sk"
    with net.trace(
        "--filter-netns", net.netns("r"), "--output-skb-metadata", values, f"udp port {PORT}"
    ) as trace:
        net.python("a", SEND)
    queued = [event for event in trace[0].events if event["func"] == "net:net_dev_queue"]
    assert queued
    for event in queued:
        assert event["skb_metadata"] == {
            f"{COMMON}skc_num": None, "skb->dev->name": "e2", "skb->sk": "0x0",
        }  # fmt: skip


def test_drops_take_a_condition_and_show_values(net: Net) -> None:
    """Nobody listens at the port: each of the two packets is dropped in b."""
    arguments = ("--drops", "--filter-skb-expr", f"skb->len == {FRAME - 34}")
    with net.tracing(
        "--output-json", *arguments, "--output-skb-metadata", "skb->len,skb->dev->name",
        f"udp port {PORT}",
    ) as trace:  # fmt: skip
        net.python("a", SEND)
    (event,) = trace[0].events
    assert event["drop_reason"] == "NO_SOCKET"
    assert event["skb_metadata"] == {"skb->len": FRAME - 34, "skb->dev->name": "e3"}


def test_a_followed_packet_passes_without_it(net: Net) -> None:
    """Only at the sender it has its mark: scrubbed on its way to another namespace."""
    plain, followed = ((), ("--filter-track-skb",))
    seen = []
    for more in (plain, followed):
        with net.trace("--filter-skb-expr", f"skb->mark == {MARK}", *more,
                       f"udp port {PORT}") as trace:  # fmt: skip
            net.python("a", SEND)
        seen.append({event["mark"] for event in trace[0].events})
    assert seen == [{MARK}, {MARK, 0}]


def test_a_journey_takes_a_condition(net: Net) -> None:
    with net.tracing(
        "--journey",
        "--output-json",
        "--filter-skb-expr",
        f"skb->mark == {MARK}",
        f"udp port {PORT}",
    ) as trace:
        net.python("a", SEND)
    journeys = [record for record in trace[0].records if record["type"] == "journey"]
    (journey,) = journeys
    assert [hop["iface"] for hop in journey["hops"]] == ["e0", "e1", "e2", "e3"]


def test_the_longest_that_fit(net: Net) -> None:
    """Programs of the large objects, and every byte of a record's room."""
    condition = " or ".join(f"skb->dev->ifindex == {number}" for number in range(5000, 5180))
    values = ",".join(f"skb->cb[{number}]" for number in range(40))
    values += "," + ",".join(f"(char *)(skb->dev->name + {number})" for number in range(9))
    with net.trace(
        "--filter-netns", net.netns("a"), "--filter-skb-expr", f"{condition} or skb->mark",
        "--output-skb-metadata", values, f"udp port {PORT}",
    ) as trace:  # fmt: skip
        net.python("a", SEND)
    (event, *_) = sent(trace[0])
    assert len(event["skb_metadata"]) == 49
    assert event["skb_metadata"]["(char *)(skb->dev->name + 1)"] == "0"


def test_a_wrong_expression_is_a_usage_error() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "pwru_py", "--filter-skb-expr", "skb->dev->mtuu > 1"],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        "pwru-py: --filter-skb-expr, column 11 at 'mtuu > 1': struct net_device has no member "
        "'mtuu': did you mean mtu?\n"
    )
