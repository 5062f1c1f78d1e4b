# SPDX-License-Identifier: Apache-2.0
"""What /proc and rtnetlink tell of a namespace's traffic."""

from __future__ import annotations

import errno
import struct

import pytest

from pwru_py.facts.proc_counters import all_of
from pwru_py.facts.traffic import Translated, parse_conntrack, rise
from pwru_py.kernel.rtnetlink import Links, Route, parse_route

SNMP = """\
Ip: Forwarding DefaultTTL InReceives OutRequests OutNoRoutes
Ip: 1 64 120 80 3
Icmp: InMsgs OutMsgs
Icmp: 5 6
"""


def test_counters_of_ip() -> None:
    found = all_of({"snmp": SNMP})
    assert (found["Ip.InReceives"], found["Ip.OutRequests"], found["Ip.OutNoRoutes"]) == (
        120,
        80,
        3,
    )
    assert all_of({"snmp6": "Ip6OutNoRoutes \t4\nIp6InDelivers \t9\n"})["Ip6OutNoRoutes"] == 4
    assert all_of({"snmp": "", "snmp6": ""}) == {}


@pytest.mark.parametrize(("before", "after", "rose"), [(3, 5, 2), (5, 5, 0), (9, 2, 2)])
def test_a_counter_that_began_anew_counts_whole(before: int, after: int, rose: int) -> None:
    assert rise(before, after) == rose


LINES = [
    # to 10.96.0.1:80, translated to 10.244.1.7:8080; the source is not
    "ipv4 2 tcp 6 431999 ESTABLISHED src=10.0.0.2 dst=10.96.0.1 sport=46104 dport=80 "
    "src=10.244.1.7 dst=10.0.0.2 sport=8080 dport=46104 [ASSURED] mark=0 use=1",
    # masqueraded
    "ipv4 2 icmp 1 29 src=10.0.0.2 dst=1.1.1.1 type=8 code=0 id=7 src=1.1.1.1 dst=192.0.2.1 "
    "type=0 code=0 id=7 mark=0 use=1",
    "ipv4 2 udp 17 29 src=10.0.0.2 dst=10.0.0.3 sport=1 dport=2 src=10.0.0.3 dst=10.0.0.2 "
    "sport=2 dport=1 mark=0 use=1",
    "no line of this kind",
]


def test_connections_that_nat_changes() -> None:
    assert parse_conntrack(LINES, ["10.96.0.1"], 9) == (
        Translated("10.96.0.1", "10.244.1.7", 80, 8080),
    )
    assert parse_conntrack(LINES, ["10.244.1.7"], 9) == (
        Translated("10.244.1.7", "10.96.0.1", 8080, 80),
    )
    assert parse_conntrack(LINES, ["10.0.0.2"], 9) == (Translated("10.0.0.2", "192.0.2.1"),)
    assert parse_conntrack(LINES, ["10.0.0.3"], 9) == ()
    assert parse_conntrack(LINES, ["10.96.0.1"], 0) == (), "no more lines than asked for"


def test_an_answer_about_a_route() -> None:
    refused = struct.pack("=IHHIIi", 36, 2, 0, 1, 1, -errno.ENETUNREACH)
    assert parse_route(refused) == Route(errno.ENETUNREACH)
    body = struct.pack("=BBBBBBBBI", 2, 32, 0, 0, 254, 0, 0, 2, 0) + struct.pack("=HHI", 8, 4, 7)
    answer = struct.pack("=IHHII", 16 + len(body), 24, 0, 1, 1) + body
    assert parse_route(answer) == Route(0, 7, local=True)


def test_the_kernel_knows_the_way_to_loopback() -> None:
    links = Links()
    try:
        assert links.route("127.0.0.1").local
        assert links.route("::1") == links.route("::1")
    finally:
        links.close()
