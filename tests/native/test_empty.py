# SPDX-License-Identifier: Apache-2.0
"""Traces that stay empty, each with its cause named first, and without its cause not."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.native.net import B, Net, serving

BELOW_A, BELOW_B = "10.78.0.1", "10.78.0.2"


def why(net: Net, send: Callable[[], object], *arguments: str) -> dict[str, Any]:
    """What the tracer says of a trace that must be empty."""
    with net.tracing("--explain-empty", "--output-json", *arguments) as traces:
        send()
        time.sleep(0.5)  # a sample is read in pauses
    (trace,) = traces
    assert trace.events == []
    (told,) = (record for record in trace.records if record["type"] == "empty")
    lines = trace.stderr.splitlines()
    assert "no event came:" in lines
    assert len(lines) - lines.index("no event came:") <= 10
    return told


def traced(net: Net, send: Callable[[], object], *arguments: str) -> dict[str, Any]:
    return why(net, send, "--backend", "tracepoint", *arguments)


def first(told: dict[str, Any]) -> tuple[str, bool]:
    cause = told["causes"][0]
    return cause["cause"], cause["certain"]


@pytest.fixture
def ping(net: Net) -> Callable[[], object]:
    return lambda: net.run("a", f"ping -c3 -i0.1 -W5 {B}")


@pytest.fixture
def udp(net: Net) -> Callable[[], object]:
    send = f"for n in 1 2 3; do echo x > /dev/udp/{B}/4003; done"
    return lambda: net.run("a", send, check=False)  # a rule there may refuse it


def test_source_and_target_are_swapped(net: Net, ping: Callable[[], object]) -> None:
    told = traced(net, ping, f"icmp[0] = 8 and src host {B}")
    assert first(told) == ("swapped", True)
    assert told["causes"][0]["text"] == (
        f"src and dst are swapped: 3 packets match 'icmp[0] = 8 and dst host {B}'"
    )


def test_the_port_is_that_of_the_other_side(net: Net, udp: Callable[[], object]) -> None:
    told = traced(net, udp, "udp src port 4003")
    assert first(told) == ("swapped", True)
    assert told["causes"][0]["text"].startswith("the port is that of the other side: 3 packets")


def test_one_clause_is_wrong(net: Net, ping: Callable[[], object]) -> None:
    told = traced(net, ping, f"host {B} and icmp and icmp[0] = 13")
    assert first(told) == ("clause", True)
    assert told["causes"][0]["text"].endswith("none of them 'icmp[0] = 13'")
    assert any("'icmp' 3, then 'icmp[0] = 13' 0" in fact or "'icmp' 6" in fact
               for fact in told["facts"])  # fmt: skip


def test_another_interface(net: Net, ping: Callable[[], object]) -> None:
    told = traced(net, ping, "--filter-netns", net.netns("b"), "-i", "lo", f"icmp and host {B}")
    assert first(told) in (("place", True), ("interface", True))
    assert "e3 of " in told["causes"][0]["text"]


def test_another_mark(net: Net, ping: Callable[[], object]) -> None:
    told = traced(net, ping, "--filter-mark", "7", f"icmp and host {B}")
    assert first(told) == ("mark", True)
    assert told["causes"][0]["text"] == (
        "6 packets match with mark 0x0, none with the mark asked for"
    )


def test_nothing_was_sent(net: Net, ping: Callable[[], object]) -> None:
    told = traced(net, ping, "host 10.77.9.1")
    assert first(told) == ("unsent", False)
    quiet = traced(net, lambda: None, "--filter-netns", net.netns("b"), "-i", "lo", "udp")
    assert ("quiet", True) in [(cause["cause"], cause["certain"]) for cause in quiet["causes"]]


def test_no_route(net: Net) -> None:
    def refused() -> None:
        net.run("a", "ping -c1 -W1 10.99.9.9", check=False)

    net.run("a", "ip route del default")
    try:
        told = traced(net, refused, "--filter-netns", net.netns("a"), "host 10.99.9.9")
        assert first(told)[0] == "no route"
        assert "no route to 10.99.9.9" in told["causes"][0]["text"]
    finally:
        net.run("a", "ip route add default via 10.77.1.1")


def test_the_other_family(net: Net) -> None:
    for name, number, device in (("a", 1, "e0"), ("r", 2, "e1")):
        net.run(name, f"ip addr add fd00:77::{number}/64 dev {device} nodad")
    try:
        told = traced(net, lambda: net.run("a", "ping -c2 -i0.1 -W5 fd00:77::2"),
                      "icmp and host 10.77.1.1")  # fmt: skip
        assert first(told) == ("family", False)
        assert told["causes"][0]["text"].startswith("they are IPv6, not IPv4")
    finally:
        for name, number, device in (("a", 1, "e0"), ("r", 2, "e1")):
            net.run(name, f"ip addr del fd00:77::{number}/64 dev {device}")


def test_nat_before_the_hook(net: Net) -> None:
    chain = "add chain ip t c { type nat hook prerouting priority -100; }"
    rule = f"add rule ip t c ip daddr 10.77.9.9 udp dport 53 dnat to {B}:4003"
    net.run("r", f"nft 'add table ip t; {chain}; {rule}'")
    try:
        told = traced(net, lambda: net.run("a", "echo x > /dev/udp/10.77.9.9/53"),
                      "--filter-netns", net.netns("b"), "host 10.77.9.9")  # fmt: skip
        found = [(cause["cause"], cause["text"]) for cause in told["causes"]]
        (text,) = [text for name, text in found if name == "translated"]
        assert f"10.77.9.9:53 is {B}:4003 there" in text or f"10.77.9.9 is {B} there" in text
        assert found[0][0] == "translated", "it names the reason; another place is its effect"
    finally:
        net.run("r", "nft delete table ip t")


@pytest.fixture
def below(net: Net) -> Iterator[Callable[[str], None]]:
    """Makes a device in a, and its other end in b, with addresses of their own."""

    def make(how: str) -> None:
        mine, theirs = ("10.77.1.2", B)
        for name, own, peer, address, device in (
            ("a", mine, theirs, BELOW_A, "e0"), ("b", theirs, mine, BELOW_B, "e3"),
        ):  # fmt: skip
            link = how.format(own=own, peer=peer, device=device)
            net.run(name, f"ip link add below {link}; ip addr add {address}/24 dev below; "
                    "ip link set below up")  # fmt: skip

    yield make
    for name in "ab":
        net.run(name, "ip link del below", check=False)


def test_a_tunnel_around_it(net: Net, below: Callable[[str], None]) -> None:
    below("type vxlan id 5 dstport 4789 local {own} remote {peer} dev {device}")
    told = traced(net, lambda: net.run("a", f"ping -c2 -i0.1 -W5 {BELOW_B}"),
                  "--filter-netns", net.netns("r"), f"icmp and host {BELOW_B}")  # fmt: skip
    assert first(told) == ("tunnel", True)
    assert "place" in [cause["cause"] for cause in told["causes"]], "it is plain at both ends"


TAGGED = """
import socket, struct
udp = struct.pack(">HHHH", 1, 4002, 8, 0)
ip = struct.pack(">BBHHHBBH4s4s", 0x45, 0, 28, 0, 0, 64, 17, 0, bytes([10, 99, 0, 1]),
                 bytes([10, 99, 0, 2])) + udp
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("e0", 0))
for n in range(3):
    s.send(bytes.fromhex("020000000101020000000102810000070800") + ip)
