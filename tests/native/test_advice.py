# SPDX-License-Identifier: Apache-2.0
"""``--advice``: each cause is made on purpose, and so is another one with the same reason."""

from __future__ import annotations

import contextlib
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pwru_py.kernel.reader import Reader
from tests.kernel.lab import Trace
from tests.native.net import B, Net, serving

Said = dict[str, Any]
PING = f"ping -c2 -i0.2 -W1 {B}"
UDP = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
SEND = UDP + "s.sendto(b'x', ('10.77.2.2', 4000))"


def advice(trace: Trace, reason: str) -> Said:
    """The first advice for a reason, or a function."""
    for record in trace.records:
        if record["type"] == "advice" and reason in (record["reason"], record["function"]):
            return dict(record)
    raise AssertionError(f"nothing said of {reason}: {trace.stdout} {trace.stderr}")


def first(said: Said) -> tuple[str, str]:
    """Verdict and words of the surest finding."""
    return said["findings"][0]["verdict"], said["findings"][0]["what"]


def facts(said: Said) -> dict[str, Any]:
    return {fact["name"]: fact for found in said["findings"] for fact in found["proof"]}


@contextlib.contextmanager
def advising(net: Net, where: str, *arguments: str) -> Iterator[list[Trace]]:
    place = ("--filter-netns", net.netns(where))
    with net.tracing("--drops", "--advice", "--output-json", *place, *arguments) as traces:
        yield traces


@contextlib.contextmanager
def changed(net: Net, where: str, do: str, undo: str) -> Iterator[None]:
    net.run(where, do)
    try:
        yield
    finally:
        net.run(where, undo, check=False)


# Routes


def foreign_source(net: Net) -> Any:
    return changed(net, "a", "ip addr add 10.99.0.1/32 dev lo", "ip addr del 10.99.0.1/32 dev lo")


FOREIGN = f"ping -c2 -i0.2 -W1 -I 10.99.0.1 {B}"


def strict(net: Net) -> Any:
    name = "net.ipv4.conf.e1.rp_filter"
    return changed(net, "r", f"sysctl -qw {name}=1", f"sysctl -qw {name}=0")


def test_the_reverse_path_filter_and_where_the_way_back_leads(net: Net) -> None:
    route = "ip route {} 10.99.0.1 via 10.77.2.2"
    with foreign_source(net), strict(net), changed(
        net, "r", route.format("add"), route.format("del")
    ), advising(net, "r", "icmp") as traces:  # fmt: skip
        net.run("a", FOREIGN, check=False)
    said = advice(traces[0], "IP_RPFILTER")
    verdict, what = first(said)
    assert verdict == "proven"
    assert "elsewhere (dev e2 via 10.77.2.2)" in what
    assert facts(said)["net.ipv4.conf.e1.rp_filter"]["value"] == 1
    assert facts(said)["IPReversePathFilter"]["rise"] == said["packets"] == 2
    assert "forged" in said["findings"][0]["change"], "what loose costs"


def test_the_reverse_path_filter_without_a_way_back(net: Net) -> None:
    with foreign_source(net), strict(net), advising(net, "r", "icmp") as traces:
        net.run("a", FOREIGN, check=False)
    said = advice(traces[0], "IP_RPFILTER")
    assert first(said)[0] == "proven"
    assert "no route leads back" in first(said)[1]
    assert "rp_filter=2" not in said["findings"][0]["change"], "loose would not help"


def test_forwarding_off_is_not_told_of_a_missing_route(net: Net) -> None:
    off = changed(net, "r", "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1")
    with off, advising(net, "r", "icmp") as traces:
        net.run("a", PING, check=False)
    said = advice(traces[0], "ip_error")
    assert first(said)[0] == "proven"
    assert "forwards nothing from e1" in first(said)[1]
    assert facts(said)["net.ipv4.conf.e1.forwarding"]["value"] == 0
    with advising(net, "r", "icmp") as traces:
        net.run("a", "ping -c2 -i0.2 -W1 192.0.2.9", check=False)
    said = advice(traces[0], "ip_error")
    assert first(said) == ("proven", "no route leads to 192.0.2.9")
    assert [f["what"] for f in said["findings"][1:]] == ["forwarding is on"]


