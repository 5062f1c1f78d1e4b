# SPDX-License-Identifier: Apache-2.0
"""``--journey`` through most kinds of devices that Linux has, line by line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel import journey_network as network
from tests.kernel.lab import Lab

pytestmark = pytest.mark.representative("5.10", "6.12")

_Journey = dict[str, Any]

BRIDGED = "p out eth0 / host in jp / host out jq / q in eth0"
BACK = "q out eth0 / host in jq / host out jp / p in eth0"
STORIES = {
    **{
        name: f"p out {name} / p out eth0, into tunnel / host in jp / host out jq / q in eth0 / "
        f"q in {name}, out of tunnel / q taken by ICMP"
        for name in network.NUMBERS
    },
    "eth0.7": f"p out eth0.7 / {BRIDGED} / q in eth0.7 / q taken by ICMP",
    "ev": "p out ev / q in ev / q in blue / q taken by ICMP",
    "bond0": "p out bond0 / p out s1 / q in s1 / q in bond0 / q taken by ICMP",
    "nat0": "p out nat0 / q in nat0 / q out nr, nat source / r in eth0 / r taken by ICMP",
    "lo": "p out lo / p in lo / p taken by ICMP",
    "tun0": "p out tun0 / p read by python3",
    "m1": "p out eth0 / host in jp / host out ju / u in eth0 / m1 in m1 / m1 taken by ICMP",
    "m2": "m1 out m1 / u out eth0 / host in ju / host out ju / u in eth0 / m2 in m2 / "
    "m2 taken by ICMP",
    "i1": "p out eth0 / host in jp / host out jv / v in eth0 / i1 in i1 / i1 taken by ICMP",
    "i2": "i1 out i1 / i2 in i2 / i2 taken by ICMP",
}
"""Of an echo request, by the device that it is about."""

ANSWERS = {
    **{
        name: f"q out {name} / q out eth0, into tunnel / host in jq / host out jp / p in eth0 / "
        f"p in {name}, out of tunnel / p read by python3"
        for name in network.NUMBERS
    },
    "eth0.7": f"q out eth0.7 / {BACK} / p in eth0.7 / p read by python3",
    "ev": "q out ev / p in ev / p read by python3",
    "bond0": "q out bond0 / q out s1 / p in s1 / p in bond0 / p read by python3",
    "nat0": "r out eth0 / q in nr / q out nat0, nat target / p in nat0 / p read by python3",
    "lo": "p out lo / p in lo / p read by python3",
    "tun0": "p in tun0 / p read by python3",
    "m1": "m1 out m1 / u out eth0 / host in ju / host out jp / p in eth0 / p read by python3",
    "m2": "m2 out m2 / u out eth0 / host in ju / host out ju / u in eth0 / m1 in m1 / "
    "m1 read by python3",
    "i1": "i1 out i1 / v out eth0 / host in jv / host out jp / p in eth0 / p read by python3",
    "i2": "i2 out i2 / i1 in i1 / i1 read by python3",
}

TRAFFIC = """
for n in p u; do ip -n $n neigh flush dev eth0; done
ip netns exec p python3 /tmp/send.py 10.60.0.1,10.60.0.3 fd00:60::1,fd00:60::3
"""


def pings() -> list[tuple[str, str, str, str]]:
    """(device, family, source, target) of each echo request."""
    subnets = {**network.NUMBERS, "eth0.7": 17, "ev": 20, "bond0": 21, "tun0": 22}
    found = []
    for name, number in subnets.items():
        if name != "sit":
            found.append((name, "4", f"10.{number}.0.1", f"10.{number}.0.2"))
        if name != "ipip":
            found.append((name, "6", f"fd00:{number}::1", f"fd00:{number}::2"))
    found += [("lo", "4", "127.0.0.1", "127.0.0.1"), ("lo", "6", "::1", "::1")]
    found += [("nat0", "4", "10.31.0.1", "10.30.0.2"), ("nat0", "6", "fd00:31::1", "fd00:30::2")]
    for name, source, target in (("m1", 1, 21), ("m2", 21, 22), ("i1", 1, 31), ("i2", 31, 32)):
        found.append((name, "4", f"10.60.0.{source}", f"10.60.0.{target}"))
        found.append((name, "6", f"fd00:60::{source}", f"fd00:60::{target}"))
    return found


IPSEC = [("10.60.0.11", "10.60.0.12"), ("fd00:60::11", "fd00:60::12"),
         ("10.9.0.1", "10.9.0.2"), ("fd00:9::1", "fd00:9::2")]  # fmt: skip


def ping_commands(more: str = "") -> str:
    """``more``: an argument for those that p sends; then it sends everything else, too."""
    pairs: dict[str, list[str]] = {}
    for name, _, source, target in [*pings(), *(("", "", *ends) for ends in IPSEC)]:
        pairs.setdefault({"m2": "m1", "i2": "i1"}.get(name, "p"), []).append(f"{source},{target}")
    pairs["p"].append(more)
    return "\n".join(
        f"ip netns exec {space} python3 /tmp/send.py {' '.join(each)} || exit"
        for space, each in pairs.items()
    )


@pytest.fixture(scope="module")
def journeys(lab: Lab) -> Iterator[list[_Journey]]:
    """All that one tracer saw of all this."""
    for name, text in (("receive", RECEIVE), ("send", SEND), ("tun", TUN)):
        lab.guest.write_file(f"/tmp/{name}.py", text.encode())
    stay = []
    try:
        network.build(lab)
        stay.append(lab.guest.start("exec ip netns exec p python3 /tmp/tun.py /tmp/ready-tun"))
        lab.guest.wait_file("/tmp/ready-tun", 20)
        for space in ("q", "u", "v"):
            ready = f"/tmp/ready-{space}"
            stay.append(
                lab.guest.start(f"exec ip netns exec {space} python3 /tmp/receive.py {ready}")
            )
            lab.guest.wait_file(ready, 20)
        assert (
            lab.run(ping_commands()).rc == 0
        )  # neighbours, to be known, and WireGuard's handshake
        with lab.tracing("--journey") as tracing:
            assert lab.run(ping_commands("all") + TRAFFIC).rc == 0
        assert tracing.trace is not None
        yield [record for record in tracing.trace.records if record["type"] == "journey"]
    finally:
        for process in stay:
            process.stop()
        network.destroy(lab)


def story(journey: _Journey) -> str:
    """Hops and end in a line; ``?`` before an end that is concluded."""
    lines = []
    for hop in journey["hops"]:
        change = f", {hop['change']['what']}" if hop["change"] else ""
        lines.append(f"{hop['namespace']} {hop['way']} {hop['iface']}{change}")
    end = journey["end"]
    by = re.sub(r"[.+].*|:\d+$", "", end["by"])
    sure = "" if end["sure"] else "? "
    lines.append(f"{end['namespace']} {sure}{end['how']} by {by}")
    return " / ".join(lines)


def whole(journeys: list[_Journey], way: _Journey) -> str:
    """The story, to its end where the tunnel sends a copy, as a header does not fit."""
    copies = [each for each in journeys if each["parent"] == way["packet"]]
    if way["end"]["how"] != "left" or not copies:
        return story(way)
    (copy,) = copies
    assert copy["made"] == "copy"
    return f"{story(way).rpartition(' / ')[0]} / {story(copy)}"


def of(journeys: list[_Journey], source: str, target: str, **wanted: object) -> list[_Journey]:
    wanted.update(saddr=source, daddr=target)
    return [j for j in journeys if j["tuple"] and wanted.items() <= j["tuple"].items()]


def names_takers(lab: Lab) -> bool:
    """Whether this kernel tells who has consumed a packet."""
    return lab.kernel not in ("5.10", "6.1")


def taken_by_icmp(lab: Lab, source: str) -> str:
    """As this kernel tells of a message that is not answered where the tracer sees it."""
    if names_takers(lab) or (":" in source and lab.has_reasons):
        return "taken by ICMP"
    return "? taken by ICMP" if ":" in source else "taken by this host"


@pytest.mark.parametrize(("device", "family", "source", "target"), pings())
def test_a_ping(
    lab: Lab, journeys: list[_Journey], device: str, family: str, source: str, target: str
) -> None:
    requests = [
        way for way in of(journeys, source, target)
        if way["tuple"].get("icmp", {}).get("type") in (8, 128)
    ]  # fmt: skip
    assert len(requests) == 1, [story(way) for way in requests]
    (asked,) = requests
    (answer,) = [j for j in journeys if j["answers"] == asked["packet"]]
    taker = "ICMP" if names_takers(lab) or family == "6" else "this host"
    there, back = STORIES[device].replace("by ICMP", f"by {taker}"), ANSWERS[device]
    assert (whole(journeys, asked), whole(journeys, answer)) == (there, back)
    tagged = device == "eth0.7"  # below the VLAN's device
    for way in (asked, answer):
        vlans = [hop["vlan"] for hop in way["hops"]]
        # Alone, a bridge that filters has its ports in VLAN 1, and says so of what is on the way.
        assert {vlan for vlan in vlans if vlan != 1} == ({None, 7} if tagged else {None}), vlans
        assert not tagged or (vlans[0], set(vlans[1:-1]), vlans[-1]) == (None, {7}, None)


def test_ipsec(lab: Lab, journeys: list[_Journey]) -> None:
    """In transport mode no device sees what is in it; in tunnel mode the same one does."""
    for source, target in IPSEC:
        outer = [re.sub(r"(\.9\.0|:9:)", lambda m: ".60.0" if "." in m[0] else ":60:", a)
                 for a in (source, target)]  # fmt: skip
        (asked,) = of(journeys, *outer, proto=50)
        inner = "" if outer == [source, target] else " / q in eth0, out of tunnel"
        taken = taken_by_icmp(lab, source)
        if inner:  # the answer is seen, too
            taken = taken.removeprefix("? ")
        assert story(asked) == f"{BRIDGED}{inner} / q {taken}"
        (answer,) = of(journeys, *reversed(outer), proto=50)
        assert story(answer).endswith("p read by python3")
        assert len(answer["hops"]) == len(asked["hops"])


def test_translated_both_ways_and_refused(lab: Lab, journeys: list[_Journey]) -> None:
    for source, target in (("10.31.0.1", "10.31.0.2"), ("fd00:31::1", "fd00:31::2")):
        (way,) = of(journeys, source, target, dport=53)
        expected = "p out nat0 / q in nat0 / q out nr, nat / r in eth0 / r dropped by "
        assert story(way).startswith(expected)
        assert way["end"]["reason"] == ("NO_SOCKET" if lab.has_reasons else None)
        after = way["hops"][2]["change"]["after"]
        assert (after["dport"], after["daddr"][-3:]) in ((5353, "0.2"), (5353, "::2"))


def test_a_group_of_three(lab: Lab, journeys: list[_Journey]) -> None:
    for source, target in (("10.60.0.1", "239.6.6.6"), ("fd00:60::1", "ff15::66")):
        ways = of(journeys, source, target, dport=7100)
        (first,) = [way for way in ways if not way["parent"]]
        assert story(first).startswith("p out eth0 / host in jp / host in jbr / host dropped by ")
        for space in "quv":
            (way,) = [w for w in ways if w["hops"] and w["hops"][0]["iface"] == f"j{space}"]
            hops, _, end = story(way).rpartition(f" / {space} ")
            assert hops == f"host out j{space} / {space} in eth0"
            assert end in (
                ("read by python3", "taken by a socket", "? taken by a socket")
                if names_takers(lab) else ("read by python3", "taken by this host")
            )  # fmt: skip
        for way in ways:
            if way["end"]["how"] == "dropped" and "ip6_rcv_core" not in way["end"]["by"]:
                assert "has joined the group" in way["end"]["note"], way


def test_fragments(lab: Lab, journeys: list[_Journey]) -> None:
    """The first one stands for the datagram that is made of all, which q's tables see, too."""
    for source, target in (("10.60.0.1", "10.60.0.2"), ("fd00:60::1", "fd00:60::2")):
        first, *made = sorted(
            of(journeys, source, target, dport=7200), key=lambda way: not way["hops"]
        )
        assert not any(way["hops"] for way in made), [story(way) for way in (first, *made)]
        later = [w for w in of(journeys, source, target, proto=17) if w["tuple"].get("fragment")]
        ends = {}
        for way in (first, *later):
            hops, _, ends[way["packet"]] = story(way).rpartition(" / q ")
            assert hops == BRIDGED
        assert len(ends) == 3
        end = ends.pop(first["packet"])
        assert end in ("read by python3", "taken by reassembly", "taken by this host")
        assert set(ends.values()) <= {"taken by reassembly", "? taken by reassembly"}


