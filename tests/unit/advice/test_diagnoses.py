# SPDX-License-Identifier: Apache-2.0
"""What values prove: causes that no native test makes, other kernels' reasons, and opposites."""

from __future__ import annotations

import errno
import re
from pathlib import Path
from typing import Any

import pytest

from pwru_py.advice import silent
from pwru_py.advice.case import Answers, Drop, Fact, Reading, Verdict, link, peer, route, sysctl
from pwru_py.advice.table import every, findings, readings, variant
from pwru_py.record.event import DroppedBy, Icmp, Tuple
from pwru_py.record.event import Verdict as NfVerdict

UDP = Tuple("10.0.0.1", "10.0.0.2", 999, 53, 17, True)
TCP = Tuple("10.0.0.1", "10.0.0.2", 999, 80, 6, True)
V6 = Tuple("fd00::1", "fd00::2", 999, 53, 17, True)
ADVICE = Path(__file__).parents[3] / "pwru_py" / "advice"
KERNELS = sorted((Path(__file__).parents[1] / "reason_names").glob("*.txt"))
MOST = "net/netfilter/nf_conntrack_max"
COUNT = "net/netfilter/nf_conntrack_count"


def drop(reason: str, function: str = "f", packet: Tuple | None = UDP, **more: Any) -> Drop:
    return Drop(reason, function, 1, more.pop("ifname", "eth0"), packet, **more)


def answers(
    values: dict[Reading, Any] | None = None,
    *,
    rises: dict[str, int] | None = None,
    totals: dict[str, int] | None = None,
) -> Answers:
    """``values`` at the drop and at the end; counters that rose from 100."""
    after = {name: 100 + rise for name, rise in (rises or {}).items()} | (totals or {})
    before = dict.fromkeys(rises or {}, 100) | (totals or {})
    return Answers(values or {}, values or {}, before, after)


def first(asked: Drop, told: Answers) -> tuple[str, str]:
    found = findings(asked, told)[0]
    return found.verdict, found.what


def test_every_reason_is_one_of_a_kernel() -> None:
    names = {name for path in KERNELS for name in path.read_text().split()}
    between = {"QDISC_OVERLIMIT", "QDISC_CONGESTED", "CAKE_FLOOD", "DUALPI2_STEP_DROP"}
    assert {reason for reason, _ in every() if reason} - names == between, "of 6.18"


# Reasons that say all by themselves: nothing need be read to be sure of them.
SURE = (
    "IP_INHDR", "IP_INVALID_SOURCE", "IP_INVALID_DEST", "TCP_LISTEN_OVERFLOW",
    "SOCKET_BACKLOG", "TCP_ZEROWINDOW", "TCP_RFC7323_PAWS", "TCP_RFC7323_TW_PAWS", "TCP_OFOMERGE",
    "TCP_OLD_DATA", "TCP_INVALID_END_SEQUENCE", "TCP_OVERWINDOW", "TCP_MD5NOTFOUND",
    "TCP_MD5UNEXPECTED", "TCP_MD5FAILURE", "UDP_CSUM",
    "TCP_CSUM", "IP_CSUM", "ICMP_CSUM", "UNHANDLED_PROTO", "VXLAN_VNI_NOT_FOUND",
    "VXLAN_INVALID_HDR", "LOCAL_MAC", "FRAG_REASM_TIMEOUT", "FRAG_TOO_FAR",
    "DUP_FRAG", "IP_NOPROTO", "IPV6DISABLED",
)  # fmt: skip


def test_nothing_is_proven_when_nothing_could_be_read() -> None:
    for reason, function in every():
        asked = drop(reason, function if function != "*" else "f")
        found = findings(asked, Answers())
        assert all(one.what and not one.what.endswith(".") for one in found)
        if reason not in SURE:
            assert [one for one in found if one.verdict is Verdict.PROVEN] == [], reason


def test_nothing_is_said_without_addresses_where_they_are_needed() -> None:
    for reason, function in every():
        asked = drop(reason, function if function != "*" else "f", None, ifname="")
        for reading in readings(asked):
            assert None not in reading.args
        findings(asked, Answers())


# The reverse path


RP = {
    sysctl("net/ipv4/conf/all/rp_filter"): "0",
    sysctl("net/ipv4/conf/eth0/rp_filter"): "1",
}
BACK = route("10.0.0.1")


def test_the_reverse_path_filter_is_not_proven_when_the_way_back_fits_now() -> None:
    told = answers(RP | {BACK: {"type": "unicast", "dev": "eth0"}})
    verdict, what = first(drop("IP_RPFILTER"), told)
    assert (verdict, "now the way back fits" in what) == ("likely", True)


def test_the_reverse_path_filter_that_is_off_now() -> None:
    off = dict.fromkeys(RP, "0") | {BACK: {"type": "unicast", "dev": "eth1"}}
    verdict, what = first(drop("IP_RPFILTER"), answers(off))
    assert (verdict, "off now" in what) == ("likely", True)


def test_the_greater_of_all_and_the_device_counts() -> None:
    mixed = {
        sysctl("net/ipv4/conf/all/rp_filter"): "2",
        sysctl("net/ipv4/conf/eth0/rp_filter"): "1",
        BACK: {"error": errno.ENETUNREACH},
        route("10.0.0.1", "", "", 0): {"error": errno.ENETUNREACH},
        route("10.0.0.2", "10.0.0.1", "eth0", 0): {"error": errno.EXDEV},
    }
    assert first(drop("IP_RPFILTER"), answers(mixed))[0] == "proven"


def test_a_kernel_without_reasons_needs_the_counter() -> None:
    """5.10: other packets end at the same place."""
    values = RP | {BACK: {"type": "unicast", "dev": "eth1"}}
    asked = drop("", "ip_rcv_finish_core")
    risen = answers(values, rises={"TcpExt.IPReversePathFilter": 3})
    verdict, what = first(asked, risen)
    assert (verdict, "reverse path filter" in what) == ("likely", True)
    still = answers(values, rises={"TcpExt.IPReversePathFilter": 0})
    assert not any("reverse path" in found.what for found in findings(asked, still))


