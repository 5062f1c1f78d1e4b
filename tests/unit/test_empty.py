# SPDX-License-Identifier: Apache-2.0
"""Why a trace stayed empty: evidence to causes, a sample to evidence."""

from __future__ import annotations

from dataclasses import replace

import pytest
from jsonschema import Draft202012Validator
from pwru_filters import Host, named_hosts

from pwru_py.empty.causes import explain
from pwru_py.empty.evidence import Ask, Dropped, Evidence, Matched, Namespace, Place, Sampled
from pwru_py.empty.inner import inner_frame
from pwru_py.empty.sample import Sample
from pwru_py.empty.weigh import Questions, weigh
from pwru_py.facts.traffic import DeviceCount, Routed, Translated
from pwru_py.output.empty import EMPTY_SCHEMA, LINES_MAX, empty_lines, json_empty
from pwru_py.record.event import Event, Frame, Tuple

from .filters.packets import ether, icmp, ipv4, tagged, tcp, udp
from .output.samples import event

IP4 = 0x0800
WEB, DB = "10.0.0.2", "10.0.0.3"
ASK = Ask(f"tcp and host {DB}", (Host(DB, ""),))
SEEN = Sampled(40, 2.0)
QUIET = Namespace("host", asked=True, devices=(DeviceCount("eth0", 0, 0),))
BUSY = Namespace("host", asked=True, devices=(DeviceCount("eth0", 9, 7),))


def causes(evidence: Evidence) -> list[tuple[str, bool]]:
    return [(cause.name, cause.certain) for cause in explain(evidence).causes]


def first(seen: Sampled, ask: Ask = ASK, **more: object) -> tuple[str, bool]:
    return causes(replace(Evidence(ask, sampled=seen), **more))[0]  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("seen", "ask", "cause"),
    [
        (replace(SEEN, matching=3), replace(ASK, drops=True), ("no drop", True)),
        (replace(SEEN, matching=3), replace(ASK, group=True), ("group", False)),
        (replace(SEEN, matching=3), replace(ASK, entry=True), ("conntrack", False)),
        (replace(SEEN, matching=3), replace(ASK, inner=True), ("tunnel", False)),
        (replace(SEEN, matching=3), replace(ASK, functions=True), ("functions", False)),
        (replace(SEEN, matching=3), ASK, ("unexplained", False)),
        (replace(SEEN, elsewhere=(Place("web", "eth0", 3),)), replace(ASK, netns=1),
         ("place", True)),
        (replace(SEEN, elsewhere=(Place("web", "eth0", 3),)),
         replace(ASK, netns=1, netns_name="web", ifname="lo"), ("interface", True)),
        (replace(SEEN, elsewhere=(Place("web", "eth0", 3),),
                 dropped=(Dropped("web", "eth0", "NETFILTER_DROP", 3),)),
         replace(ASK, netns=1), ("dropped", True)),
        (replace(SEEN, elsewhere=(Place("web", "eth0", 3), Place("db", "eth0", 3)),
                 dropped=(Dropped("db", "eth0", "NO_SOCKET", 3),)),
         replace(ASK, netns=1, netns_name="web", ifname="lo"), ("interface", True)),
        (replace(SEEN, elsewhere=(Place("web", "eth0", 3),),
                 dropped=(Dropped("web", "eth0", "NETFILTER_DROP", 1),)),
         replace(ASK, netns=1), ("place", True)),
        (replace(SEEN, matching=3, dropped=(Dropped("web", "eth0", "NO_SOCKET", 3),)),
         replace(ASK, functions=True), ("dropped", False)),
        (replace(SEEN, matching=3, dropped=(Dropped("web", "eth0", "NO_SOCKET", 3),)),
         replace(ASK, group=True), ("group", False)),
        (replace(SEEN, marks=((0, 4),)), replace(ASK, mark=7, mask=7), ("mark", True)),
        (replace(SEEN, variants=(Matched("swapped", "dst", 3),)), ASK, ("swapped", True)),
        (replace(SEEN, variants=(Matched("tagged", "vlan", 3),)), ASK, ("tagged", True)),
        (replace(SEEN, variants=(Matched("ipv6", "ip6", 3),)), ASK, ("family", False)),
        (replace(SEEN, inner=3), ASK, ("tunnel", True)),
        (replace(SEEN, translated=((Translated(DB, WEB), 4),)), ASK, ("translated", True)),
        (replace(SEEN, without=(Matched("tcp", f"host {DB}", 8),)), ASK, ("unsent", False)),
        (replace(SEEN, without=(Matched("tcp", f"host {DB}", 8),), hosts=(Place("a", "b", 8),)),
         ASK, ("clause", True)),
        (replace(SEEN, packets=0), ASK, ("quiet", True)),
        (SEEN, ASK, ("unsent", False)),
    ],
)  # fmt: skip
def test_the_likeliest_cause_comes_first(seen: Sampled, ask: Ask, cause: tuple[str, bool]) -> None:
    assert first(seen, ask) == cause


