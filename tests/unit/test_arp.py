# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.facts.counters import parse_own_addresses
from pwru_py.options.config import Config, is_arp
from pwru_py.packets.arp import ArpWatch
from pwru_py.record.event import Event, Frame, Tuple
from tests.unit.output.samples import event

HOST, OTHER = "10.0.0.1", "10.0.0.2"
REQUEST, REPLY = 1, 2


def request(asked: str = HOST, asks: str = OTHER, at: str = "arp_process", netns: int = 7) -> Event:
    return event(
        func="skb:consume_skb",
        netns=netns,
        ifname="eth0",
        tuple=Tuple(asks, asked, 0, 0, -1, False, arp=REQUEST),
        location=Frame(9, at, 1, ""),
    )


def reply(asked: str = HOST, asks: str = OTHER) -> Event:
    packet = Tuple(asked, asks, 0, 0, -1, False, arp=REPLY)
    return event(func="net:net_dev_queue", netns=7, ifname="eth0", tuple=packet)


def ignored(*events: Event) -> dict[str, int]:
    watch = ArpWatch(7)
    watch.see(events)
    return watch.ignored({HOST, "127.0.0.1"})


def test_a_request_without_an_answer() -> None:
    assert ignored(request(), request()) == {"eth0": 2}
    assert ignored(reply(), request(), reply(), request()) == {}
    assert ignored(reply(), request(), request()) == {"eth0": 1}


def test_what_tells_nothing() -> None:
    assert ignored(request(asked="10.0.0.9")) == {}, "another host's address"
    assert ignored(request(netns=8)) == {}, "another namespace"
    assert ignored(request(at="veth_xmit")) == {}, "a copy on its way out"
    assert ignored(request()._replace(location=None)) == {}, "the kernel does not say where"
    taken = reply()._replace(func="skb:consume_skb", location=Frame(9, "arp_process", 1, ""))
    assert ignored(taken) == {}, "a reply wants no answer"
    assert ignored(event()) == {}


@pytest.mark.parametrize(
    ("expression", "alone"),
    [
        ("arp", True),
        (" arp host 10.0.0.1", True),
        ("arp and host 10.0.0.1", True),
        ("arp or icmp", False),
        ("arp || icmp", False),
        ("icmp", False),
        ("arpa", False),
        ("", False),
    ],
)
def test_a_filter_for_arp_alone(expression: str, alone: bool) -> None:
    assert is_arp(expression) is alone
    assert Config(filter=expression, drops=True).watches_arp is alone
    assert not Config(filter=expression, drops=True, top=True).watches_arp
    assert not Config(filter=expression).watches_arp


FIB_TRIE = """\
Main:
  +-- 0.0.0.0/0 3 0 5
     |-- 0.0.0.0
        /0 universe UNICAST
     +-- 10.77.1.0/24 2 0 2
        |-- 10.77.1.0
           /24 link UNICAST
        |-- 10.77.1.1
           /32 host LOCAL
        |-- 10.77.1.255
           /32 link BROADCAST
Local:
        |-- 127.0.0.0
           /8 host LOCAL
           |-- 127.0.0.1
              /32 host LOCAL
"""


def test_the_hosts_own_addresses() -> None:
    assert parse_own_addresses(FIB_TRIE) == {"10.77.1.1", "127.0.0.1"}
    assert parse_own_addresses("") == set()