# Addresses of 7.3


@pytest.mark.parametrize(
    ("reason", "packet", "words"),
    [
        ("IP_INVALID_SOURCE", UDP._replace(saddr="224.0.0.1"), "224.0.0.1 as its source"),
        ("IP_INVALID_DEST", UDP._replace(daddr="0.0.0.0"), "0.0.0.0 as its target"),
        ("IP_LOCALNET", UDP._replace(daddr="127.0.0.1"), "127.0.0.0/8 is not taken from eth0"),
    ],
)
def test_impossible_addresses(reason: str, packet: Tuple, words: str) -> None:
    verdict, what = first(drop(reason, "ip_rcv_finish_core", packet), answers())
    assert (verdict, words in what) == ("proven", True)


def test_accept_local_makes_an_own_source_uncertain() -> None:
    local = {route("10.0.0.1"): {"type": "local", "dev": "lo"}}
    asked = drop("IP_LOCAL_SOURCE", "ip_rcv_finish_core")
    assert first(asked, answers(local))[0] == "proven"
    on = local | {sysctl("net/ipv4/conf/eth0/accept_local"): "1"}
    assert first(asked, answers(on))[0] == "likely"


# Routes


def test_a_route_that_came_since() -> None:
    asked = drop("IP_INNOROUTES", "ip_error")
    values = {
        sysctl("net/ipv4/conf/eth0/forwarding"): "1",
        route("10.0.0.2", "10.0.0.1", "eth0", 0): {"type": "unicast", "dev": "eth1"},
    }
    verdict, what = first(asked, answers(values))
    assert (verdict, "added since" in what) == ("likely", True)


def test_no_way_out() -> None:
    asked = drop("IP_OUTNOROUTES", "__ip_queue_xmit", TCP)
    none = {route("10.0.0.2"): {"error": errno.ENETUNREACH}}
    assert first(asked, answers(none)) == ("proven", "no route leads to 10.0.0.2")
    there = {route("10.0.0.2"): {"type": "unicast", "dev": "eth0"}}
    assert first(asked, answers(there))[0] == "not this"


def rule(**more: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"src": "", "dst": "", "iif": "", "oif": "", "mark": 0, "mask": 0}
    return one | {"priority": 9, "not": False, "more": False, "text": "9: from x lookup 77"} | more


@pytest.mark.parametrize(
    ("one", "verdict"),
    [
        (rule(src="10.0.0.0/24"), "proven"),
        (rule(src="10.0.0.0/24", more=True), "likely"),
        (rule(src="10.9.0.0/24"), ""),
        (rule(src="10.9.0.0/24", **{"not": True}), "proven"),
        (rule(dst="10.0.0.2/32", iif="eth0"), "proven"),
        (rule(iif="lo"), ""),
        (rule(mark=2, mask=2), "proven"),
        (rule(mark=1, mask=1), ""),
        (rule(oif="eth1"), ""),
    ],
)
def test_a_rule_that_a_packet_meets(one: dict[str, Any], verdict: str) -> None:
    values: dict[Reading, Any] = {
        sysctl("net/ipv4/conf/eth0/forwarding"): "1",
        route("10.0.0.2", "10.0.0.1", "eth0", 2): {"error": errno.ENETUNREACH},
        route("10.0.0.2"): {"type": "unicast", "dev": "eth1"},
        Reading("rules", (4,)): [one],
    }
    told = first(drop("IP_INNOROUTES", "ip_error", mark=2), answers(values))
    by_rule = "a routing rule keeps it from the route to 10.0.0.2 (dev eth1): 9: from x lookup 77"
    assert told == ((verdict, by_rule) if verdict else ("proven", "no route leads to 10.0.0.2"))


def test_several_rules_are_not_proven_and_a_target_without_a_route_has_none() -> None:
    out = drop("IP_OUTNOROUTES", "__ip_queue_xmit", TCP, mark=2)
    values: dict[Reading, Any] = {
        route("10.0.0.2", "", "", 2): {"error": errno.EACCES},
        route("10.0.0.2"): {"type": "unicast", "dev": "eth1"},
        Reading("rules", (4,)): [rule(mark=2, mask=2), rule(iif="lo")],
    }
    assert first(out, answers(values))[0] == "likely"
    none = values | {route("10.0.0.2"): {"error": errno.ENETUNREACH}}
    assert first(out, answers(none))[1] == "a prohibit route or rule holds 10.0.0.2"


def end(**more: Any) -> dict[Reading, Any]:
    return {peer("eth0"): {"name": "v1", "netns": "web", "mtu": 1500, "up": True} | more}


@pytest.mark.parametrize(
    ("told", "size", "verdict", "words"),
    [
        (end(), 1519, "proven", "1519 bytes does not fit the MTU of v1 in web"),
        (end(), 1518, "likely", "v1 in web, the other end of eth0, did not take it then"),
        (end(up=False), 60, "proven", "v1 in web, the other end of eth0, is down"),
        (end(netns=""), 1519, "proven", "the MTU of v1, the other end"),
        ({}, 60, "likely", "the device behind eth0 did not take it"),
    ],
)
def test_the_other_end_of_a_pair(
    told: dict[Reading, Any], size: int, verdict: str, words: str
) -> None:
    found = first(drop("", "__dev_forward_skb2", len_bytes=size), answers(told))
    assert (found[0], words in found[1]) == (verdict, True), found


# Neighbours


def hop(state: str, address: str = "10.0.0.2") -> dict[Reading, Any]:
    told = {"address": address, "dev": "eth0", "state": state}
    return {Reading("next_hop", ("10.0.0.2", 0)): told}


def test_a_queue_for_a_neighbour() -> None:
    values = hop("incomplete") | {sysctl("net/ipv4/neigh/eth0/unres_qlen_bytes"): "212992"}
    found = findings(drop("NEIGH_QUEUEFULL", "__neigh_event_send"), answers(values))[0]
    assert found.verdict == "proven"
    assert Fact("net.ipv4.neigh.eth0.unres_qlen_bytes", 212992) in found.proof