def test_a_megabyte(lab: Lab, journeys: list[_Journey]) -> None:
    for source, target in (("10.60.0.1", "10.60.0.2"), ("fd00:60::1", "fd00:60::2")):
        for ways, hops in (
            (of(journeys, source, target, dport=7300), BRIDGED),
            (of(journeys, target, source, sport=7300), BACK),
        ):
            assert len(ways) > 10
            for way in ways:
                assert story(way).rpartition(" / ")[0] == hops
                assert way["end"]["how"] in ("read", "taken", "dropped"), way
                assert way["end"]["reason"] in (None, "TCP_OLD_DATA", "TCP_OLD_SEQUENCE"), way


def test_neighbours_are_asked_for(lab: Lab, journeys: list[_Journey]) -> None:
    """Hosts that are not asked take an ARP request in, and have not joined the IPv6 group."""
    asked = [way for way in of(journeys, "10.60.0.1", "10.60.0.3")
             if way["tuple"].get("arp", {}).get("operation") == 1]  # fmt: skip
    (first,) = [way for way in asked if not way["parent"]]
    arp = "ARP" if names_takers(lab) else "this host"
    assert story(first) == f"p out eth0 / host in jp / host in jbr / host taken by {arp}"
    stories = [story(way) for way in asked]
    for space in "quv":
        assert f"host out j{space} / {space} in eth0 / {space} taken by {arp}" in stories
    (reply,) = [way for way in journeys if way["answers"] == first["packet"]]
    there = "u out eth0 / host in ju / host out jp / p in eth0"
    assert story(reply) == f"{there} / p taken by {arp}"
    solicited = [
        way for way in journeys if way["tuple"] and way["tuple"]["daddr"] == "ff02::1:ff00:3"
    ]
    stories = [story(way) for way in solicited]
    icmp = taken_by_icmp(lab, "fd00:60::1")
    assert f"host out ju / u in eth0 / u {icmp}" in stories
    assert "host out jq / q in eth0 / q dropped by ip6_mc_input" in stories
    assert all("joined the group" in way["end"]["note"] for way in solicited
               if way["end"]["by"].startswith("ip6_mc_input"))  # fmt: skip
    advertised = [
        story(way) for way in journeys
        if way["tuple"] and way["tuple"].get("icmp", {}).get("type") == 136
    ]  # fmt: skip
    assert f"{there} / p {icmp}" in advertised