@pytest.mark.parametrize(
    ("what", "hangs"),
    [("icmp type destination-unreachable", True), ("icmp type echo-request", False)],
)
def test_a_rule_that_keeps_the_mtu_of_a_path_secret(net: Net, what: str, hangs: bool) -> None:
    """Of what else such a rule drops it is not told."""
    chain = "add chain ip adv c {{ type filter hook {} priority 0; }}; add rule ip adv c {} drop"
    hook = "output" if hangs else "input"
    do = f"nft 'add table ip adv; {chain.format(hook, what)}'; ip link set e2 mtu 1000"
    undo = "nft delete table ip adv; ip link set e2 mtu 1500"
    with changed(net, "r", do, undo), advising(net, "r", "icmp") as traces:
        net.run("a", f"ping -c1 -W1 -M do -s 1200 {B}; ping -c1 -W1 10.77.1.1", check=False)
    net.run("a", "ip route flush cache")
    said = advice(traces[0], "NETFILTER_DROP")
    told = [found for found in said["findings"] if "its connections hang" in found["what"]]
    assert bool(told) == hangs
    if hangs:
        harm = "; so 10.77.1.2 does not learn that the way takes 1000 bytes at most, and its "
        assert first(said)[1].endswith(f"ip adv/c is what drops in this namespace{harm}"
                                       "connections hang")  # fmt: skip
        assert facts(said)["MTU told"]["value"] == 1000


@pytest.mark.parametrize(
    ("kind", "words"),
    [
        ("unreachable", "an unreachable route holds 192.0.2.9"),
        ("prohibit", "a prohibit route or rule holds 192.0.2.9"),
        ("blackhole", "a blackhole route or rule holds 192.0.2.9, or the source is refused"),
    ],
)
def test_a_route_that_refuses(net: Net, kind: str, words: str) -> None:
    route = f"ip route {{}} {kind} 192.0.2.0/24"
    with changed(net, "r", route.format("add"), route.format("del")):
        with advising(net, "r", "icmp") as traces:
            net.run("a", "ping -c2 -i0.2 -W1 192.0.2.9", check=False)
    said = advice(traces[0], "ip_error")
    assert first(said) == ("likely" if kind == "blackhole" else "proven", words)


RAW = """
import socket, struct, time
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
def send(source, target, ttl=64, body=b""):
    udp = struct.pack("!HHHH", 9, 4000, 8 + len(body), 0) + body
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, ttl, 17, 0,
                       socket.inet_aton(source), socket.inet_aton(target))
    s.sendto(head + udp, (target, 0))
"""


def test_an_own_address_as_the_source(net: Net) -> None:
    with advising(net, "b", "udp") as traces:
        net.python("a", RAW + "send('10.77.2.2', '10.77.2.2')")
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    assert first(said)[0] == "proven"
    assert "an own address" in first(said)[1]


def test_hops_that_end_and_a_loop(net: Net) -> None:
    with advising(net, "r", "udp") as traces:
        net.python("a", RAW + "send('10.77.1.2', '10.77.2.2', ttl=1)")
    said = advice(traces[0], "ip_forward")
    assert first(said)[0] == "proven"
    assert "loop by e1" in said["findings"][1]["what"]
    assert facts(said)["InHdrErrors"]["rise"] == 1
    loop = changed(net, "r", "ip route add 192.0.2.0/24 via 10.77.1.2", "ip route del 192.0.2.0/24")
    with loop, advising(net, "r", "udp") as traces:
        net.python("a", RAW + "send('10.77.1.2', '192.0.2.9', ttl=1)")
    verdict, what = first(advice(traces[0], "ip_forward"))
    assert (verdict, "leads back by e1: a routing loop" in what) == ("likely", True)