def test_a_neighbour_that_answers_now_is_not_proven() -> None:
    assert first(drop("NEIGH_FAILED"), answers(hop("reachable")))[0] == "likely"
    assert first(drop("", "neigh_invalidate"), answers(hop("reachable")))[0] == "not this"


@pytest.mark.parametrize(
    ("entries", "fulls", "verdict"), [(1024, 0, "proven"), (7, 5, "proven"), (7, 0, "likely")]
)
def test_the_table_of_neighbours(entries: int, fulls: int, verdict: str) -> None:
    told = answers(
        {sysctl("net/ipv4/neigh/default/gc_thresh3"): "1024"},
        rises={"arp_cache.table_fulls": fulls},
        totals={"arp_cache.entries": entries},
    )
    assert first(drop("NEIGH_CREATEFAIL"), told)[0] == verdict


# Sockets


def socket(address: str = "0.0.0.0", **more: Any) -> dict[str, Any]:
    one = {"addr": address, "port": 53, "peer": "", "ifname": "", "v6only": False, "process": ""}
    return one | {"rmem": 0, "rcvbuf": 1000, "drops": 0, "queue": 0, "backlog": 0} | more


def at(*found: dict[str, Any], proto: int = 17, port: int = 53) -> dict[Reading, Any]:
    return {Reading("sockets", (proto, port)): list(found)}


@pytest.mark.parametrize(
    ("one", "packet", "words"),
    [
        (socket("10.0.0.9"), UDP, "it is bound to 10.0.0.9"),
        (socket(ifname="eth1"), UDP, "it is bound to interface eth1"),
        (socket(peer="10.0.0.7"), UDP, "it is connected to 10.0.0.7"),
        (socket("::", v6only=True), UDP, "it takes IPv6 alone"),
        (socket(), V6, "it takes IPv4 alone"),
    ],
)
def test_why_a_socket_does_not_take_a_packet(
    one: dict[str, Any], packet: Tuple, words: str
) -> None:
    verdict, what = first(drop("NO_SOCKET", packet=packet), answers(at(one)))
    assert (verdict, words in what) == ("proven", True)


@pytest.mark.parametrize(
    "one", [socket(), socket("::"), socket("10.0.0.2"), socket("::ffff:10.0.0.2")]
)
def test_a_socket_that_would_take_it_came_later(one: dict[str, Any]) -> None:
    told = answers(at(socket("10.0.0.9"), one))
    verdict, what = first(drop("NO_SOCKET"), told)
    assert (verdict, "it came up since" in what) == ("likely", True)


def test_an_echo_reply_is_no_missing_service() -> None:
    echo = Tuple("10.0.0.1", "10.0.0.2", 0, 0, 1, False, Icmp(0, 1, 1))
    verdict, what = first(drop("NO_SOCKET", "ping_rcv", echo), answers())
    assert (verdict, "raw sockets" in what) == ("likely", True)


def test_a_buffer_that_has_room_is_not_proven() -> None:
    full = answers(at(socket(rmem=1000)), rises={"Udp.RcvbufErrors": 4})
    assert first(drop("SOCKET_RCVBUFF"), full)[0] == "proven"
    assert first(drop("SOCKET_RCVBUFF"), answers(at(socket())))[0] == "likely"
    verdict, what = first(drop("SOCKET_RCVBUFF"), answers(at()))
    assert (verdict, "the socket is gone" in what) == ("likely", True)


def pages(used: int, name: str) -> dict[Reading, Any]:
    return {
        sysctl(f"net/ipv4/{name.lower()}_mem"): "10\t20\t30",
        Reading("socket_pages", (name,)): used,
    }


@pytest.mark.parametrize("risen", [0, 4])
def test_memory_of_all_sockets(risen: int) -> None:
    """Errors of memory may be those of a control group: the pages alone prove it."""
    errors = {"Udp.MemErrors": risen}
    assert first(drop("PROTO_MEM"), answers(pages(30, "UDP"), rises=errors))[0] == "proven"
    verdict, what = first(drop("PROTO_MEM"), answers(pages(3, "UDP"), rises=errors))
    assert (verdict, "of its control group" in what) == ("likely", True)
    assert first(drop("PROTO_MEM"), answers())[0] == "likely"


@pytest.mark.parametrize(
    ("used", "dropped", "pruned", "verdicts", "words"),
    [
        (3, 4, 4, ["proven", "not this"], "the connection's receive buffer is full"),
        (3, 4, 0, ["likely"], "of its control group"),
        (3, 4, 1, ["likely", "likely"], "the connection's receive buffer is full"),
        (30, 4, 0, ["proven"], "all TCP sockets together"),
        (30, 4, 4, ["likely", "likely"], "the connection's receive buffer is full"),
    ],
)
def test_memory_of_one_connection(
    used: int, dropped: int, pruned: int, verdicts: list[str], words: str
) -> None:
    """The same reason: what has no room in its own buffer, the kernel prunes before."""
    rises = {"TcpExt.TCPRcvQDrop": dropped, "TcpExt.RcvPruned": pruned}
    found = findings(drop("PROTO_MEM", "f", TCP), answers(pages(used, "TCP"), rises=rises))
    assert [one.verdict for one in found] == verdicts
    assert words in found[0].what


def test_an_accept_queue_of_7_3() -> None:
    listener = at(socket(queue=2, backlog=1), proto=6, port=80)
    asked = drop("TCP_LISTEN_OVERFLOW", "tcp_v4_syn_recv_sock", TCP)
    assert first(asked, answers(listener)) == ("proven", "the accept queue of 0.0.0.0:53 is full")
    assert "none is now" in first(asked, answers(at(socket(), proto=6, port=80)))[1]