"""


def test_a_vlan_tag_around_it(net: Net) -> None:
    """r takes the tag off what is no VLAN of its own, and drops it: there it is plain."""
    told = traced(net, lambda: net.python("a", TAGGED),
                  "--filter-netns", net.netns("a"), "udp and dst port 4002")  # fmt: skip
    assert first(told) == ("tagged", True)
    assert told["causes"][0]["text"].endswith("'vlan and (udp and dst port 4002)'")
    told = traced(net, lambda: net.python("a", TAGGED),
                  "--filter-netns", net.netns("a"), "vlan 8 and udp")  # fmt: skip
    assert first(told) == ("other tag", True)


def test_another_namespace(net: Net) -> None:
    told = traced(net, lambda: net.run("a", "ping -c2 -i0.1 -W5 10.77.1.1"),
                  "--filter-netns", net.netns("b"), "icmp and dst host 10.77.1.1")  # fmt: skip
    assert first(told) == ("place", True), told
    assert told["causes"][0]["text"].startswith("2 packets match on e"), told


@pytest.mark.parametrize(
    ("where", "hook", "words"),
    [("a", "output", "in {a}, at no device"), ("r", "forward", "on e1 of {r}")],
)
def test_a_rule_on_the_way_drops_them(
    net: Net, udp: Callable[[], object], where: str, hook: str, words: str
) -> None:
    """It names where and why; that they pass elsewhere comes behind it."""
    chain = f"add chain ip t c {{ type filter hook {hook} priority 0; }}"
    net.run(where, f"nft 'add table ip t; {chain}; add rule ip t c udp dport 4003 drop'")
    try:
        told = traced(net, udp, "--filter-netns", net.netns("b"), "udp dst port 4003")
    finally:
        net.run(where, "nft delete table ip t")
    assert first(told) == ("dropped", True), told
    place = words.format(a=net.name("a"), r=net.name("r"))
    text = f"3 packets match and are dropped {place}: NETFILTER_DROP in nft_do_chain"
    assert told["causes"][0]["text"] == text
    assert told["causes"][1]["cause"] == "place"


def test_nothing_was_dropped(net: Net) -> None:
    net.python("b", serving(4004, "taken.recv(9)"))
    connect = f"exec 3<> /dev/tcp/{B}/4004; echo x >&3; sleep 0.2"
    told = why(net, lambda: net.run("a", connect), "--drops", "tcp dst port 4004 and tcp[13] = 2")
    assert first(told) == ("no drop", True)


def test_what_counters_alone_tell(net: Net, ping: Callable[[], object]) -> None:
    """Without a sample: devices counted packets, and the way to more is named."""
    arguments = ("--backend", "tracepoint", "--filter-netns", net.netns("b"), "udp port 9")
    with net.tracing(*arguments) as traces:
        ping()
    (trace,) = traces
    lines = trace.stderr[trace.stderr.index("no event came:") :]
    assert "e3 3 in 3 out" in lines
    assert "--explain-empty" in lines
    assert "1. " not in lines, "no cause without evidence"


def test_a_trace_with_events_says_nothing(net: Net, ping: Callable[[], object]) -> None:
    arguments = ("--explain-empty", "--backend", "tracepoint", "--output-json", f"host {B}")
    with net.tracing(*arguments) as traces:
        ping()
    (trace,) = traces
    assert trace.events
    assert "no event came" not in trace.stderr
    assert all(record["type"] != "empty" for record in trace.records)