def test_a_packet_that_is_too_long(net: Net) -> None:
    small = changed(net, "r", "ip link set e2 mtu 1000", "ip link set e2 mtu 1500")
    with small, advising(net, "r", "icmp") as traces:
        net.run("a", f"ping -c1 -W1 -M do -s 1200 {B}", check=False)
    net.run("a", "ip route flush cache")
    said = advice(traces[0], "PKT_TOO_BIG")
    assert first(said) == ("proven", "1228 bytes do not fit the MTU of e2, and may not be cut")
    assert (facts(said)["length"]["value"], facts(said)["length"]["limit"]) == (1228, 1000)


def test_a_frame_that_the_other_end_has_no_room_for(net: Net) -> None:
    """No ICMP tells of it: the two ends of a veth have different MTUs."""
    large = changed(net, "r", "ip link set e1 mtu 3000", "ip link set e1 mtu 1500")
    with large, advising(net, "r", "icmp") as traces:
        net.run("r", "ping -c1 -W1 -s 2000 10.77.1.2", check=False)
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    other = f"e0 in {net.netns('a').rpartition('/')[2]}"
    what = f"a frame of 2042 bytes does not fit the MTU of {other}, the other end"
    assert first(said) == ("proven", what)
    assert facts(said)["frame bytes"]["limit"] == 1518
    assert facts(said)[f"MTU of {other}"]["value"] == 1500


# Neighbours


def test_a_neighbour_that_does_not_answer(net: Net) -> None:
    with advising(net, "r", "icmp") as traces:
        net.run("a", "ping -c1 -W4 10.77.2.77", check=False)
    said = advice(traces[0], "NEIGH_FAILED")
    assert first(said)[0] == "proven"
    assert "10.77.2.77, the next hop, does not answer ARP on e2" in first(said)[1]


def test_a_gateway_that_does_not_answer(net: Net) -> None:
    route = "ip route {} 192.0.2.0/24 via 10.77.2.78"
    with changed(net, "r", route.format("add"), route.format("del")):
        with advising(net, "r", "icmp") as traces:
            net.run("a", "ping -c1 -W4 192.0.2.9", check=False)
    said = advice(traces[0], "NEIGH_FAILED")
    assert "10.77.2.78, the next hop" in first(said)[1]
    assert "another gateway" in said["findings"][0]["change"]


ASK = """
import socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("e0", 0))
me = bytes.fromhex("020000000102")
s.send(b"\\xff" * 6 + me + struct.pack(
    "!HHHBBH6s4s6s4s", 0x806, 1, 0x800, 6, 4, 1, me, socket.inet_aton("10.77.1.2"), bytes(6),
    socket.inet_aton("10.77.2.1")))
time.sleep(0.3)
"""


def test_arp_that_a_setting_keeps_silent(net: Net) -> None:
    name = "net.ipv4.conf.e1.arp_ignore"
    with changed(net, "r", f"sysctl -qw {name}=1", f"sysctl -qw {name}=0"):
        with advising(net, "r", "arp") as traces:
            net.python("a", ASK)
    said = advice(traces[0], "ARP requests ignored")
    assert first(said)[0] == "proven"
    assert first(said)[1].startswith("arp_ignore keeps e1 from answering")


# Sockets


def listening(address: str, kind: str = "udp", family: str = "INET") -> str:
    """A program that has port 4000 for some seconds, and prints its process."""
    udp = kind == "udp"
    return f"""
import os, socket, time
s = socket.socket(socket.AF_{family}, socket.SOCK_{"DGRAM" if udp else "STREAM"})
if "{family}" == "INET6":
    s.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
s.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, {int(not udp)})
s.bind(("{address}", 4000))
{"" if udp else "s.listen(0)"}
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, 3)
    time.sleep(30)
"""


@contextlib.contextmanager
def running(net: Net, where: str, program: str) -> Iterator[None]:
    stays = net.python(where, program).strip()
    try:
        yield
    finally:
        net.run(where, f"kill {stays}", check=False)


def test_nobody_listens(net: Net) -> None:
    with advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", SEND)
    said = advice(traces[0], "NO_SOCKET")
    assert first(said) == ("proven", "nobody has UDP port 4000 open in this namespace")
    assert facts(said)["NoPorts"]["rise"] == 1