@pytest.mark.parametrize(
    ("reason", "counter"),
    [
        ("SOCKET_BACKLOG", "TCPBacklogDrop"),
        ("TCP_ZEROWINDOW", "TCPZeroWindowDrop"),
        ("TCP_RFC7323_PAWS", "PAWSEstab"),
        ("TCP_RFC7323_TW_PAWS", "PAWSTimewait"),
    ],
)
def test_what_a_connection_refuses(reason: str, counter: str) -> None:
    (found,) = findings(drop(reason, packet=TCP), answers(rises={f"TcpExt.{counter}": 2}))
    assert found.verdict == "proven"
    assert found.proof == (Fact(counter, 102, None, 2),)


def test_an_empty_packet_from_before_the_window_is_a_probe() -> None:
    for size, words in ((32, "a probe (keep-alive"), (700, "had come before"), (0, "had come")):
        verdict, what = first(drop("TCP_OLD_SEQUENCE", packet=TCP, len_bytes=size), answers())
        assert (verdict, words in what) == ("likely", True)


def test_a_wrong_checksum_from_a_tunnel_points_at_offload_and_from_a_card_at_the_link() -> None:
    for kind, words in (("vxlan", "tx-checksum-ip-generic off (costs CPU)"), ("", "ethtool -S")):
        (found,) = findings(drop("TCP_CSUM", packet=TCP), answers({link("eth0"): {"kind": kind}}))
        assert words in found.change


def test_a_protocol_that_nobody_handles_is_told_by_its_name() -> None:
    for proto, words in ((50, "ESP (IPsec): its module"), (112, "raw socket for VRRP"), (7, "7")):
        asked = drop("IP_NOPROTO", packet=UDP._replace(proto=proto, has_ports=False))
        verdict, what = first(asked, answers())
        assert (verdict, words in what) == ("proven", True)


def test_multicast_that_nobody_has_joined() -> None:
    asked = drop("", "ip_rcv_finish_core", UDP._replace(daddr="239.1.1.1"))
    groups = Reading("memberships", ("eth0",))
    assert "joined 239.1.1.1 on eth0" in first(asked, answers({groups: ["224.0.0.1"]}))[1]
    assert first(asked, answers({groups: ["239.1.1.1"]}))[0] == "not this"
    assert findings(drop("", "ip_rcv_finish_core"), answers({groups: []})) == []


def test_ipv6_that_is_on_now() -> None:
    name = "net/ipv6/conf/eth0/disable_ipv6"
    asked = drop("IPV6DISABLED", packet=V6)
    assert first(asked, answers({sysctl(name): "1"}))[0] == "proven"
    verdict, what = first(asked, answers({sysctl(name): "0"}))
    assert (verdict, "it is on now" in what) == ("likely", True)


# Netfilter


def tracked(count: int, most: int, **rises: int) -> Answers:
    values: dict[Reading, Any] = {sysctl(COUNT): str(count), sysctl(MOST): str(most)}
    chains = [{"family": "ip", "table": "t", "chain": "c", "drops": "rule 4", "packets": 0}]
    values = values | {Reading("ruleset"): chains, Reading("legacy_tables"): []}
    return answers(values, rises={f"conntrack.{name}": rise for name, rise in rises.items()})


DROPPED = drop("NETFILTER_DROP", "nf_hook_slow")


def test_a_full_table_of_connections() -> None:
    found = findings(DROPPED, tracked(100, 100, drop=5, early_drop=1))
    assert (found[0].verdict, "conntrack" in found[0].what) == ("proven", True)
    assert Fact("conntrack entries", 100, 100) in found[0].proof


def test_a_table_with_room_is_not_blamed() -> None:
    found = findings(DROPPED, tracked(5, 100, drop=0))
    assert "ip t/c is what drops" in found[0].what
    refuted = [one.what for one in found if one.verdict is Verdict.NOT_THIS]
    assert refuted == ["the table of connections has room"]


def test_a_full_table_is_not_blamed_for_what_nft_itself_has_dropped() -> None:
    found = findings(drop("NETFILTER_DROP", "nft_do_chain"), tracked(100, 100, drop=5))
    assert not any("connections" in one.what for one in found)


RULE = NfVerdict("ip", "t", "c", "INPUT", "DROP", rule=5)
IPTABLES = NfVerdict("", "filter", "", "FORWARD", "DROP")


def by(dropped_by: DroppedBy, packet: Tuple = UDP, **more: Any) -> Drop:
    return drop("NETFILTER_DROP", "nf_hook_slow", packet, dropped_by=dropped_by, **more)


@pytest.mark.parametrize(
    ("dropped_by", "what"),
    [
        (
            DroppedBy(RULE, 5, "c", "udp dport 53 drop"),
            "dropped in table ip t, chain c, INPUT, rule 5: udp dport 53 drop",
        ),
        (
            DroppedBy(IPTABLES, by_policy=True),
            "dropped in table filter, FORWARD, by its policy, DROP",
        ),
    ],
)
def test_the_rule_that_was_seen_is_proven_and_no_other_chain_named(
    dropped_by: DroppedBy, what: str
) -> None:
    found = findings(by(dropped_by), tracked(100, 100, drop=5))
    assert [(one.verdict, one.what) for one in found] == [("proven", what)]
    assert "what it guards is open then" in found[0].change


def test_a_rule_that_is_not_known_leaves_the_table_proven_and_chains_likely() -> None:
    seen = DroppedBy(IPTABLES, why="by a rule that is not known")
    found = findings(by(seen), tracked(5, 100, drop=0))
    assert [one.verdict for one in found] == ["proven", "likely"]
    assert found[0].what == "dropped in table filter, FORWARD, by a rule that is not known"
    assert "ip t/c is what drops" in found[1].what


def test_a_packet_that_conntrack_finds_invalid() -> None:
    liberal = "net/netfilter/nf_conntrack_tcp_be_liberal"
    told = answers({sysctl(liberal): "0"}, rises={"conntrack.invalid": 3})
    asks = DroppedBy(RULE, 5, "c", "ct state invalid drop")
    why = "SEQ is over upper bound"
    found = findings(by(asks, TCP, invalid=why), told)
    assert [one.verdict for one in found] == ["proven", "proven"]
    assert found[1].what == f"conntrack finds the packet invalid: {why}"
    assert found[1].proof == (
        Fact("conntrack invalid", 103, None, 3),
        Fact(liberal.replace("/", "."), 0),
    )
    assert "tcp_be_liberal=1: sequence numbers are not checked" in found[1].change
    other = asks._replace(text="tcp dport 80 drop")
    assert findings(by(other, TCP, invalid=why), told)[1].verdict == "likely"
    udp = findings(by(asks, invalid=""), told)[1]
    assert udp.what.endswith("it does not say why")
    assert "liberal" not in udp.change
    assert len(findings(by(asks, TCP), told)) == 1, "nobody said that it is invalid"