def test_a_cause_needs_its_evidence() -> None:
    assert causes(Evidence(Ask("tcp"), namespaces=(BUSY,))) == []
    assert causes(Evidence(Ask("tcp"), namespaces=(QUIET,))) == [("quiet", True)]
    assert causes(Evidence(replace(ASK, hosts=()), sampled=SEEN)) == []
    # Packets of the host were seen: it was not "nothing was sent".
    assert causes(Evidence(ASK, sampled=replace(SEEN, hosts=(Place("a", "b", 2),)))) == []
    # A record was missed: whether a packet passed is not known.
    assert causes(Evidence(Ask("tcp"), sampled=replace(SEEN, packets=0, missed=1))) == []
    assert causes(Evidence(ASK, sampled=replace(SEEN, missed=1))) == []
    seen = replace(SEEN, without=(Matched("tcp", f"host {DB}", 8),), missed=1)
    assert first(seen) == ("clause", False)


def test_behind_a_tag_comes_before_another_place() -> None:
    there = replace(SEEN, elsewhere=(Place("web", "eth0", 3),))
    ask = replace(ASK, netns=1)
    for kind, name in (("tagged", "tagged"), ("mpls", "mpls"), ("swapped", "place")):
        seen = replace(there, variants=(Matched(kind, "so", 3),))
        assert first(seen, ask)[0] == name


def test_no_route() -> None:
    refused = replace_routes(Routed(DB, "no route"), no_routes=2)
    assert causes(Evidence(ASK, namespaces=(refused,)))[0] == ("no route", False)
    again = replace_routes(Routed(DB, "", "eth0"), no_routes=2)
    (cause, *_) = explain(Evidence(ASK, namespaces=(again,))).causes
    assert cause.text == (
        f"2 packets to whichever address had no route from host; there is one to {DB} now"
    )
    assert not cause.certain
    # Unrelated packets may have had none: what the sample shows comes first.
    both = Evidence(ASK, namespaces=(again,), sampled=SEEN)
    assert causes(both) == [("unsent", False), ("no route", False)]
    fine = replace_routes(Routed(DB, "", "eth0"))
    assert causes(Evidence(ASK, namespaces=(fine,))) == []
    other = replace(ASK, netns=1, netns_name="host", ifname="eth1")
    assert ("interface", False) in causes(Evidence(other, namespaces=(fine,)))


def replace_routes(*routes: Routed, no_routes: int = 0) -> Namespace:
    return BUSY._replace(routes=routes, no_routes=no_routes)


def test_an_xdp_program_took_frames() -> None:
    watched = BUSY._replace(devices=(DeviceCount("eth0", 9, 0, xdp=3),))
    seen = replace(SEEN, received=(Place("host", "eth0", 2),), packets=2)
    assert ("xdp", False) in causes(Evidence(ASK, namespaces=(watched,), sampled=seen))
    all_came = replace(SEEN, received=(Place("host", "eth0", 9),))
    found = causes(Evidence(ASK, namespaces=(watched,), sampled=all_came))
    assert ("xdp", False) not in found
    assert causes(Evidence(ASK, namespaces=(watched,)))[0] == ("xdp", False)


def test_drops_that_did_not_come_are_good_news() -> None:
    asked = replace(ASK, drops=True)
    assert empty_lines(explain(Evidence(asked, namespaces=(BUSY,)))) == []


def test_lines_are_few_and_escaped_and_the_same_in_json() -> None:
    seen = replace(
        SEEN,
        variants=tuple(Matched("tagged", f"vlan {n}", n) for n in range(9)),
        clauses=tuple((f"host {n}", n) for n in range(9)),
        hosts=(Place("evil\x1b[31m", "eth0", 3),),
    )
    why = explain(Evidence(ASK, attached=3, skipped=1, hits=7, sampled=seen))
    lines = empty_lines(why)
    assert lines[0] == "no event came:"
    assert len(lines) <= LINES_MAX
    assert not any("\x1b" in line for line in lines)
    assert "  traced: 3 functions, 1 skipped; 7 hits, none matched" in lines
    told = json_empty(why)
    Draft202012Validator(EMPTY_SCHEMA).validate(told)
    assert [c["cause"] for c in told["causes"]] == [c.name for c in why.causes]  # type: ignore[attr-defined]


# A sample, weighed

ETHERS = bytes(12)


def seen_at(
    frame: bytes, packet: int, *, netns: int = 1, ifname: str = "eth0", mark: int = 0
) -> Event:
    """An event of the sampling session: link addresses are not kept."""
    saddr, daddr = (".".join(map(str, frame[at : at + 4])) for at in (26, 30))
    return event(
        frame=ETHERS + frame[12:], packet=packet, netns=netns, ifname=ifname, mark=mark,
        len=len(frame), tcp_flags=0, func="net:net_dev_queue",
        tuple=Tuple(saddr, daddr, 0, 0, frame[23], False),
    )  # fmt: skip


