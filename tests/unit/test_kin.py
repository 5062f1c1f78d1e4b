# SPDX-License-Identifier: Apache-2.0
"""What packets were made of, by what functions tell or by what is seen on a CPU."""

from __future__ import annotations

import pytest

from pwru_py.output.journey import journey_lines
from pwru_py.packets.families import Families
from pwru_py.packets.journey import Journeys
from pwru_py.record.event import Event
from pwru_py.record.journey import Changed, Ended, Made
from tests.unit.test_journey import CONSUMED, HOST, IN, LATER, OUT, UDP, C, event

_Kin = tuple[int | None, Made | None, bool]
CAME = event(IN, 1, len=1450)


def kin(*events: Event) -> dict[int, _Kin]:
    one = Journeys()
    found = [*one.add(events), *one.close()]
    return {way.packet: (way.parent, way.made, way.parent_sure) for way in found}


def made(func: str, packet: int, **other: object) -> Event:
    """At another device, where what came in may be sent."""
    values = {"ifname": "eth1", "ifindex": 3, "iif": 2, "len": 1464, **other}
    return event(func, packet, packet, **values)


@pytest.mark.parametrize(
    ("child", "what"),
    [
        (made(OUT, 2), Made.COPY),
        (made(OUT, 2, len=1410), Made.FRAGMENT),
        (made(OUT, 2, len=1450, mtu=1449), Made.FRAGMENT),
        (made(OUT, 2, len=100, tuple=LATER), Made.FRAGMENT),
    ],
)
def test_what_is_made_of_the_packet_that_the_cpu_has_in_hand(child: Event, what: Made) -> None:
    """The next ones, too, though the first has gone on to another device meanwhile."""
    on = child._replace(func=IN, netns=12, ifname="web0")
    sibling = child._replace(packet=3, skb=3)
    found = kin(CAME, child, on, sibling)
    assert found == {1: (None, None, True), 2: (1, what, False), 3: (1, what, False)}
    told = child._replace(parent=1)
    assert kin(CAME, event(OUT, 1.5, 9, cpu=3), told._replace(cpu=3))[2] == (1, what, True)


@pytest.mark.parametrize(
    "other",
    [
        {"cpu": 1},
        {"iif": 0},  # sent here
        {"tuple": UDP._replace(sport=4)},
        {"netns": 12},
        {"ifname": "eth0"},
    ],
)
def test_what_may_as_well_have_come_by_itself(other: dict[str, object]) -> None:
    assert kin(CAME, made(OUT, 2, **other))[2] == (None, None, True)


def test_a_bridge_copies_what_its_host_sends() -> None:
    sent = event(OUT, 1, ifname="br0", ifindex=9)
    assert kin(sent, made(OUT, 2, iif=0, len=100))[2] == (1, Made.COPY, False)


def test_a_datagram_that_is_cut_before_a_device_has_it() -> None:
    """Its first fragment stands for it, wherever that has got to meanwhile."""
    first = event(OUT, 1, len=1514)
    on = event(IN, 1, len=1500, netns=12, ifname="web0")
    further = [event(OUT, packet, packet, tuple=LATER) for packet in (2, 3)]
    assert kin(first, on, *further) == {
        1: (None, None, True), 2: (1, Made.FURTHER, False), 3: (1, Made.FURTHER, False),
    }  # fmt: skip
    for other in ({"ifname": "eth1"}, {"tuple": LATER._replace(proto=1)}, {"iif": 3}, {"cpu": 1}):
        assert kin(first, on, further[0]._replace(**other))[2] == (None, None, True)
    assert kin(further[0], further[1])[3] == (None, None, True)


GSO = event(OUT, 1, len=3000)
FREED = event(CONSUMED, 2, len=3000, by="validate_xmit_skb.isra.0")


def test_segments_begin_when_the_packet_is_no_more() -> None:
    """Until something else is on that CPU; functions know which it was, also where no kernel says
    who freed it."""
    there = {"netns": 12, "ifname": "web0", "len": 1500}
    segments = [made(IN, packet, **there) for packet in (2, 3)]
    found = kin(GSO, FREED, *segments, event(OUT, 4, 4, tuple=None), made(IN, 5, **there))
    assert [found[packet] for packet in (2, 3)] == [(1, Made.SEGMENT, False)] * 2
    assert found[5] == (None, None, True)
    told = segments[0]._replace(parent=1)
    assert kin(GSO, FREED._replace(location=None), told)[2] == (1, Made.SEGMENT, True)
    assert kin(GSO, FREED._replace(location=None), segments[0])[2] == (None, None, True)


