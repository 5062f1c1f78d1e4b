# SPDX-License-Identifier: Apache-2.0
"""``--journey``: a packet from device to device, line by line, by tracepoints alone."""

from __future__ import annotations

import json
import re
import time
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import jsonschema
import pytest

import pwru_py.output
from tests.kernel.lab import Trace
from tests.native.net import A, B, Net, serving
from tests.native.test_tracepoints import NFT_OFF, SEND, TALK, nft

SCHEMA = json.loads((Path(pwru_py.output.__file__).parent / "schema.json").read_text())


def journeys(net: Net, trace: Trace) -> list[str]:
    """Journeys without times, numbers of processes and the namespaces' long names."""
    text = trace.stdout
    for name in "arbm":
        text = text.replace(net.netns(name).rpartition("/")[2], name)
    text = re.sub(r"^ *(≥?)[0-9.]+ ms  ", lambda m: m[1] or " ", text, flags=re.MULTILINE)
    text = re.sub(r"[0-9.]+ ms", "T", text)
    text = re.sub(r" id [0-9]+", "", text)
    text = re.sub(r"\b(ping|bash|python3):[0-9]+", r"\1", text)
    text = re.sub(r":[0-9]{5}(?= ?->|,)", ":P", text)
    text = re.sub(r" +$", "", text, flags=re.MULTILINE)
    return [each for each in text.split("\n\n") if each.strip()]


PING = f"""\
packet 1  10.77.1.2->{B}(icmp echo seq 1)  (ping)
 [a]  out  e0
 [r]  in   e1
 [r]  out  e2
 [b]  in   e3
 [b]  ✔ taken in by ICMP; answered by packet 2"""
PONG = f"""\
packet 2  {B}->10.77.1.2(icmp reply seq 1)  (ping)
 [b]  out  e3
 [r]  in   e2
 [r]  out  e1
 [a]  in   e0
 [a]  ✔ read by ping, T after it came; answers packet 1, T after it was sent"""