@pytest.mark.parametrize(
    ("icmp", "proto", "words"),
    [
        (Icmp(3, mtu=1400), 1, "takes 1400 bytes at most, and its connections hang"),
        (Icmp(2, mtu=1280), 58, "takes 1280 bytes at most, and its connections hang"),
        (Icmp(3), 1, "do not arrive, and waits"),
        (Icmp(3), 58, ""),  # hops that ended
        (Icmp(8, 1, 1), 1, ""),
    ],
)
@pytest.mark.parametrize("seen", [None, DroppedBy(RULE, 5, "c", "drop")])
def test_an_icmp_error_that_is_dropped(
    icmp: Icmp, proto: int, words: str, seen: DroppedBy | None
) -> None:
    """Whoever waits for it is told of with the rule."""
    packet = Tuple("10.0.0.1", "10.0.0.2", 0, 0, proto, False, icmp)
    asked = drop("NETFILTER_DROP", "nft_do_chain", packet, dropped_by=seen)
    what = findings(asked, answers())[0].what
    assert ("does not learn" in what, what.endswith(words)) == (bool(words), True)


def test_two_packets_that_make_one_connection() -> None:
    """Each of them counts as a drop, too, and is no sign of a full table."""
    for dropped in (0, 1):
        found = findings(DROPPED, tracked(5, 100, drop=dropped, insert_failed=1))
        assert found[0].verdict == "likely"
        assert "single-request-reopen" in found[0].change
    both = findings(DROPPED, tracked(5, 100, drop=4, insert_failed=1))
    assert "is full" in both[0].what


def test_several_chains_are_all_named() -> None:
    chains = [
        {"family": "inet", "table": "t", "chain": name, "drops": "rule 1", "packets": 0}
        for name in ("a", "b")
    ]
    other = {"family": "ip6", "table": "six", "chain": "c", "drops": "policy drop", "packets": 0}
    told = answers({Reading("ruleset"): [*chains, other], Reading("legacy_tables"): ["filter"]})
    verdict, what = first(DROPPED, told)
    assert verdict == "likely"
    assert "inet t/a, inet t/b, iptables filter can have done so" in what


def test_rules_that_nobody_can_list() -> None:
    told = answers({Reading("legacy_tables"): []})
    assert "cannot list rules" in first(DROPPED, told)[1]


def test_bridged_packets_go_through_iptables() -> None:
    name = "net/bridge/bridge-nf-call-iptables"
    values = {link("eth0"): {"master_kind": "bridge"}, sysctl(name): "1"}
    found = findings(DROPPED, answers(values))
    assert any("belongs to a bridge" in one.what for one in found)
    off = answers(values | {sysctl(name): "0"})
    assert not any("belongs to a bridge" in one.what for one in findings(DROPPED, off))


# Queues


def queue(kind: str, **more: Any) -> dict[str, Any]:
    return {"kind": kind, "handle": "1:", "depth": 0, "drops": 9, "qlen": 0, "backlog": 0} | more


@pytest.mark.parametrize(
    ("one", "words"),
    [
        (queue("netem", loss=10.0, limit=1000), "drops 10.0 % on purpose"),
        (queue("netem", limit=1000, qlen=1000), "is full"),
        (queue("fq_codel", limit=10240), "to keep delay short"),
        (queue("fq"), "a flow, a band or its horizon"),
        (queue("tbf", rate=8000, limit_bytes=4000), "shapes to 8000 bit/s"),
    ],
)
def test_what_a_queue_drops_for(one: dict[str, Any], words: str) -> None:
    told = answers({Reading("qdiscs", ("eth0",)): [one]}, rises={"qdisc.eth0.1:.drops": 3})
    verdict, what = first(drop("QDISC_DROP"), told)
    assert (verdict, words in what) == ("proven", True)


def test_a_queue_whose_count_stood_still_is_not_proven() -> None:
    one = queue("pfifo", limit=10)
    told = answers({Reading("qdiscs", ("eth0",)): [one]}, rises={"qdisc.eth0.1:.drops": 0})
    assert first(drop("QDISC_DROP"), told)[0] == "likely"


@pytest.mark.parametrize(
    ("kind", "words"), [("veth", "its other end is down"), ("", "cable"), ("bond", "devices below")]
)
def test_a_device_without_a_carrier_has_no_full_queue(kind: str, words: str) -> None:
    down = {link("eth0"): {"carrier": 0, "state": "down", "kind": kind}}
    queues: dict[Reading, Any] = {Reading("qdiscs", ("eth0",)): [queue("pfifo", limit=10)]}
    still, moved = ({"qdisc.eth0.1:.drops": rise} for rise in (0, 3))
    found = findings(drop("QDISC_DROP"), answers(down | queues, rises=still))
    assert (found[0].verdict, "eth0 has no carrier" in found[0].what) == ("proven", True)
    assert words in found[0].change
    assert first(drop("QDISC_DROP"), answers(down))[0] == "likely"
    full = first(drop("QDISC_DROP"), answers(down | queues, rises=moved))
    assert full == ("proven", "qdisc pfifo 1: of eth0 is full: more comes than the device sends")
    unset = queues | {link("eth0"): {"carrier": 1, "state": "down", "up": False, "kind": kind}}
    (only,) = findings(drop("QDISC_DROP"), answers(unset, rises=still))
    assert (only.verdict, only.change) == ("proven", "ip link set eth0 up")
    up = queues | {link("eth0"): {"carrier": 1, "state": "up", "kind": kind}}
    assert "no carrier" not in first(drop("QDISC_DROP"), answers(up, rises=still))[1]