def test_what_lies_in_a_tunnel_is_a_copy_and_of_what_is_gone_nobody_knows() -> None:
    inside = made(OUT, 2, parent=1, len=60, tuple=UDP._replace(daddr=C))
    assert kin(CAME, inside)[2] == (1, Made.COPY, True)
    assert kin(inside)[2] == (1, None, True)


def test_a_copy_that_is_put_into_a_tunnel() -> None:
    """As its headers do not fit before the packet: the change is of the copy's first hop."""
    sent = event(OUT, 1, ifname="gre0")
    outer = UDP._replace(saddr=C, daddr="10.0.0.9", proto=47, sport=0, dport=0, has_ports=False)
    copy = event(OUT, 3, 2, parent=1, len=138, tuple=outer)
    freed = event(CONSUMED, 2, ifname="gre0")
    one = Journeys()
    ways = [*one.add([sent, freed, copy, event(OUT, 4, 2, ifname="bond0", len=138, tuple=outer)])]
    parent, child = [*ways, *one.close()]
    assert (parent.end.how, child.parent, child.made) == (Ended.LEFT, 1, Made.COPY)
    assert [hop.change for hop in child.hops] == [(Changed.INTO, UDP, outer), None]
    same = Journeys()
    assert [*same.add([event(IN, 1), made(OUT, 2, parent=1)])] == []
    (_, plain) = same.close()
    assert [hop.change for hop in plain.hops] == [None]


def test_an_answer_is_not_made_of_its_question() -> None:
    """It may have the address of a copy that was never seen; on loopback both ends are one."""
    back = UDP._replace(saddr=UDP.daddr, daddr=UDP.saddr)
    assert kin(CAME, made(OUT, 2, parent=1, iif=0, tuple=back))[2] == (None, None, True)
    alone = UDP._replace(daddr=UDP.saddr)
    found = kin(CAME._replace(tuple=alone), made(OUT, 2, parent=1, tuple=alone))
    assert found[2] == (1, Made.COPY, True)


def lines(families: Families) -> list[list[str]]:
    return [
        [
            " " * 2 * depth + line
            for journey, depth, since_ns in family
            for line in journey_lines(journey, HOST, since_ns=since_ns)
        ]
        for family in families.whole()
    ]


def test_a_family_is_shown_when_all_are_over() -> None:
    """Children stand beneath their parent, and times are since the first sight of all."""
    one = Journeys()
    families = Families(one.has_kin)
    copy = made(OUT, 2)
    cut = made(OUT, 3, ifname="eth2", parent=2, len=1000)
    families.add(one.add([CAME, copy, cut, event(CONSUMED, 4, 2, by="ip_do_fragment")]))
    assert lines(families) == []
    families.add(one.add([event(CONSUMED, 5, 1, by="arp_rcv"), event(IN, 6, 7)]))
    assert lines(families) == []
    families.add(one.add([event(CONSUMED, 7, 3, ifname="eth2")]))
    (family,) = lines(families)
    assert [line for line in family if "packet" in line or "✔" in line] == [
        "packet 1  10.0.0.1:1000->10.0.0.2:53(udp)",
        "   4.000 ms  host  ✔ taken in by ARP",
        "  packet 2 (copy of packet 1?)  10.0.0.1:1000->10.0.0.2:53(udp)  dig:7",
        "     3.000 ms  host  ✔ cut into fragments",
        "    packet 3 (fragment of packet 2)  10.0.0.1:1000->10.0.0.2:53(udp)  dig:7",
        "       6.000 ms  host  ✔ left by eth2",
    ]
    assert "       2.000 ms  host  out  eth2             mtu 1500" in "\n".join(family)
    families.add(one.close())
    assert [family[0].split("  ")[0] for family in lines(families)] == ["packet 7"]


def test_a_child_of_what_was_shown_before_stands_alone() -> None:
    one = Journeys()
    families = Families(one.has_kin)
    families.add(one.add([GSO, FREED]))
    assert len(lines(families)) == 1
    families.add([*one.add([made(IN, 2, len=1500)]), *one.close()])
    ((head, *_),) = lines(families)
    assert head.startswith("packet 2 (segment of packet 1?)  ")
    assert not one.has_kin(1)