def test_somebody_listens_in_another_namespace(net: Net) -> None:
    with running(net, "r", listening("0.0.0.0")), advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", SEND)
    said = advice(traces[0], "NO_SOCKET")
    assert first(said)[0] == "proven"
    assert facts(said)["open in namespace"]["value"].endswith("r")


@pytest.mark.parametrize(
    ("address", "family", "words"),
    [
        ("127.0.0.1", "INET", "it is bound to 127.0.0.1"),
        ("::", "INET6", "it takes IPv6 alone"),
    ],
)
def test_somebody_listens_at_another_address(
    net: Net, address: str, family: str, words: str
) -> None:
    listener = running(net, "b", listening(address, family=family))
    with listener, advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", SEND)
    verdict, what = first(advice(traces[0], "NO_SOCKET"))
    assert verdict == "proven"
    assert words in what


STRAY = """
import socket, struct
a, b = socket.inet_aton("10.77.1.2"), socket.inet_aton("10.77.2.2")
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
tcp = struct.pack("!HHIIBBHHH", 9, 4000, 1, 5, 0x50, 0x10, 100, 0, 0)
total = sum(struct.unpack("!16H", a + b + struct.pack("!HH", 6, 20) + tcp))
total = (total & 0xFFFF) + (total >> 16)
tcp = tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
s.sendto(struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, a, b) + tcp, ("10.77.2.2", 0))
"""


def test_a_stray_tcp_packet_is_no_closed_port(net: Net) -> None:
    with advising(net, "b", "tcp dst port 4000") as traces:
        net.python("a", STRAY)
    verdict, what = first(advice(traces[0], "NO_SOCKET"))
    assert (verdict, "connection that this host does not know" in what) == ("likely", True)


def test_a_wrong_checksum(net: Net) -> None:
    with advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", RAW.replace("8 + len(body), 0)", "8 + len(body), 77)")
                   + "send('10.77.1.2', '10.77.2.2', body=b'xyz')")  # fmt: skip
    said = advice(traces[0], "UDP_CSUM")
    assert first(said) == ("proven", "the packet's UDP checksum is wrong")
    assert facts(said)["InCsumErrors"]["rise"] == 1


FLOOD = UDP + "[s.sendto(b'x' * 1000, ('10.77.2.2', 4000)) for n in range(2000)]"


def test_a_receive_buffer_that_is_full(net: Net) -> None:
    with running(net, "b", listening("0.0.0.0")), advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", FLOOD)
    said = advice(traces[0], "SOCKET_RCVBUFF")
    verdict, what = first(said)
    assert verdict == "proven"
    assert "the receive buffer of 0.0.0.0:4000 of python3:" in what
    assert facts(said)["RcvbufErrors"]["rise"] == said["packets"]


CONNECT = """
import socket, time
several = [socket.socket() for n in range(4)]
for s in several:
    s.setblocking(False)
    s.connect_ex(("10.77.2.2", 4000))
time.sleep(1.5)
"""


def test_a_full_accept_queue(net: Net) -> None:
    listener = running(net, "b", listening("0.0.0.0", "tcp"))
    with listener, advising(net, "b", "tcp port 4000") as traces:
        net.python("a", CONNECT)
        said_at = traces
    said = advice(said_at[0], "ListenOverflows")
    assert first(said)[0] == "proven"
    assert "the accept queue of 0.0.0.0:4000 of python3:" in first(said)[1]
    assert facts(said)["accept queue"]["value"] > facts(said)["accept queue"]["limit"]


def test_a_socket_that_serves_is_not_blamed(net: Net) -> None:
    stays = net.python("b", serving(4000, "time.sleep(0.5)"))
    with advising(net, "b", "tcp port 4000") as traces:
        net.python("a", "import socket; socket.create_connection(('10.77.2.2', 4000))")
    net.run("b", f"kill {stays.strip()}", check=False)
    assert [r for r in traces[0].records if r["type"] == "advice"] == []