def packet(proto: int, body: bytes, source: str = WEB, target: str = DB) -> bytes:
    return ether(IP4, ipv4(proto, body, pair=(source, target)))


def weighed(expression: str, *events: Event, **ask: object) -> Sampled:
    sample = Sample()
    sample.add(events)
    hosts = named_hosts(expression)
    asked = replace(Ask(expression, hosts), **ask)  # type: ignore[arg-type]
    return weigh(sample, Questions(asked), seconds=1.0, missed=0, known=(), name=str)


PING = packet(1, icmp(8))
SYN = packet(6, tcp(40000, 80))


def test_how_far_packets_come_through_the_clauses() -> None:
    found = weighed(
        f"host {DB} and tcp and port 443",
        seen_at(PING, 1), seen_at(SYN, 2), seen_at(SYN, 2, ifname="eth1"), seen_at(SYN, 3),
    )  # fmt: skip
    assert found.clauses == ((f"host {DB}", 3), ("tcp", 2), ("port 443", 0))
    assert found.without == (
        Matched(f"host {DB}", "(tcp) and (port 443)", 0),
        Matched("tcp", f"(host {DB}) and (port 443)", 0),
        Matched("port 443", f"(host {DB}) and (tcp)", 2),
    )
    assert (found.packets, found.matching) == (3, 0)
    assert found.hosts == (Place("1", "eth0", 3), Place("1", "eth1", 1))


def test_packets_count_once_however_often_they_are_seen() -> None:
    passing = [seen_at(PING, 1, ifname=name, mark=5) for name in ("a", "b", "c")]
    found = weighed("icmp", *passing, mark=7, mask=0xF)
    assert found.marks == ((5, 1),)
    assert weighed("icmp", *passing, ifname="d").elsewhere[0].packets == 1


def test_where_packets_are_dropped() -> None:
    end = seen_at(PING, 1, netns=7)._replace(
        func="skb:kfree_skb", drop=True, reason_name="NO_SOCKET", location=Frame(0, "f", 0, "")
    )
    found = weighed("icmp", seen_at(PING, 1, netns=7), end, seen_at(SYN, 2), netns=8)
    assert found.dropped == (Dropped("7", "eth0", "NO_SOCKET in f", 1),)
    assert weighed("tcp", end, seen_at(SYN, 2), netns=8).dropped == ()


def test_what_is_consumed_only_tells_packets_apart() -> None:
    gone = seen_at(PING, 1)._replace(func="skb:consume_skb")
    assert weighed("icmp", gone).packets == 0
    nothing = seen_at(PING, 1)._replace(frame=b"")
    assert weighed("icmp", nothing).packets == 0


def test_what_may_have_been_meant() -> None:
    swapped = weighed(f"tcp and src host {DB}", seen_at(SYN, 1))
    assert [(v.kind, v.packets) for v in swapped.variants] == [("swapped", 1)]
    vlan = ether(0x0800, b"")[:12] + tagged(7, IP4, packet(1, icmp(8))[14:])[12:]
    found = weighed("icmp", event(frame=ETHERS + vlan[12:], packet=1, len=len(vlan), netns=1))
    assert "tagged" in {v.kind for v in found.variants}


def test_an_address_that_changes_on_the_way() -> None:
    before = packet(17, udp(40000, 53), WEB, "10.96.0.1")
    after = packet(17, udp(40000, 53), WEB, DB)
    found = weighed("host 10.96.0.1", seen_at(before, 1), seen_at(after, 1, netns=2), netns=2)
    assert found.translated == ((Translated("10.96.0.1", DB), 1),)
    alone = weighed("host 10.96.0.1", seen_at(before, 1), seen_at(after, 2, netns=2), netns=2)
    assert alone.translated == (), "another packet"


def test_the_packet_inside_a_tunnel() -> None:
    inner = packet(6, tcp(40000, 80), "10.244.0.1", "10.244.0.2")
    vxlan = packet(17, udp(5000, 4789, b"\x08" + bytes(7) + inner))
    assert inner_frame(vxlan) == inner
    assert inner_frame(packet(4, inner[14:])) == bytes(12) + inner[12:]
    assert inner_frame(packet(47, struct_gre(inner))) == bytes(12) + inner[12:]
    for none in (PING, SYN, b"", vxlan[:30], packet(17, udp(5000, 4790, inner))):
        assert inner_frame(none) is None
    assert weighed("tcp and host 10.244.0.2", seen_at(vxlan, 1)).inner == 1
    assert weighed("tcp and host 10.244.0.3", seen_at(vxlan, 1)).inner == 0


def struct_gre(inner: bytes) -> bytes:
    """With a key."""
    return b"\x20\x00\x08\x00" + bytes(4) + inner[14:]


def test_an_expression_that_libpcap_may_take_long_for_is_not_split() -> None:
    long = " or ".join(f"port {number}" for number in range(200))
    found = weighed(f"({long}) and tcp", seen_at(PING, 1))
    assert (found.clauses, found.variants) == ((), ())
