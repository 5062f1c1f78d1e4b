# SPDX-License-Identifier: Apache-2.0
"""Columns that a session asks for, by tracepoints: who called, raw structures."""

from __future__ import annotations

import struct

import pytest

from tests.native.net import B, Net, serving

STRUCTURES = ("--output-skb", "--output-skb-shared-info", "--output-skb-cb")
# Takes a connection, and all that is sent.
SINK = serving(4100, "while taken.recv(65536): pass")
SEND = (
    "import socket; s = socket.create_connection(('10.77.2.2', 4100)); s.sendall(bytes(100000)); "
    "s.shutdown(1); s.settimeout(9); s.recv(1)"
)


@pytest.mark.parametrize("transport", ["ring", "queue"])
def test_who_called_the_function_that_a_tracepoint_is_in(net: Net, transport: str) -> None:
    with net.trace("--output-caller", "--transport", transport, "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    (trace,) = traces
    callers = {(e["func"], (e["caller_func"] or "").partition("+")[0]) for e in trace.events}
    assert ("net:net_dev_start_xmit", "__dev_queue_xmit") in callers
    assert ("net:net_dev_queue", "ip_finish_output2") in callers
    ends = [event for event in trace.events if event["location"]]
    assert ends
    assert all(event["caller_func"] == event["location"] for event in ends)


@pytest.mark.parametrize("transport", ["ring", "queue"])
def test_structures_of_packets_with_fragments(net: Net, transport: str) -> None:
    """A packet's bytes are in its linear memory and in fragments: each structure tells of one."""
    expression = "tcp and dst port 4100"
    net.python("b", SINK)
    with net.trace(*STRUCTURES, "--transport", transport, expression) as traces:
        net.python("a", SEND)
    (trace,) = traces
    gathered = 0
    for event in trace.events:
        skb, shared = event["sk_buff"], event["skb_shared_info"]
        assert (skb["len"], skb["mark"]) == (event["len"], event["mark"])
        assert skb["protocol"] == event["proto"]
        assert bytes(word & 0xFF for word in skb["cb"]) == struct.pack("=12I", *event["cb"])
        assert len(shared["frags"]) == shared["nr_frags"]
        if shared["frag_list"] == "0x0":
            assert sum(frag["len"] for frag in shared["frags"]) == skb["data_len"]
            gathered += shared["nr_frags"] > 0
        assert 0 < shared["dataref"]["counter"] & 0xFFFF < 10
    assert gathered > 3
    text = [*STRUCTURES, "--backend", "tracepoint", "-c", "1", "udp port 4101"]
    with net.tracing(*text) as traces:
        net.python("a", "import socket; socket.socket(2, 2).sendto(b'x', ('10.77.2.2', 4101))")
    lines = traces[0].stdout.splitlines()
    assert lines[2].startswith("    cb [0x")
    assert lines[3] == "    (struct sk_buff){"
    assert "    (struct skb_shared_info){" in lines


def test_the_packet_within(net: Net) -> None:
    """Where the outer headers are, and there alone."""
    for here, own, peer in (("a", "10.77.1.2", "10.77.2.2"), ("b", "10.77.2.2", "10.77.1.2")):
        net.run(here, f"ip link add t0 type vxlan id 7 dstport 4789 local {own} remote {peer}")
        net.run(here, "sysctl -qw net.ipv6.conf.t0.disable_ipv6=1")  # it would announce itself
        net.run(here, f"ip addr add 10.78.0.{1 + (here == 'b')}/24 dev t0 && ip link set t0 up")
    try:
        net.run("a", "ping -c1 -W5 10.78.0.2")
        with net.trace("--output-tunnel", "icmp or udp port 4789") as traces:
            net.run("a", "ping -c1 -W5 10.78.0.2")
    finally:
        for namespace in "ab":
            net.run(namespace, "ip link del t0")
    outer = [event for event in traces[0].events if event["tuple"]["proto"] == 17]
    assert {event["netns"] for event in outer} == {net.inode(name) for name in "arb"}
    for event in outer:
        assert {event["tunnel_tuple"][side] for side in ("saddr", "daddr")} == {
            "10.78.0.1",
            "10.78.0.2",
        }
        assert event["tunnel_tuple"]["icmp"]["name"] in ("echo request", "echo reply")
    inner = [event for event in traces[0].events if event["tuple"]["proto"] == 1]
    assert inner
    assert all(event["tunnel_tuple"] is None for event in inner)