def test_a_cpu_s_backlog() -> None:
    asked = drop("CPU_BACKLOG", "enqueue_to_backlog")
    values = {sysctl("net/core/netdev_max_backlog"): "1000"}
    full = answers(values, rises={"softnet.dropped": 3, "softnet.flow_limit": 0})
    assert first(asked, full)[0] == "proven"
    flow = answers(values, rises={"softnet.dropped": 0, "softnet.flow_limit": 3})
    assert "one flow" in first(asked, flow)[1]
    assert first(asked, answers(values, rises={"softnet.dropped": 0}))[0] == "likely"


def test_a_tun_device_that_nobody_has_open() -> None:
    told = answers({link("eth0"): {"kind": "tun", "state": "down", "carrier": 0}})
    assert first(drop("DEV_READY", "tun_net_xmit"), told) == ("proven", "no program has eth0 open")


# Devices


def program(place: str, name: str, number: int = 0, *, is_bpf: bool = True) -> dict[str, Any]:
    return {"place": place, "name": name, "id": number, "bpf": is_bpf}


def test_one_of_several_programs_is_likely_at_most() -> None:
    several = [program("ingress", "a"), program("ingress", "b", 7), program("egress", "c")]
    told = answers({Reading("programs", ("eth0",)): several})
    verdict, what = first(drop("TC_INGRESS"), told)
    assert (verdict, "one of program a, program b (id 7)" in what) == ("likely", True)
    assert first(drop("TC_EGRESS"), told)[0] == "proven"
    verdict, what = first(drop("XDP"), told)
    assert (verdict, "none is there now" in what) == ("likely", True)


def port(**more: Any) -> dict[Reading, Any]:
    one = {"bridge": "br0", "filtering": False, **other(""), "others": [other("e1")]}
    return {Reading("bridge_port", ("eth0",)): one | more}


def other(name: str, **more: Any) -> dict[str, Any]:
    one: dict[str, Any] = {"name": name, "state": 3, "hairpin": False, "locked": False}
    return one | {"isolated": False, "flood": True, "vlans": [], "pvid": 0} | more


def pair(*programs: str, **more: Any) -> dict[Reading, Any]:
    one: dict[str, Any] = {"primary": True, "drops": False, "peer_drops": False, "carrier": True}
    found = [{"place": "peer", "name": name, "id": 7} for name in programs]
    found.append({"place": "primary", "name": "other_way", "id": 8})
    return {Reading("netkit", ("eth0",)): one | {"programs": found} | more}


@pytest.mark.parametrize(
    ("told", "verdict", "words"),
    [
        (pair("a", carrier=False), "proven", "the other end of eth0 is down"),
        (pair("a"), "proven", "at the peer end of eth0 it was refused by program a (id 7)"),
        (pair("a", "b"), "likely", "program a (id 7), program b (id 7)"),
        (pair("a", peer_drops=True), "likely", "by program a (id 7) or the policy, drop"),
        (pair(peer_drops=True), "proven", "its policy"),
        (pair(), "likely", "none is there now"),
        (pair(primary=False, programs=[]), "likely", "of the other, primary end of eth0"),
        (pair(primary=False, programs=[], peer_drops=True), "likely", "its policy"),
    ],
)
def test_netkit(told: dict[Reading, Any], verdict: str, words: str) -> None:
    found = first(drop("", "netkit_xmit"), answers(told))
    assert (found[0], words in found[1]) == (verdict, True), found
    assert "other_way" not in found[1]


def lies(behind: str) -> dict[Reading, Any]:
    """Where the forwarding table has the target."""
    told = {"mac": "02::2", "port": behind, "remotes": [], "default": [], "entries": 0}
    return {Reading("fdb", ("eth0", "10.0.0.2", 0)): told}


def test_a_bridge_that_filters_vlans() -> None:
    told = answers(port(filtering=True, vlans=[7], pvid=7))
    found = findings(drop("", "__allowed_ingress"), told)
    assert (found[0].verdict, "eth0 is in 7; untagged is VLAN 7" in found[0].what) == (
        "likely",
        True,
    )
    assert found[-1].what == "the port forwards"
    none = answers(port(filtering=True))
    for place in ("__allowed_ingress", "br_allowed_ingress"):  # the compiler inlines the first
        assert first(drop("", place), none)[0] == "proven"


def test_a_bridge_that_does_not_filter_and_forwards_is_not_blamed() -> None:
    found = findings(drop("", "br_handle_frame"), answers(port()))
    assert {one.verdict for one in found} == {Verdict.NOT_THIS}


FRAME = drop("", "br_handle_frame_finish")


@pytest.mark.parametrize(
    ("told", "verdict", "words"),
    [
        (port() | lies("eth0"), "proven", "lies behind eth0, by which it came"),
        (port(), "likely", "lies behind eth0, by which it came"),
        (port(hairpin=True) | lies("eth0"), "not this", "reflects frames"),
        (port() | lies("e1"), "not this", "e1, behind which its target lies, takes it"),
        (port(locked=True), "likely", "eth0 is locked"),
        (port(isolated=True, others=[other("e1", isolated=True)]), "likely",
         "eth0 and e1 are isolated"),
        (port(isolated=True, others=[other("e1", isolated=True), other("e2")]), "likely",
         "eth0 and e1 are isolated"),
        (port(others=[other("e1", state=4)]) | lies("e1"), "proven", "that port is blocking"),
        (port(filtering=True, vlans=[7], pvid=7, others=[other("e1", vlans=[5])]) | lies("e1"),
         "likely", "in VLANs 5 alone"),
        (port(others=[]), "likely", "no other port takes"),
    ],
)  # fmt: skip
def test_where_a_bridge_would_send_a_frame(
    told: dict[Reading, Any], verdict: str, words: str
) -> None:
    found = first(FRAME, answers(told))
    assert (found[0], words in found[1]) == (verdict, True), found