# Netfilter


def test_the_policy_that_drops(net: Net) -> None:
    table = "nft 'add table inet adv; add chain inet adv in "
    table += "{ type filter hook input priority 0; policy drop; }'"
    with changed(net, "b", table, "nft delete table inet adv"):
        with advising(net, "b", "udp dst port 4000") as traces:
            net.python("a", SEND)
    verdict, what = first(advice(traces[0], "NETFILTER_DROP"))
    assert verdict == "likely"
    assert "inet adv/in is what drops" in what


def test_the_rule_whose_counter_moves(net: Net) -> None:
    rules = """nft -f - <<'X'
table inet adv {
  chain in { type filter hook input priority 0; udp dport 4000 counter drop; }
  chain other { type filter hook forward priority 0; counter drop; }
}
X"""
    with changed(net, "b", rules, "nft delete table inet adv"):
        with advising(net, "b", "udp dst port 4000") as traces:
            net.python("a", "import time; " + UDP
                       + "[(s.sendto(b'x', ('10.77.2.2', 4000)), time.sleep(0.1))"
                       " for n in range(8)]")  # fmt: skip
    said = advice(traces[0], "NETFILTER_DROP")
    assert "inet adv/in is what drops" in first(said)[1]
    assert facts(said)["inet adv/in"]["rise"] > 0
    assert "inet adv/other" not in facts(said)


def test_a_packet_that_conntrack_finds_invalid_and_one_that_it_does_not(net: Net) -> None:
    """A segment of no connection, where none is picked up on the way."""
    rules = """nft -f - <<'X'
table inet adv {
  chain in { type filter hook input priority 0; ct state invalid counter drop; %s }
}
X"""
    loose = "net.netfilter.nf_conntrack_tcp_loose"
    gone = f"nft delete table inet adv; sysctl -qw {loose}=1"
    make = f"sysctl -qw {loose}=0; {rules % ''}"
    with changed(net, "b", make, gone), advising(net, "b", "tcp dst port 4000") as traces:
        net.python("a", STRAY)
    said = advice(traces[0], "NETFILTER_DROP")
    assert "inet adv/in is what drops" in first(said)[1]
    assert facts(said)["conntrack invalid"]["rise"] == 1
    assert facts(said)["net.netfilter.nf_conntrack_tcp_be_liberal"]["value"] == 0
    make = f"sysctl -qw {loose}=0; {rules % 'udp dport 4000 drop;'}"
    with changed(net, "b", make, gone), advising(net, "b", "udp dst port 4000") as traces:
        net.python("a", SEND)
    assert "conntrack invalid" not in facts(advice(traces[0], "NETFILTER_DROP"))


# Queues and programs


def flooded(net: Net, make: str) -> Said:
    """What is said of a flood from ``a``, whose device has these queues."""
    with changed(net, "a", make, "tc qdisc del dev e0 root"):
        with advising(net, "a", "udp dst port 4000") as traces:
            net.python("a", FLOOD.replace("2000", "200"))
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    assert first(said)[0] == "proven"
    assert any(fact["rise"] for fact in facts(said).values())
    return dict(said)


def test_a_queue_that_shapes_and_one_that_is_full(net: Net) -> None:
    shaper = "tc qdisc add dev e0 root handle 1: tbf rate 80kbit burst 2k limit 4k"
    assert first(flooded(net, shaper))[1].startswith("qdisc tbf 1: of e0 shapes to 80000 bit/s")
    short = f"{shaper}; tc qdisc add dev e0 parent 1:1 handle 2: pfifo limit 1"
    assert first(flooded(net, short))[1].startswith("qdisc pfifo 2: of e0 is full")


