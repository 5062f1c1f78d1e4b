# SPDX-License-Identifier: Apache-2.0
"""Filters for the packet inside a tunnel, on the sending and on the receiving side."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

# kind: the tunnel's device in a; b has its twin. Inner addresses 10.N.0.1 and 10.N.0.2.
TUNNELS = {
    "vxlan": "vxlan id 7 dstport 4789 local {local} remote {remote}",
    "vxlan-linux": "vxlan id 8 dstport 8472 local {local} remote {remote}",
    "geneve": "geneve id 9 remote {remote}",
    "gretap": "gretap local {local} remote {remote} key 5",
    "gre": "gre local {local} remote {remote} csum key 6",
    "ipip": "ipip local {local} remote {remote}",
}
ETHERNET = {"vxlan", "vxlan-linux", "geneve", "gretap"}
EXPRESSIONS = {
    "l2": "icmp[icmptype] = icmp-echo",
    "l3": "icmp and src net 10.0.0.0/8 and icmp[0] = 8",
}


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    """Both filters watch one ping through each tunnel and one outside all of them."""
    pings = ["ping -c1 -W5 10.1.0.2"]
    for number, (name, device) in enumerate(TUNNELS.items(), 50):
        for here, there, side in (("10.1.0.1", "10.1.0.2", "a"), ("10.1.0.2", "10.1.0.1", "b")):
            kind = device.format(local=here, remote=there)
            lab.run(
                f"ip -n {side} link add t{number} type {kind} && "
                f"ip -n {side} addr add 10.{number}.0.{here[-1]}/24 dev t{number} && "
                f"ip -n {side} link set t{number} up || echo failed {name}"
            )
        pings.append(f"ping -c1 -W5 10.{number}.0.2")
    lab.inside("a", "; ".join(pings))
    running = {
        layer: lab.listen(
            "--output-json",
            "--output-tunnel",
            *lab.few,
            f"--filter-tunnel-pcap-{layer}",
            expression,
        )
        for layer, expression in EXPRESSIONS.items()
    }
    for ping in pings:
        assert lab.inside("a", ping).rc == 0, ping
    return {layer: tracing.finish() for layer, tracing in running.items()}


def outer(trace: Trace, lab: Lab, side: str, name: str) -> list[dict[str, Any]]:
    """Events in a namespace whose (outer) tuple is that of the tunnel."""
    proto = {"vxlan": 17, "vxlan-linux": 17, "geneve": 17, "gretap": 47, "gre": 47, "ipip": 4}
    port = {"vxlan": 4789, "vxlan-linux": 8472, "geneve": 6081}.get(name, 0)
    return [
        event
        for event in trace.events
        if event["netns"] == lab.inode(side)
        and event["tuple"]
        and event["tuple"]["proto"] == proto[name]
        and event["tuple"]["dport"] == port
    ]


@pytest.mark.parametrize("name", TUNNELS)
@pytest.mark.parametrize("layer", ["l2", "l3"])
def test_inner_packet(lab: Lab, traces: dict[str, Trace], layer: str, name: str) -> None:
    sent, received = (outer(traces[layer], lab, side, name) for side in "ab")
    if layer == "l2" and name not in ETHERNET:
        # Seen from outside, gre and gretap are alike: only gretap's packet is there.
        assert len({event["skb"] for event in received if event["func"] == "ip_rcv"}) == (
            1 if name == "gre" else 0
        )
        return
    assert "__dev_queue_xmit" in [event["func"] for event in sent]
    assert "ip_rcv" in [event["func"] for event in received], "before it is decapsulated"
    alike = ("gre", "gretap") if "gre" in name else (name,)
    numbers = [number for number, kind in enumerate(TUNNELS, 50) if kind in alike]
    for event in (*sent, *received):
        inner = event["tunnel_tuple"]
        if event["func"] in ("__dev_queue_xmit", "ip_rcv"):
            assert inner, event
        if inner:
            assert inner["saddr"] in [f"10.{number}.0.1" for number in numbers], event
            assert inner["daddr"] == f"{inner['saddr'][:-1]}2", event
            assert inner["icmp"]["type"] == 8, event


def test_a_packet_without_an_inner_one_does_not_match(traces: dict[str, Trace]) -> None:
    plain = [
        event
        for trace in traces.values()
        for event in trace.events
        if event["tuple"] and event["tuple"]["proto"] == 1 and event["iface"] == "eth0"
        and event["func"] in ("icmp_rcv", "dev_hard_start_xmit")
    ]  # fmt: skip
    assert not plain