def test_a_bridge_without_a_target_is_no_tunnel_without_one() -> None:
    flooded = drop("NO_TX_TARGET", "br_flood")
    closed = port(others=[other("e1", flood=False)])
    assert first(flooded, answers(closed))[0] == "proven"
    assert first(flooded, answers(port()))[0] == "not this", "e1 takes it now"
    both = closed | {link("eth0"): {"kind": "vxlan"}} | lies("")
    assert "knows no remote" not in str(findings(flooded, answers(both)))
    sent = drop("NO_TX_TARGET", "vxlan_xmit")
    assert first(sent, answers(both)) == ("proven", "eth0 knows no remote for the frame's target")


def test_a_tunnel_that_knows_a_remote_now() -> None:
    kind: dict[Reading, Any] = {link("eth0"): {"kind": "vxlan"}}
    told = {"mac": "02::2", "port": "", "remotes": [], "default": ["192.0.2.1"], "entries": 3}
    knows = answers(kind | {Reading("fdb", ("eth0", "10.0.0.2", 0)): told})
    assert first(drop("NO_TX_TARGET", "vxlan_xmit"), knows)[0] == "likely"
    assert first(drop("", "vxlan_xmit"), knows)[0] == "not this"
    assert first(drop("", "vxlan_xmit"), answers(kind | lies("")))[0] == "likely"
    assert findings(drop("", "vxlan_xmit"), answers(lies(""))) == [], "no VXLAN device"


# Control groups


def in_group(*names: str, known: bool = True, whole: bool = True) -> dict[str, Any]:
    found = [{"name": name, "id": 7, "group": f"/{name}.service"} for name in names]
    return {"known": known, "programs": found, "whole": whole}


OUT = Reading("group_programs", ("egress", 17, 999))


@pytest.mark.parametrize(
    ("told", "verdict", "words"),
    [
        (in_group("a"), "proven", "by program a (id 7) of /a.service"),
        (in_group("a", known=False), "proven", "by program a"),
        (in_group("a", known=False, whole=False), "likely", "by program a"),
        (in_group("a", "b"), "likely", "by one of program a (id 7) of /a.service, program b"),
        (in_group(), "likely", "none is attached now"),
        (None, "likely", "a BPF program of a control group refused it"),
    ],
)
def test_a_program_of_a_control_group(told: Any, verdict: str, words: str) -> None:
    found = findings(drop("BPF_CGROUP_EGRESS", "ip_finish_output"), answers({OUT: told}))[0]
    assert (found.verdict, words in found.what) == (verdict, True)
    assert "its owner" in found.change or not told or not told["programs"]


def test_a_program_of_systemd_is_told_by_its_setting() -> None:
    told = answers({OUT: in_group("sd_fw_egress")})
    assert "IPAddressAllow=" in findings(drop("BPF_CGROUP_EGRESS"), told)[0].change


def test_a_packet_without_ports_may_meet_the_programs_of_any_group() -> None:
    ping = Tuple("10.0.0.1", "10.0.0.2", 0, 0, 1, False, Icmp(8, 1, 1))
    anywhere = Reading("group_programs", ("egress", 0, 0))
    told = answers({anywhere: in_group("a", known=False)})
    assert first(drop("BPF_CGROUP_EGRESS", packet=ping), told)[0] == "proven"


def test_a_socket_s_own_filter_and_a_control_group_s_look_the_same() -> None:
    at_port = Reading("group_programs", ("ingress", 17, 53))
    for told, words, others in (
        (in_group("a"), "its socket's control group refused it by program a", 0),
        (in_group(), "a filter of the socket itself", 1),
        (in_group(known=False, whole=False), "or a BPF program of its control group", 0),
    ):
        verdict, what = first(drop("SOCKET_FILTER"), answers({at_port: told}))
        assert (verdict, words in what) == ("likely", True)
        assert len(findings(drop("SOCKET_FILTER"), answers({at_port: told}))) == 1 + others


# Tunnels


PEERS = [
    {"key": "AAAAAAAAAA", "endpoint": "192.0.2.1", "allowed_ips": ["10.0.0.0/24"]},
    {"key": "BBBBBBBBBB", "endpoint": "", "allowed_ips": ["10.0.0.2/32"]},
]


@pytest.mark.parametrize(
    ("target", "verdict", "words"),
    [
        ("10.9.9.9", "proven", "no peer of wg0 has 10.9.9.9"),
        ("10.0.0.2", "proven", "has no endpoint"),
        ("10.0.0.3", "likely", "its handshake may fail"),
    ],
)
def test_wireguard(target: str, verdict: str, words: str) -> None:
    asked = drop("", "wg_xmit", UDP._replace(daddr=target), ifname="wg0")
    told = answers({Reading("wireguard", ("wg0",)): PEERS})
    assert first(asked, told)[0] == verdict
    assert words in first(asked, told)[1]


def test_ipsec_says_which_counter_rose() -> None:
    asked = drop("", "xfrm_input")
    one = answers(rises={"xfrm.XfrmInNoStates": 2, "xfrm.XfrmInNoPols": 0})
    assert first(asked, one) == ("proven", "IPsec: no state (SA) matches the packet's SPI")
    two = answers(rises={"xfrm.XfrmInNoStates": 2, "xfrm.XfrmInStateProtoError": 5})
    verdict, what = first(asked, two)
    assert (verdict, "other keys" in what) == ("likely", True)
    assert findings(asked, answers(rises={"xfrm.XfrmInNoStates": 0})) == []


def test_fragments() -> None:
    high = {sysctl("net/ipv4/ipfrag_high_thresh"): "4194304", sysctl("net/ipv4/ipfrag_time"): "30"}
    full = answers(high, totals={"sockstat.FRAG.memory": 4194304})
    assert "fill the memory" in first(drop("FRAG_REASM_TIMEOUT"), full)[1]
    few = answers(high, totals={"sockstat.FRAG.memory": 900})
    assert "ipfrag_max_dist" in findings(drop("FRAG_TOO_FAR"), few)[0].change
    assert "never came" in first(drop("FRAG_REASM_TIMEOUT"), few)[1]


# Losses that are no drops