def test_a_device_without_a_carrier_is_no_full_queue(net: Net) -> None:
    """The other end of a veth is down; the reason is that of a full queue."""
    queue = changed(net, "a", "tc qdisc add dev e0 root pfifo limit 10", "tc qdisc del dev e0 root")
    know = "ip neigh {} 10.77.1.1 lladdr 02:00:00:00:01:01 dev e0"
    known = changed(net, "a", know.format("replace"), know.format("del"))
    with queue, known, changed(net, "r", "ip link set e1 down", "ip link set e1 up"):
        with advising(net, "a", "icmp") as traces:
            net.run("a", "ping -c2 -i0.2 -W1 10.77.1.1", check=False)
    said = advice(traces[0], "QDISC_DROP")
    assert first(said)[0] == "proven"
    assert first(said)[1].startswith("e0 has no carrier: what is sent by it is dropped at once: ")
    assert first(said)[1].endswith(f"e1 in {net.netns('r').rpartition('/')[2]}, is down")
    assert facts(said)["e0 carrier"]["value"] == 0
    assert said["findings"][0]["change"] == "ip link set e1 up, there"
    assert said["findings"][1]["verdict"] == "not this"


def test_programs_that_drop_have_names(net: Net, program: str) -> None:
    load = f"ip link set dev e3 xdpgeneric obj {program} sec xdp"
    with changed(net, "b", load, "ip link set dev e3 xdpgeneric off"):
        with advising(net, "b", "icmp") as traces:
            net.run("a", PING, check=False)
    said = advice(traces[0], "do_xdp_generic")
    assert first(said)[0] == "proven"
    assert "it was dropped by program xdp_drop (id " in first(said)[1]
    load = f"tc qdisc add dev e3 clsact && tc filter add dev e3 ingress bpf da obj {program} sec tc"
    with changed(net, "b", load, "tc qdisc del dev e3 clsact"):
        with advising(net, "b", "icmp") as traces:
            net.run("a", PING, check=False)
    verdict, what = first(advice(traces[0], "TC_INGRESS"))
    assert verdict == "proven"
    assert "drop.o:[tc]" in what


TUN = """
import fcntl, os, socket, struct, time
fd = os.open("/dev/net/tun", os.O_RDWR)
fcntl.ioctl(fd, 0x400454ca, struct.pack("16sH22x", b"tun0", 0x1001))
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, fd)
    time.sleep(30)
"""


def test_a_tun_device_that_nobody_reads_and_one_that_nobody_opens(net: Net) -> None:
    with running(net, "b", TUN):
        net.run("b", "ip link set tun0 txqueuelen 5 up; ip route add 192.0.2.0/24 dev tun0")
        with advising(net, "b", "host 192.0.2.9") as traces:
            net.run("b", "ping -c20 -i0.01 -W1 192.0.2.9", check=False)
    said = advice(traces[0], "FULL_RING")
    assert first(said)[0] == "proven"
    assert "does not read as fast" in first(said)[1]
    assert facts(said)["tun0 tx_dropped"]["rise"] == said["packets"]


def test_a_namespace_that_has_gone(net: Net) -> None:
    command = ["unshare", "--net", "stat", "-L", "-c", "%i", "/proc/self/ns/net"]
    gone = int(subprocess.run(command, capture_output=True, check=True, timeout=60).stdout)
    reader = Reader()
    try:
        assert reader.wait_ready()
        for number, netns in ((1, gone), (2, net.inode("b"))):
            assert reader.ask({"id": number, "netns": netns, "readings": [("legacy_tables", ())]})
            (told,) = reader.wait(time.monotonic() + 10)
            problem = "" if number == 2 else "its namespace is gone, or nothing leads to it"
            assert (told["id"], told["error"]) == (number, problem)
    finally:
        reader.close()


def test_limits_of_the_machine_are_read_where_a_namespace_has_none(net: Net) -> None:
    names = ["net/ipv4/neigh/default/gc_thresh3", "net/core/netdev_max_backlog"]
    for name in names:
        assert net.run("b", f"cat /proc/sys/{name}", check=False) == "", "as 6.18 has it"
    reader = Reader()
    try:
        assert reader.wait_ready()
        asked = [("sysctl", (name,)) for name in (*names, "net/ipv4/conf/e3/rp_filter")]
        question = {"id": 1, "netns": net.inode("b"), "readings": asked, "counters": True}
        assert reader.ask(question)
        (told,) = reader.wait(time.monotonic() + 10)
    finally:
        reader.close()
    here = [Path(f"/proc/sys/{name}").read_text().strip() for name in names]
    assert told["values"] == [
        *here,
        net.run("b", "cat /proc/sys/net/ipv4/conf/e3/rp_filter").strip(),
    ]
    assert told["after"]["arp_cache.entries"] > 0


