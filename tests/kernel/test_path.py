# SPDX-License-Identifier: Apache-2.0
"""The way of a packet: namespaces and interfaces in order, ARP, NAT."""

from __future__ import annotations

from itertools import groupby
from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace


def journey(events: list[dict[str, Any]]) -> list[tuple[int, str]]:
    """(netns, interface) without repetitions, where an interface is known."""
    return [place for place, _ in groupby((e["netns"], e["iface"]) for e in events if e["iface"])]


FORGET = "ip -n a neigh flush all; ip -n b neigh flush all"
"""Just before a ping that is to ask for its neighbour: until then each may ask the other."""


@pytest.fixture(scope="module")
def pings(lab: Lab) -> Trace:
    modules = ["--kmods", "bridge,veth"] if lab.has_module_btf else []
    with lab.tracing(*modules, *lab.few, "icmp or icmp6 or arp") as tracing:
        lab.run(FORGET)
        lab.inside("a", "ping -c1 -W5 10.1.0.2; ping -6 -c1 -W5 fd00:1::2")
    assert tracing.trace is not None
    return tracing.trace


@pytest.mark.parametrize(
    ("saddr", "daddr", "proto"), [("10.1.0.1", "10.1.0.2", 1), ("fd00:1::1", "fd00:1::2", 58)]
)
def test_ping_through_the_bridge(
    lab: Lab, pings: Trace, saddr: str, daddr: str, proto: int
) -> None:
    root = int(lab.run("stat -Lc %i /proc/self/ns/net").stdout)
    a, b = lab.inode("a"), lab.inode("b")
    there: list[tuple[int, str]] = [(a, "eth0"), (root, "va"), (root, "vb"), (b, "eth0")]
    requests: dict[str, list[dict[str, Any]]] = {}
    for event in pings.events:
        packet = event["tuple"]
        if packet and (packet["saddr"], packet["daddr"], packet["proto"]) == (saddr, daddr, proto):
            requests.setdefault(event["skb"], []).append(event)
    # Of the packets between the two (IPv6: neighbour discovery too) the echo makes this way.
    assert there in [journey(events)[:4] for events in requests.values()]


def test_bridge_functions_are_named_with_their_module(lab: Lab, pings: Trace) -> None:
    found = {(event["func"], event["module"]) for event in pings.events}
    if lab.has_module_btf:
        assert ("br_dev_queue_push_xmit", "bridge") in found
    else:
        error = lab.run("pwru-py --kmods veth --list-funcs")
        assert (error.rc, error.stdout) == (1, "")
        assert error.stderr == ("pwru-py: module veth has no BTF: its functions cannot be traced\n")


TCP = """
import socket
server = socket.create_server(("127.0.0.1", 8099))
client = socket.create_connection(server.getsockname())
peer, _ = server.accept()
client.send(b"x")
assert peer.recv(1) == b"x"
"""
CORE_OUT = (
    "__ip_local_out",
    "ip_output",
    "ip_finish_output2",
    "__dev_queue_xmit",
    "dev_hard_start_xmit",
)
CORE_IN = ("ip_rcv", "ip_local_deliver", "ip_protocol_deliver_rcu")


@pytest.mark.representative("6.1", "newest")
def test_the_core_set_shows_the_way(lab: Lab) -> None:
    """Of a ping from a to b, and of a TCP connection within a, in the order of the way."""
    with lab.tracing("--filter-func", "@core", "icmp[0] == 8 or (tcp and port 8099)") as tracing:
        lab.inside("a", f"ping -c1 -W5 10.1.0.2; python3 -I -S -c '{TCP}'")
    assert tracing.trace is not None
    events = tracing.trace.events
    names = {event["func"] for event in events}
    assert {"kfree_skbmem", "tcp_v4_rcv", "loopback_xmit"} <= names
    assert {"tcp_data_queue", "tcp_rcv_established"} & names
    assert not {"tcp_ack", "ip_rcv_core", "ip_send_skb"} & names
    ping = [event["func"] for event in events if (event["tuple"] or {}).get("proto") == 1]
    way = [name for name in dict.fromkeys(ping) if name in (*CORE_OUT, *CORE_IN, "icmp_rcv")]
    assert way == [*CORE_OUT, *CORE_IN, "icmp_rcv"]