def test_a_flood_of_syns_is_proven_only_without_cookies() -> None:
    risen = {"TCPReqQFullDrop": 3}
    for cookies, verdict in (("0", "proven"), ("1", "likely")):
        values = {sysctl("net/ipv4/tcp_syncookies"): cookies}
        ((_, counter, _, found),) = silent.judge(risen, answers(values))
        assert (counter, found[0].verdict) == ("TCPReqQFullDrop", verdict)


def test_receive_errors_of_wireguard_and_of_a_card() -> None:
    for kind, words in (("wireguard", "allowed-ips"), ("", "broken")):
        ((_, _, ifname, found),) = silent.judge(
            {"wg0: receive errors": 3}, answers({link("wg0"): {"kind": kind}})
        )
        assert (ifname, words in found[0].what) == ("wg0", True)


@pytest.mark.parametrize(
    ("counter", "verdict", "words"),
    [
        ("rx_xdp_drops", "likely", "none is there now"),
        ("rx_out_of_buffer", "proven", "did not empty the receive ring of e"),
        ("conntrack_allowance_exceeded", "proven", "past this machine's limit for conntrack"),
        ("rx_buff_alloc_err", "proven", "no memory"),
        ("rx_discards", "likely", "dropped frames that came"),
        ("tx_discards", "likely", "were to be sent"),
    ],
)
def test_what_a_driver_counts(counter: str, verdict: str, words: str) -> None:
    risen = {f"e: {counter}": 2}
    assert silent.known(risen)
    told = answers(rises={f"driver.e.{counter}": 2})
    ((_, name, ifname, found),) = silent.judge(risen, told)
    assert (name, ifname, found[0].verdict) == (counter, "e", verdict)
    assert words in found[0].what
    assert found[0].proof[0] == Fact(f"e {counter}", 102, None, 2)
    ((*_, found),) = silent.judge(risen, answers())
    assert found[0].proof[0] == Fact(f"e {counter}", 2), "a device that has gone"


def test_an_xdp_program_in_a_driver_has_its_name() -> None:
    there = {Reading("programs", ("e",)): [program("xdp", "guard", 9), program("ingress", "tc")]}
    ((*_, found),) = silent.judge({"e: rx_xdp_drops": 2}, answers(there))
    assert found[0].verdict == "proven"
    assert "by program guard (id 9)" in found[0].what


def test_a_program_without_a_route() -> None:
    default, rules = Reading("default_routes"), Reading("rules", (4,))
    for values, words in (
        ({}, "no route led there"),
        ({default: []}, "there is no default route"),
        ({default: ["dev e0"], rules: [rule()]}, "a rule asks another table, or refuses it"),
        ({default: ["dev e0"], rules: []}, "there is a default route now"),
    ):
        ((*_, found),) = silent.judge({"OutNoRoutes": 3}, answers(values))
        assert (found[0].verdict, words in found[0].what) == ("likely", True)


def test_a_syn_that_a_full_queue_does_not_explain() -> None:
    queues = {"TcpExt.ListenOverflows": 2, "TcpExt.TCPReqQFullDrop": 1}
    ((*_, found),) = silent.judge({"ListenDrops": 3}, answers(rises=queues))
    assert found == []
    for default, words in (([], "as none is default"), (["dev e0"], "or no memory")):
        values: dict[Reading, Any] = {Reading("default_routes"): default}
        told = answers(values, rises=dict.fromkeys(queues, 0))
        ((*_, found),) = silent.judge({"ListenDrops": 3}, told)
        assert (found[0].verdict, words in found[0].what) == ("likely", True)


def test_two_settings_that_both_keep_arp_silent_are_likely() -> None:
    values = {
        sysctl(f"net/ipv4/conf/{d}/{n}"): "0"
        for d in ("all", "e")
        for n in ("arp_ignore", "arp_filter")
    }
    for on, verdict in (
        ((), "likely"),
        (("all/arp_filter",), "proven"),
        (("all/arp_filter", "e/arp_ignore"), "likely"),
    ):
        told = values | {sysctl(f"net/ipv4/conf/{name}"): "1" for name in on}
        ((*_, found),) = silent.judge({"e: ARP requests ignored": 2}, answers(told))
        assert found[0].verdict == verdict


def test_counters_without_advice_are_left_alone() -> None:
    assert not silent.known({"SyncookiesSent": 3})
    assert silent.readings({"SyncookiesSent": 3}) == ()


def test_drops_of_other_targets_are_other_cases() -> None:
    one, other = drop("NO_SOCKET"), drop("NO_SOCKET", packet=UDP._replace(dport=54))
    assert variant(one) != variant(other)
    assert variant(one) == variant(drop("NO_SOCKET", packet=UDP._replace(sport=1)))


COSTS = {
    "rp_filter=2": "a forged source passes",
    "route_localnet=1": "opens services of 127.0.0.1",
    "accept_local=1": "lets forged ones in",
    "}=0 ends": "that filter for all bridges",
    "}=1 (the host": "routes for others then",
    "change that rule or policy": "what it guards is open then",
    "tx-checksum-ip-generic off": "(costs CPU",
    "allowed-ips …": "the peer may use it, too",
    "bind it to": "whoever reaches it may use it",
    "isolated off": "is no longer kept from the others",
    "flood on": "gets every frame to an unknown target then",
    "master static": "whoever has that MAC is let in",
    "extend IPAddressAllow=": "it reaches the unit then",
    "min_free_kbytes": "is taken from programs",
    "=0 (the host has IPv6": "filter IPv6, too",
    "tcp_syncookies=1": "lose some TCP options",
    "gc_thresh3 (": "memory for each entry",
    "nf_conntrack_max (": "memory",
}


def test_a_change_that_costs_says_what() -> None:
    text = "".join(path.read_text() for path in ADVICE.glob("*.py"))
    text = re.sub(r'"\s*\n\s*f?"', "", text)
    for change, cost in COSTS.items():
        lines = [line for line in text.splitlines() if change in line]
        assert lines, change
        assert all(cost in line for line in lines), lines