def test_none_is_lost_sight_of(journeys: list[_Journey]) -> None:
    """But for what is under way when the session ends."""
    lost = [way for way in journeys if way["end"]["how"] == "unseen"]
    assert {f"{story(w)}: {w['end']['note']}" for w in lost
            if w["end"]["note"] != "the session ended"} == set()  # fmt: skip


RECEIVE = """
import select, socket, struct, sys
eth0 = socket.if_nametoindex("eth0")
four, six, large = (socket.socket(f, socket.SOCK_DGRAM)
                    for f in (socket.AF_INET, socket.AF_INET6, socket.AF_INET6))
four.bind(("239.6.6.6", 7100))
four.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                struct.pack("=4s4si", socket.inet_aton("239.6.6.6"), bytes(4), eth0))
six.bind(("ff15::66", 7100))
six.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_JOIN_GROUP,
               struct.pack("=16si", socket.inet_pton(socket.AF_INET6, "ff15::66"), eth0))
large.bind(("::", 7200))
server = socket.create_server(("::", 7300), family=socket.AF_INET6, dualstack_ipv6=True)
open(sys.argv[1], "w").close()
all = [four, six, large, server]
while True:
    for s in select.select(all, [], [])[0]:
        if s is server:
            all.append(s.accept()[0])
        elif not s.recv(65536):
            all.remove(s)
            s.close()
"""