def test_arp_on_both_sides(lab: Lab, pings: Trace) -> None:
    arp = [e for e in pings.events if e["tuple"] and e["tuple"]["proto"] is None]
    places = {(e["netns"], e["func"]) for e in arp}
    assert (lab.inode("a"), "arp_xmit") in places
    assert (lab.inode("b"), "arp_rcv") in places
    sent = [e["tuple"] for e in arp if e["func"] == "arp_xmit" and e["netns"] == lab.inode("a")]
    asks = [each for each in sent if each["arp"] == {"operation": 1, "name": "request"}]
    assert (asks[0]["saddr"], asks[0]["daddr"]) == ("10.1.0.1", "10.1.0.2")
    assert asks[0]["sport"] == asks[0]["dport"] == 0
    assert any(e["tuple"]["arp"]["name"] == "reply" for e in arp)


@pytest.mark.representative("5.10", "newest")
def test_stacks_name_modules(lab: Lab) -> None:
    with lab.tracing("--output-stack", "--filter-func", "__dev_queue_xmit|dev_hard_start_xmit",
                     "icmp and src host 10.1.0.1") as tracing:  # fmt: skip
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
    assert tracing.trace is not None
    frames = {
        (frame["symbol"] or "", frame["module"])
        for event in tracing.trace.events
        for frame in event["stack"]
    }
    assert any(s.startswith("br_") and module == "bridge" for s, module in frames), frames


CLONED = """
import socket, subprocess
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(3)):
    subprocess.run(["ping", "-c3", "-i0.1", "-W5", "10.1.0.2"], check=True)
"""


@pytest.mark.representative("6.1", "newest")
def test_a_copy_in_the_making_is_not_taken_for_the_packet(lab: Lab) -> None:
    """Every packet is cloned for the socket, into memory that still holds an earlier clone."""
    functions = "__copy_skb_header|dev_queue_xmit_nit"
    with lab.tracing("--filter-func", functions, "icmp and src host 10.1.0.1") as tracing:
        lab.inside("a", f"python3 -c '{CLONED}'")
    assert tracing.trace is not None
    packets: dict[str, set[tuple[str, int, int]]] = {}
    for event in tracing.trace.events:
        assert event["len"] in (84, 98), event  # the IPv4 packet, its frame
        if event["netns"] == lab.inode("a"):
            packet = (event["skb"], event["netns"], event["len"])
            packets.setdefault(event["func"], set()).add(packet)
    assert packets["dev_queue_xmit_nit"] <= packets["__copy_skb_header"]


NAT = """
ip netns exec a iptables-legacy -t nat -A OUTPUT -d 9.9.9.9 -j DNAT --to 10.1.0.2
ip netns exec a ip6tables-legacy -t nat -A OUTPUT -d 2620:fe::9 -j DNAT --to fd00:1::2
"""


def test_dnat_is_followed(lab: Lab) -> None:
    lab.run(NAT)
    lab.inside("a", "ping -c1 -W5 10.1.0.2; ping -6 -c1 -W5 fd00:1::2")
    expression = "dst host 9.9.9.9 or dst host 2620:fe::9"
    with lab.tracing("--filter-track-skb", *lab.few, expression) as tracing:
        lab.inside("a", "echo x > /dev/udp/9.9.9.9/53; echo x > /dev/udp/2620:fe::9/53")
    assert tracing.trace is not None
    for before, after in (("9.9.9.9", "10.1.0.2"), ("2620:fe::9", "fd00:1::2")):
        seen: dict[str, list[str]] = {}
        for event in tracing.trace.events:
            if event["tuple"]:
                seen.setdefault(event["skb"], []).append(event["tuple"]["daddr"])
        both = [d for d in seen.values() if before in d and after in d]
        assert both, seen
        assert both[0].index(before) < both[0].index(after)
    assert lab.inode("b") in {event["netns"] for event in tracing.trace.events}