def test_lines_for_people(net: Net) -> None:
    with net.tracing("--drops", "--advice", "--filter-netns", net.netns("b"), "udp") as traces:
        net.python("a", SEND)
    lines = traces[0].stderr.splitlines()
    (at,) = (
        n for n, line in enumerate(lines) if line.startswith("1  NO_SOCKET at __udp4_lib_rcv (e3")
    )
    assert lines[at].endswith("b): proven: nobody has UDP port 4000 open in this namespace")
    assert lines[at + 1].startswith("   now: sockets at UDP port 4000: 0; NoPorts: ")
    assert lines[at + 2] == "   change: start the service here, or correct the port"


def test_counts_alone_have_advice_too(net: Net) -> None:
    arguments = ("--drops", "--advice", "--summary-only", "--filter-netns", net.netns("b"), "udp")
    with net.tracing(*arguments) as traces:
        net.python("a", SEND)
    assert "1  NO_SOCKET at __udp4_lib_rcv (e3" in traces[0].stderr


def test_a_journey_has_advice_too(net: Net) -> None:
    with net.tracing("--journey", "--advice", "--output-json", "udp dst port 4000") as traces:
        net.python("a", SEND)
    assert first(advice(traces[0], "NO_SOCKET"))[0] == "proven"


def test_a_rule_that_keeps_a_packet_from_its_route(net: Net) -> None:
    """Without the rule the same error is told of a missing route."""
    rule = "ip rule {} from 10.77.1.2 iif e1 lookup 77"
    table = "ip route {} unreachable default table 77"
    change = [f"{rule.format(do)}; {table.format(do)}" for do in ("add", "del")]
    with changed(net, "r", *change), advising(net, "r", "icmp") as traces:
        net.run("a", PING, check=False)
    said = advice(traces[0], "ip_error")
    verdict, what = first(said)
    assert verdict == "proven"
    assert what.startswith(f"a routing rule keeps it from the route to {B} (dev e2): ")
    assert what.endswith("from 10.77.1.2/32 iif e1 lookup 77")
    other = f"{rule.replace('10.77.1.2', '10.99.0.1').format('add')}; {table.format('add')}"
    gone = f"{rule.replace('10.77.1.2', '10.99.0.1').format('del')}; {table.format('del')}"
    with changed(net, "r", other, gone), advising(net, "r", "icmp") as traces:
        net.run("a", "ping -c2 -i0.2 -W1 192.0.2.9", check=False)
    assert first(advice(traces[0], "ip_error")) == ("proven", "no route leads to 192.0.2.9")


def test_a_program_that_has_no_route_to_send_by(net: Net) -> None:
    send = SEND.replace("10.77.2.2", "192.0.2.9")
    route = "ip route {} default via 10.77.1.1"
    with changed(net, "a", route.format("del"), route.format("add")):
        with advising(net, "a", "udp") as traces:
            net.python("a", send, check=False)
    said = advice(traces[0], "OutNoRoutes")
    assert first(said)[0] == "likely", "the counter does not tell the target"
    assert first(said)[1].endswith("there is no default route")
    assert facts(said)["OutNoRoutes"]["rise"] == 1
    rule = "ip rule {} to 192.0.2.0/24 unreachable"
    with changed(net, "a", rule.format("add"), rule.format("del")):
        with advising(net, "a", "udp") as traces:
            net.python("a", send, check=False)
    said = advice(traces[0], "OutNoRoutes")
    assert "there is no default route" not in first(said)[1]
    assert facts(said)["ip rule"]["value"].endswith("from all to 192.0.2.0/24 unreachable")