def test_a_ping_and_its_answer(net: Net) -> None:
    with net.tracing("--journey", "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    assert journeys(net, traces[0]) == [PING, PONG]
    assert "devices are seen" in traces[0].stderr


def test_what_is_dropped_before_a_device(net: Net) -> None:
    net.run("a", nft("output"))
    try:
        with net.tracing("--journey", "udp") as traces:
            net.python("a", SEND, check=False)
    finally:
        net.run("a", NFT_OFF)
    (text,) = journeys(net, traces[0])
    assert re.fullmatch(
        r"packet 1  10.77.1.2:\w+->10.77.2.2:4000\(udp\)  \(python3\)\n"
        r" \[a\]  ✘ NETFILTER_DROP in nft_do_chain\+0x[0-9a-f]+",
        text,
    )


NAT = """nft '
add table ip n; add chain ip n p { type nat hook prerouting priority -100; }
add rule ip n p udp dport 53 dnat to 10.77.2.2:4000
add chain ip n q { type nat hook postrouting priority 100; }
add rule ip n q oifname e2 masquerade'"""


def test_translated_and_refused(net: Net) -> None:
    net.run("r", NAT)
    try:
        with net.tracing("--journey", "udp dst port 53") as traces:
            net.run("a", "echo x > /dev/udp/10.77.1.1/53")
    finally:
        net.run("r", "nft delete table ip n")
    (text,) = journeys(net, traces[0])
    nat = "nat source 10.77.1.2:P -> 10.77.2.1:P, target 10.77.1.1:53 -> 10.77.2.2:4000"
    assert f" [r]  out  e2               {nat}\n [b]  in   e3\n" in text, text
    assert re.search(r"✘ NO_SOCKET in __udp4_lib_rcv\+0x\w+; an ICMP error is sent back$", text)


@pytest.fixture
def overlay(net: Net) -> Iterator[Net]:
    for name, x in (("a", 1), ("b", 2)):
        net.run(
            name,
            f"""
            ip link add vx0 address 02:00:00:00:99:0{x} type vxlan id 42 dstport 4789 \
                local 10.77.{x}.2 remote 10.77.{3 - x}.2
            ip addr add 10.99.0.{x}/24 dev vx0; ip link set vx0 up
            ip neigh add 10.99.0.{3 - x} lladdr 02:00:00:00:99:0{3 - x} dev vx0""",
        )
    yield net
    for name in "ab":
        net.run(name, "ip link del vx0")


def test_a_tunnel(overlay: Net) -> None:
    with overlay.tracing("--journey", "icmp and dst host 10.99.0.2") as traces:
        overlay.run("a", "ping -c1 -W5 10.99.0.2")
    (text,) = journeys(overlay, traces[0])
    assert text.splitlines()[1:] == [
        " [a]  out  vx0              vxlan 42",
        " [a]  out  e0               ┄ into tunnel: 10.77.1.2:P->10.77.2.2:4789(udp)",
        " [r]  in   e1               ┄",
        " [r]  out  e2               ┄",
        " [b]  in   e3               ┄",
        " [b]  in   vx0              vxlan 42, "
        "out of tunnel: 10.99.0.1->10.99.0.2(icmp echo seq 1)",
        " [b]  ✔ taken in by ICMP",
    ]


def test_a_tunnel_in_a_tunnel(overlay: Net) -> None:
    """As deep as it lies is marked, at devices that change nothing, too; and in the object."""
    for name, x in (("a", 1), ("b", 2)):
        overlay.run(
            name,
            f"""
            ip link add vx1 address 02:00:00:00:98:0{x} type vxlan id 43 dstport 4790 \
                local 10.99.0.{x} remote 10.99.0.{3 - x}
            ip addr add 10.98.0.{x}/24 dev vx1; ip link set vx1 up
            ip neigh add 10.98.0.{3 - x} lladdr 02:00:00:00:98:0{3 - x} dev vx1""",
        )
    inner = "icmp and dst host 10.98.0.2"
    try:
        with overlay.tracing("--journey", inner) as traces:
            overlay.run("a", "ping -c1 -W5 10.98.0.2")
        with overlay.tracing("--journey", "--output-json", inner) as objects:
            overlay.run("a", "ping -c1 -W5 10.98.0.2")
    finally:
        for name in "ab":
            overlay.run(name, "ip link del vx1")
    (text,) = journeys(overlay, traces[0])
    assert text.splitlines()[1:] == [
        " [a]  out  vx1              vxlan 43",
        " [a]  out  vx0              ┄ vxlan 42, into tunnel: 10.99.0.1:P->10.99.0.2:4790(udp)",
        " [a]  out  e0               ┄┄ into tunnel: 10.77.1.2:P->10.77.2.2:4789(udp)",
        " [r]  in   e1               ┄┄",
        " [r]  out  e2               ┄┄",
        " [b]  in   e3               ┄┄",
        " [b]  in   vx0              ┄ vxlan 42, out of tunnel: 10.99.0.1:P->10.99.0.2:4790(udp)",
        " [b]  in   vx1              vxlan 43, "
        "out of tunnel: 10.98.0.1->10.98.0.2(icmp echo seq 1)",
        " [b]  ✔ taken in by ICMP",
    ]
    (way,) = [record for record in objects[0].records if record["type"] == "journey"]
    jsonschema.validate(way, SCHEMA)
    assert [hop["tunnels"] for hop in way["hops"]] == [0, 1, 2, 2, 2, 2, 1, 0]


@pytest.fixture
def bridged(net: Net) -> Iterator[Net]:
    net.run(
        "r",
        """
        ip link add br0 address 02:00:00:00:00:99 type bridge; ip link set br0 up
        ip addr flush dev e1; ip link set e1 master br0; ip link set e2 master br0
        ip addr add 10.77.1.1/24 dev br0""",
    )
    net.run("b", "ip addr add 10.77.1.3/24 dev e3")
    yield net
    net.run("b", "ip addr del 10.77.1.3/24 dev e3")
    net.run("r", "ip link del br0; ip addr add 10.77.1.1/24 dev e1")
    net.run("a", f"ip neigh flush all; ping -c1 -W5 {B}")  # as the network was


def test_a_bridge_sends_a_question_to_all(bridged: Net) -> None:
    with bridged.tracing("--journey", "arp") as traces:
        bridged.run("a", "ip neigh flush all; ping -c1 -W5 10.77.1.3")
    ways = {each.partition("  ")[0]: each.splitlines() for each in journeys(bridged, traces[0])}
    assert ways["packet 1"] == [
        "packet 1  10.77.1.2->10.77.1.3(arp request)  (ping)",
        " [a]  out  e0",
        " [r]  in   e1               bridge br0",
        " [r]  in   br0",
        " [r]  ✔ taken in by ARP; answered by packet 3",
        "  packet 2 (copy of packet 1?)  10.77.1.2->10.77.1.3(arp request)  (ping)",
        " [r]  out  e2               bridge br0",
        " [b]  in   e3",
        " [b]  ✔ taken in by ARP",
    ]
    (answered,) = (way for way in ways.values() if "10.77.1.3->10.77.1.2(arp reply)" in way[0])
    assert answered[1:] == [
        " [b]  out  e3",
        " [r]  in   e2               bridge br0",
        " [r]  out  e1               bridge br0",
        " [a]  in   e0",
        " [a]  ✔ taken in by ARP; answers packet 1, T after it was sent",
    ]


@pytest.fixture
def stacked(net: Net) -> Iterator[Net]:
    """On b's e3 lie mb, and m1 and m2 of the namespace m: devices that no tracepoint tells of."""
    net.add("m")
    net.run(
        "b",
        f"""
        add() {{ ip link add link e3 name $1 address 02:00:00:00:02:$2 type macvlan mode bridge; }}
        add m1 11; ip link set m1 netns {net.name("m")}; add mb 10
        ip addr add fd77:2::2/64 dev e3 nodad; ip addr add 10.77.2.10/24 dev mb; ip link set mb up
        sysctl -qw net.ipv4.ip_forward=1""",
    )
    net.run(
        "m",
        """
        ip link set lo up
        ip addr add 10.77.2.11/24 dev m1; ip addr add fd77:2::11/64 dev m1 nodad; ip link set m1 up
        ip route add default via 10.77.2.1""",
    )
    net.run(
        "r",
        """
        ip addr add fd77:2::1/64 dev e2 nodad
        ip neigh add 10.77.2.10 lladdr 02:00:00:00:02:10 dev e2""",
    )
    yield net
    net.run("r", "ip addr del fd77:2::1/64 dev e2; ip neigh del 10.77.2.10 dev e2")
    net.run(
        "b", "ip link del mb; ip addr del fd77:2::2/64 dev e3; sysctl -qw net.ipv4.ip_forward=0"
    )
    net.remove("m")


@pytest.mark.parametrize(
    ("host", "target", "kind"),
    [("10.77.2.1", "10.77.2.11", "icmp"), ("fd77:2::1", "fd77:2::11", "icmp6")],
)
def test_a_device_on_another_ones_back(stacked: Net, host: str, target: str, kind: str) -> None:
    """It takes a packet in where no tracepoint is: the packet says so."""
    stacked.run("r", f"ping -c1 -W5 {target}")
    echo = f"{kind} and (icmp6[0] == 128 or icmp6[0] == 129)" if kind == "icmp6" else kind
    with stacked.tracing("--journey", echo) as traces:
        stacked.run("r", f"ping -c1 -W5 {target}")
    assert journeys(stacked, traces[0]) == [
        f"packet 1  {host}->{target}({kind} echo seq 1)  (ping)\n"
        " [r]  out  e2\n"
        " [b]  in   e3\n"
        "≥[m]  in   m1\n"
        " [m]  ✔ taken in by ICMP; answered by packet 2",
        f"packet 2  {target}->{host}({kind} reply seq 1)  (ping)\n"
        " [m]  out  m1\n"
        " [b]  out  e3\n"
        " [r]  in   e2\n"
        " [r]  ✔ read by ping, T after it came; answers packet 1, T after it was sent",
    ]


def test_devices_on_the_back_of_those_that_forward_and_that_hand_to_sockets(stacked: Net) -> None:
    """Where no device has the packet any more, a device that lay there at the start is named.

    Or the one in the namespace of the socket that takes it in.
    """
    stay = [(name, stacked.python(name, serving(4009, "taken.recv(100)"))) for name in "bm"]
    stacked.run("a", "ip neigh flush all; ip route add 10.77.9.0/24 via 10.77.1.1")
    stacked.run("r", "ip route add 10.77.9.0/24 via 10.77.2.10")
    stacked.run("b", "ip route add 10.77.9.0/24 via 10.77.2.1")
    try:
        with stacked.tracing("--journey", "tcp dst port 4009 or host 10.77.9.9") as traces:
            stacked.run(
                "a",
                "ping -c1 -W1 -t4 10.77.9.9; echo x > /dev/tcp/10.77.2.10/4009; "
                "echo x > /dev/tcp/10.77.2.11/4009",
            )
    finally:
        for name, process in stay:
            stacked.run(name, f"kill {process.strip()}", check=False)
        stacked.run("b", "ip route del 10.77.9.0/24")
        stacked.run("r", "ip route del 10.77.9.0/24")
        stacked.run("a", "ip route del 10.77.9.0/24")
    there = " [a]  out  e0\n [r]  in   e1\n [r]  out  e2\n [b]  in   e3\n"
    onto = f"{there}≥[b]  in   mb               macvlan on e3\n"
    found = journeys(stacked, traces[0])
    (echo,) = [each for each in found if "icmp echo" in each]
    assert f"{onto} [b]  out  e3\n [r]  in   e2\n" in echo
    for target, way in (("10", f"{onto} [b]  ✔ "), ("11", f"{there}≥[m]  in   m1\n [m]  ✔ ")):
        (read,) = [each for each in found if f"10.77.2.{target}:" in each and "read by" in each]
        assert f"\n{way}read by python3, " in read
    told = [each.splitlines()[-1] for each in found
            if "10.77.2.11:" in each and "✔ taken in by TCP" in each]  # fmt: skip
    assert told
    assert not [end for end in told if " [b] " in end and "answered" not in end]


CUT = f"""\
packet 1  {A}->{B}(icmp echo seq 1)  (ping)
 [a]  out  e0
 [r]  in   e1
 [r]  ✔ cut into fragments
  packet 2 (fragment of packet 1?)  {A}->{B}(icmp echo seq 1)  (ping)
 [r]  out  e2               mtu 1400
 [b]  in   e3
 [b]  ✔ taken in by reassembly
  packet 3 (fragment of packet 1?)  {A}->{B}(icmp fragment)  (ping)
 [r]  out  e2               mtu 1400
 [b]  in   e3
 [b]  ✔ taken in by ICMP"""


def test_a_packet_that_is_too_long_is_cut_or_dropped(net: Net) -> None:
    """By the router; the last fragment that comes stands for what is made of all."""
    net.run("r", "ip link set e2 mtu 1400")
    net.run("b", "ip link set e3 mtu 1400")
    ping = f"ip route flush cache; ping -c1 -W2 -s 1450 {B}"
    try:
        with net.tracing("--journey", "icmp") as traces:
            net.run("a", f"{ping} -M dont")
        with net.trace("--drops", "icmp") as drops:
            net.run("a", f"ping -c1 -W2 -s 6000 -M dont {B}")
        with net.tracing("--journey", "icmp") as refused:
            net.run("a", f"{ping} -M do", check=False)
        net.run("b", "ip link set e3 mtu 1500")
        with net.tracing("--journey", f"icmp and src host {B}") as unfit:
            net.run("a", f"{ping} -M dont", check=False)
    finally:
        net.run("r", "ip link set e2 mtu 1500")
        net.run("b", "ip link set e3 mtu 1500")
    found = [re.sub("; answered by packet [0-9]+", "", way)
             for way in sorted(journeys(net, traces[0]))]  # fmt: skip
    assert found[0] == CUT
    assert not [way for way in found if "✘" in way]
    assert drops[0].summary["drops"].keys() <= {"NO_SOCKET"}, "of the answer; ping has a copy"
    assert drops[0].summary["pieces"] > 0
    lost, told, *_ = journeys(net, refused[0])
    assert re.search(
        r"\[r\]  ✘ PKT_TOO_BIG in ip_forward\S+; 1478 bytes; "
        r"an ICMP error is sent back, for mtu 1400$",
        lost,
    )
    assert told.startswith(f"packet 2  10.77.1.1->{A}(icmp unreachable mtu 1400)")
    (way,) = journeys(net, unfit[0])
    assert re.search(
        r"✘ NOT_SPECIFIED in __dev_forward_skb2\S+; the other end of the virtual pair is down, or "
        r"its MTU is too small$", way
    )  # fmt: skip


def test_a_copy_for_xdp_is_the_same_packet(net: Net, program: str) -> None:
    """Of a packet without room in front the kernel makes one, which goes on, or is dropped."""
    for section, end in (
        ("xdp/pass", r"✔ taken in by ICMP"),
        ("xdp", r"✘ NOT_SPECIFIED in veth_xdp_rcv_skb"),
    ):
        net.run("b", f"ip link set e3 xdp obj {program} sec {section}")
        try:
            with net.tracing("--journey", f"icmp and dst host {B}") as traces:
                net.run("a", f"ping -c1 -W1 {B}", check=False)
        finally:
            net.run("b", "ip link set e3 xdp off")
        (way,) = journeys(net, traces[0])
        entry = " [b]  in   e3\n" if section == "xdp/pass" else ""
        there = f" [a]  out  e0\n [r]  in   e1\n [r]  out  e2\n{entry}"
        assert re.search(f"(?s)\\(ping\\)\n{re.escape(there)} \\[b\\]  {end}[^\n]*$", way), way


def test_every_packet_of_connections_has_one_end(net: Net) -> None:
    with net.tracing("--journey", "--output-json", "tcp port 4005") as traces:
        net.python("a", TALK)
    (trace,) = traces
    for record in trace.records:
        jsonschema.validate(record, SCHEMA)
    ways = [record for record in trace.records if record["type"] == "journey"]
    numbers = Counter(way["packet"] for way in ways)
    assert set(numbers.values()) == {1}
    assert len(numbers) == trace.summary["packets"] > 40
    assert {way["end"]["how"] for way in ways} == {"read", "taken"}
    assert all(way["end"]["sure"] or way["end"]["note"] == "no drop was told" for way in ways)
    assert all([hop["way"] for hop in way["hops"]] == ["out", "in"] for way in ways)
    requests = [way for way in ways if way["end"]["how"] == "read"]
    assert len(requests) >= 40
    assert all(way["end"]["waited_ns"] >= 0 for way in requests)
    (first,) = (way for way in ways if way["packet"] == 1)
    assert (first["answered_by"], first["tuple"]["flags"]) == (2, "SYN")


TAKE = serving(4008, "while taken.recv(65536): pass")
GIVE = f"""
import socket
s = socket.create_connection(("{B}", 4008))
s.sendall(bytes(1 << 20))
s.shutdown(socket.SHUT_WR)
s.recv(1)
s.close()
"""


def test_what_is_cut_before_it_is_sent(net: Net) -> None:
    with net.tracing("--journey", f"icmp and src host {A}") as traces:
        net.run("a", "ping -c1 -W2 -s 4000 -M dont 10.77.1.1")
    (text,) = journeys(net, traces[0])
    first, *further = re.split("\n  (?=packet)", text)
    assert first.startswith(f"packet 1  {A}->10.77.1.1(icmp echo seq 1)  (ping)\n [a]  out  e0\n")
    assert [each.splitlines()[:2] for each in further] == [
        [
            f"packet {number} (further fragment of packet 1?)  "
            f"{A}->10.77.1.1(icmp fragment)  (ping)",
            " [a]  out  e0               mtu 1500",
        ]
        for number in (2, 3)
    ]


def test_what_a_device_cannot_send_whole_is_cut_into_segments(net: Net) -> None:
    """The segments begin at the next device, when the packet is no more."""
    net.run("r", "ip link set e2 gso_max_segs 1")
    stays = net.python("b", TAKE)
    try:
        with net.tracing("--journey", f"tcp dst port 4008 and dst host {B}") as traces:
            net.python("a", GIVE.replace("1 << 20", "4000"))
    finally:
        net.run("r", "ip link set e2 gso_max_segs 65535")
        net.run("b", f"kill {stays.strip()}", check=False)
    (cut,) = [way for way in journeys(net, traces[0]) if "cut into" in way]
    number = cut.split()[1]
    whole, *segments = re.split("\n  (?=packet)", cut)
    assert whole.endswith(" [r]  out  e2\n [r]  ✔ cut into segments")
    assert len(segments) == 3
    for segment in segments:
        head, entry, end = segment.splitlines()
        assert f" (segment of packet {number}?)  " in head
        assert entry == " [b]  in   e3"
        # TCP puts a segment behind one that nobody has read yet, and frees it without a word.
        assert end.startswith((" [b]  ✔ ", " [b]  ? taken in by TCP, it seems")), end


def test_of_a_megabyte_no_packet_is_lost_sight_of(net: Net) -> None:
    """Packets of 64 KiB and acknowledgements, through a router.

    TCP may send a segment twice: the second is dropped, by the kernel's own word.
    """
    with net.tracing("--journey", "--output-json", "tcp port 4008") as traces:
        stays = net.python("b", TAKE)
        net.python("a", GIVE)
        net.run("b", f"kill {stays.strip()}", check=False)
    ways = [record for record in traces[0].records if record["type"] == "journey"]
    twice = [way["end"] for way in ways if way["end"]["how"] == "dropped"]
    assert {end["reason"] for end in twice} <= {"TCP_OLD_SEQUENCE"}
    assert len(twice) == sum(traces[0].summary["drops"].values())
    assert {way["end"]["how"] for way in ways} - {"dropped"} == {"read", "taken"}
    there = [("e0", "out"), ("e1", "in"), ("e2", "out"), ("e3", "in")]
    back = [("e3", "out"), ("e2", "in"), ("e1", "out"), ("e0", "in")]
    hops = [[(hop["iface"], hop["way"]) for hop in way["hops"]] for way in ways]
    assert hops.count(there) + hops.count(back) == len(hops) > 30


STEADY = """
import socket, time
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
taker.bind(("127.0.0.1", 4007))
begin = time.monotonic()
for n in range(100000):
    s.sendto(b"x", ("127.0.0.1", 4007))
    if n % 3:
        taker.recv(10)
    while time.monotonic() < begin + n / 10000:
        pass
"""


def test_ten_thousand_packets_a_second_have_one_end_each(net: Net) -> None:
    """Of three one is not read: after a while it finds the socket's buffer full."""
    arguments = ("--journey", "--output-json", "--journey-timeout", "5", "udp dst port 4007")
    with net.tracing(*arguments) as traces:
        net.python("a", STEADY)
    (trace,) = traces
    ways = [record for record in trace.records if record["type"] == "journey"]
    assert trace.summary["losses"]["buffer_full"] == 0
    assert len({way["packet"] for way in ways}) == len(ways) == 100_000
    ends = Counter(way["end"]["how"] for way in ways)
    assert ends["dropped"] == sum(trace.summary["drops"].values()) > 1000
    assert all(
        way["end"]["by"].startswith("python3:") for way in ways if way["end"]["how"] == "read"
    )
    assert ends["read"] + ends["taken"] + ends["dropped"] == 100_000


def test_so_many_journeys(net: Net) -> None:
    with net.tracing("--journey", "-c", "2", "icmp") as traces:
        net.run("a", f"ping -c3 -i0.2 -W5 {B}")
    assert len(journeys(net, traces[0])) == 2


def test_paths_are_counted(net: Net) -> None:
    arguments = (
        "--journey",
        "--top",
        "--output-json",
        "--interval",
        "0.5",
        "icmp or udp port 4000",
    )
    with net.tracing(*arguments) as traces:
        net.run("a", f"ping -c20 -i0.005 -W5 {B}; echo x > /dev/udp/{B}/4000")
        time.sleep(1.2)
    (trace,) = traces
    for record in trace.records:
        jsonschema.validate(record, SCHEMA)
    *_, last = (record for record in trace.records if record["type"] == "paths")
    assert last["others"] == 0
    there = [[hop["iface"], hop["way"]] for hop in last["paths"][0]["hops"]]
    assert sorted(path["packets"] for path in last["paths"]) == [1, 1, 20, 20]
    assert there in ([["e0", "out"], ["e1", "in"], ["e2", "out"], ["e3", "in"]],
                     [["e3", "out"], ["e2", "in"], ["e1", "out"], ["e0", "in"]])  # fmt: skip
    ends = {(path["end"]["how"], path["end"]["by"]) for path in last["paths"]}
    assert {("read", "ping"), ("taken", "ICMP"), ("dropped", "__udp4_lib_rcv")} <= ends
    for path in last["paths"]:
        whole, parts = path["whole"], path["times"]
        assert whole["minimum_ns"] <= whole["median_ns"] <= whole["p99_ns"] <= whole["maximum_ns"]
        assert sum(times["minimum_ns"] for times in parts) <= whole["minimum_ns"]
    with net.tracing("--journey", "--top", "--interval", "0.3", "--count", "2", "icmp") as traces:
        net.run("a", f"ping -c8 -i0.2 -W5 {B}")
    assert traces[0].stdout.count(" on ") == 2
    assert "path 1: " in traces[0].stdout
    with net.tracing("--journey-map", "--interval", "60", "icmp") as traces:
        net.run("a", f"ping -c3 -i0.01 -W5 {B}")
    lines = traces[0].stdout.splitlines()
    assert lines[0] == "6 packets on 2 paths"
    for name in "arb":
        lines = [line.replace(net.netns(name).rpartition("/")[2], name) for line in lines]
    assert set(lines[1:3]) == {
        "3  [a] e0 ──► [r] e1 ──► e2 ──► [b] e3  ✔ taken in by ICMP",
        "3  [b] e3 ──► [r] e2 ──► e1 ──► [a] e0  ✔ read by ping",
    }


ANSWER = f"""
import os, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.bind(("{B}", 53))
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, 3)
    asked = [s.recvfrom(512) for _ in range(2)]
    for query, who in asked[::-1]:
        s.sendto(query, who)
"""
ASK = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for name in b"ab":
    s.sendto(bytes([18, name, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0, 1]), ("{B}", 53))
for _ in range(2):
    s.recv(512)
"""


def test_dns_answers_in_another_order(net: Net) -> None:
    """By the ids of the messages: the ports are the same."""
    net.python("b", ANSWER)
    with net.tracing("--journey", "--output-json", "udp port 53") as traces:
        net.python("a", ASK)
    ways = {w["packet"]: w for w in traces[0].records if w["type"] == "journey"}
    answers = [(number, way["answers"]) for number, way in sorted(ways.items()) if way["answers"]]
    assert answers == [(3, 2), (4, 1)]
    assert [ways[number]["answered_by"] for number in (1, 2)] == [4, 3]


HAIRPIN = """nft '
add table ip n; add chain ip n p { type nat hook prerouting priority -100; }
add rule ip n p ip daddr 10.77.1.1 udp dport 53 dnat to 10.77.1.2:4000
add chain ip n q { type nat hook postrouting priority 100; }
add rule ip n q ip saddr 10.77.1.2 ip daddr 10.77.1.2 masquerade'"""


def test_a_host_that_asks_itself_by_its_service(bridged: Net) -> None:
    """What goes back to where it came from, with both addresses translated."""
    bridged.run("r", HAIRPIN)
    bridged.run("r", "sysctl -qw net.bridge.bridge-nf-call-iptables=0", check=False)
    try:
        with bridged.tracing("--journey", "udp dst port 53") as traces:
            bridged.run("a", "echo x > /dev/udp/10.77.1.1/53")
    finally:
        bridged.run("r", "nft delete table ip n")
    (text,) = journeys(bridged, traces[0])
    _head, *hops, end = text.splitlines()
    nat = "nat source 10.77.1.2:P -> 10.77.1.1:P, target 10.77.1.1:53 -> 10.77.1.2:4000"
    assert hops == [
        " [a]  out  e0",
        " [r]  in   e1               bridge br0",
        " [r]  in   br0",
        f" [r]  out  br0              {nat}",
        " [r]  out  e1               bridge br0",
        " [a]  in   e0",
    ]
    assert end.startswith(" [a]  ✘ NO_SOCKET in __udp4_lib_rcv")