def test_an_address_used_again_is_not_followed(lab: Lab) -> None:
    """After the followed packet is gone, others at its address are others."""
    expression = "udp and dst port 5353 and dst host 10.1.0.2"
    with lab.tracing("--filter-track-skb", *lab.few, expression) as tracing:
        lab.inside("a", "echo x > /dev/udp/10.1.0.2/5353; ping -c60 -i0.01 -W5 10.1.0.2")
    assert tracing.trace is not None
    # The ICMP error quotes the packet in a new one; a ping has nothing to do with it.
    echoes = [e for e in tracing.trace.events if e["tuple"] and e["tuple"]["proto"] == 1]
    assert not echoes, echoes[:3]
    assert "udp_rcv" in tracing.trace.functions


CHANGES = """
set -e
ip netns add d1; ip netns add d2
send() { ip netns exec $1 bash -c "echo x > /dev/udp/10.77.0.2/$2"; }
address() { ip -n $1 addr replace 10.77.0.1/24 dev $2; ip -n $1 link set $2 up
            ip -n $1 neigh replace 10.77.0.2 lladdr 02:00:00:00:00:02 dev $2; }
ip -n d1 link add dum0 index 77 type dummy; address d1 dum0; send d1 1
ip -n d1 link set dum0 mtu 1400; send d1 2
ip -n d1 link set dum0 down; ip -n d1 link set dum0 name dum1; address d1 dum1; send d1 3
ip -n d1 link del dum1; ip -n d1 link add dum1 index 78 type dummy; address d1 dum1; send d1 4
ip -n d1 link set dum1 netns d2; address d2 dum1; send d2 5
"""


@pytest.mark.representative("5.10", "6.12")
def test_a_device_is_told_of_as_it_is_now(lab: Lab) -> None:
    """Its MTU, name, index and namespace change between packets that follow each other."""
    functions = "__dev_queue_xmit|dev_hard_start_xmit"
    with lab.tracing("--filter-func", functions, "udp and dst host 10.77.0.2") as tracing:
        assert lab.run(CHANGES).rc == 0
    assert tracing.trace is not None
    d1, d2 = lab.inode("d1"), lab.inode("d2")
    lab.run("ip netns del d1; ip netns del d2")
    found: dict[int, set[tuple[int, str, int, int]]] = {}
    for event in tracing.trace.events:
        device = (event["netns"], event["iface"], event["ifindex"], event["mtu"])
        found.setdefault(event["tuple"]["dport"], set()).add(device)
    assert found == {
        1: {(d1, "dum0", 77, 1500)},
        2: {(d1, "dum0", 77, 1400)},
        3: {(d1, "dum1", 77, 1400)},
        4: {(d1, "dum1", 78, 1500)},
        5: {(d2, "dum1", 78, 1500)},
    }


RENAMED = """
import os, socket, time
to = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
with open("/proc/self/comm", "w") as comm:
    comm.write("first")
to.sendto(b"x", ("10.1.0.2", 6001))
time.sleep(0.001)
with open("/proc/self/comm", "w") as comm:
    comm.write("second")
to.sendto(b"x", ("10.1.0.2", 6002))
os.execvp("bash", ["bash", "-c", "echo x > /dev/udp/10.1.0.2/6003"])
"""


@pytest.mark.representative("5.10", "6.12")
def test_a_process_is_told_of_as_it_is_now(lab: Lab) -> None:
    expression = "udp and dst host 10.1.0.2 and dst portrange 6001-6003"
    with lab.tracing("--filter-func", "ip_output|ip_send_skb", expression) as tracing:
        assert lab.inside("a", f"python3 -c '{RENAMED}'").rc == 0
    assert tracing.trace is not None
    found: dict[int, set[str]] = {}
    for event in tracing.trace.events:
        found.setdefault(event["tuple"]["dport"], set()).add(event["comm"])
    assert found == {6001: {"first"}, 6002: {"second"}, 6003: {"bash"}}
    assert len({event["pid"] for event in tracing.trace.events}) == 1