SEND = """
import select, socket, struct, sys, time

def ping(number, source, target):
    six = ":" in source
    s = socket.socket(socket.AF_INET6 if six else socket.AF_INET, socket.SOCK_RAW, 58 if six else 1)
    if six:
        s.setsockopt(58, 1, struct.pack("8I", *(~(i == 4 and 2) & 0xFFFFFFFF for i in range(8))))
    else:
        s.setsockopt(255, 1, struct.pack("I", ~1 & 0xFFFFFFFF))
    s.bind((source, 0))
    s.connect((target, 0))
    for _ in range(5):
        s.send(struct.pack(">BBHHH", *((128, 0, 0) if six else (8, 0, 0xF7FF - number)), number, 0))
        if select.select([s], [], [], 3)[0]:
            return s.recv(1000)
    sys.exit(f"no answer from {target}")

for number, pair in enumerate(sys.argv[1:], 1):
    if pair != "all":
        ping(number, *pair.split(","))
if sys.argv[-1] != "all":
    sys.exit(0)
eth0 = socket.if_nametoindex("eth0")
for family, group, host, router in ((socket.AF_INET, "239.6.6.6", "10.60.0.2", "10.31.0.2"),
                                    (socket.AF_INET6, "ff15::66", "fd00:60::2", "fd00:31::2")):
    six = family == socket.AF_INET6
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.sendto(b"x", (router, 53))
    s = socket.socket(family, socket.SOCK_DGRAM)
    s.bind(("fd00:60::1" if six else "10.60.0.1", 0))
    if six:
        s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_MULTICAST_IF, eth0)
    s.sendto(b"x", (group, 7100))
    s.sendto(bytes(4000), (host, 7200))
    with socket.create_connection((host, 7300), source_address=(s.getsockname()[0], 0)) as c:
        c.sendall(bytes(1 << 20))
        c.shutdown(socket.SHUT_WR)
        c.recv(1)
"""

# Answers pings. An address in the other's place changes no checksum, another type does.
TUN = """
import fcntl, os, struct, subprocess, sys
f = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(f, 0x400454CA, struct.pack("16sH", b"tun0", 0x1001))
subprocess.run("ip addr add 10.22.0.1/24 dev tun0; ip addr add fd00:22::1/64 dev tun0 nodad;"
               "ip link set tun0 up", shell=True)
open(sys.argv[1], "w").close()
while True:
    p = bytearray(os.read(f, 2000))
    if p[0] >> 4 == 4 and p[20] == 8:
        p[12:20], at, type, more = p[16:20] + p[12:16], 20, 0, 0x800
    elif p[0] >> 4 == 6 and p[40] == 128:
        p[8:40], at, type, more = p[24:40] + p[8:24], 40, 129, -0x100
    else:
        continue
    sum = int.from_bytes(p[at + 2:at + 4], "big") + more
    p[at], p[at + 2:at + 4] = type, (sum % 0xFFFF).to_bytes(2, "big")
    os.write(f, p)
"""
