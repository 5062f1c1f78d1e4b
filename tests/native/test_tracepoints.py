# SPDX-License-Identifier: Apache-2.0
"""``--backend tracepoint``: packets along the kernel's own marks, and drops made on purpose."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from pwru_py import Backend, Config, Tracer
from pwru_py.kernel import bpf
from pwru_py.programs.choose import Choice
from tests.kernel.lab import Trace
from tests.native.net import A, B, Net

UDP = "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
SEND = UDP + "s.sendto(b'x', ('10.77.2.2', 4000))"
TO_B = "udp dst port 4000"
HEADER = """
import socket, struct
def send(source, checksum, fragment=0, size=9):
    s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 44, 1, fragment, 64, 17, 0,
                       socket.inet_aton(source), socket.inet_aton("10.77.2.2"))
    s.sendto(head + struct.pack("!HHHH16x", 7, 4000, size, checksum), ("10.77.2.2", 0))
"""
# A process that keeps what it opened, for a minute at most, and says its number.
STAY = """
import os, time
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, 3)
    time.sleep(60)
"""
# Takes nothing off its queue.
SINK = f"""
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304)
s.bind(("0.0.0.0", 4000))
{STAY}"""
# Likewise, with a filter that takes nothing: BPF_RET of 0, SO_ATTACH_FILTER.
NOTHING = """
import ctypes, struct
none = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))
s.setsockopt(1, 26, struct.pack("HL", 1, ctypes.addressof(none)))
s.bind"""
FILTERED = SINK.replace("\ns.bind", NOTHING, 1)
FRAME = """
import socket, struct
TO_R = "020000000101"
def packet(checksum):
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 29, 1, 0, 64, 17, checksum,
                       socket.inet_aton("10.77.1.2"), socket.inet_aton("10.77.2.2"))
    return head + struct.pack("!HHHH", 7, 4000, 9, 0) + b"x"
def send(target, protocol, payload):
    s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
    s.bind(("e0", 0))
    s.send(bytes.fromhex(target + "020000000102") + struct.pack("!H", protocol) + payload)
"""
# Opens t0 (TUNSETIFF), reads nothing, and sends until the ring is full: the device counts drops.
TUN = f"""
import fcntl, os, socket, struct, time
fcntl.ioctl(os.open("/dev/net/tun", os.O_RDWR), 0x400454ca, struct.pack("16sH", b"t0", 0x1001))
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
dropped = lambda: int(open("/sys/class/net/t0/statistics/tx_dropped").read())
enough = dropped() + 5
for tries in range(2000):
    if dropped() >= enough:
        break
    s.sendto(b"x", ("10.78.0.2", 4001))
    time.sleep(0.005)
{STAY}"""


def nft(hook: str) -> str:
    chain = f"type filter hook {hook} priority 0;"
    return (
        f"nft 'add table ip t; add chain ip t c {{ {chain} }}; add rule ip t c udp dport 4000 drop'"
    )


def staying(program: str) -> str:
    return f"python3 -I -S -c '{program}' >{{program}}.stays"


GO = "kill $(cat {program}.stays)"
INGRESS = (
    "nft 'add table netdev t; "
    "add chain netdev t c { type filter hook ingress device e3 priority 0; }; "
    "add rule netdev t c udp dport 4000 drop'"
)


@dataclass(frozen=True)
class Drop:
    """A drop in namespace ``where`` (a, r, b): made by ``setup``, undone by ``undo``.

    ``at``: the functions that free the packet, in kernels from 6.10 on. ``ifname``: '' before a
    device is known.
    """

    reason: str
    at: str
    where: str
    ifname: str
    setup: str = ""
    undo: str = ""
    send: str = SEND
    expression: str = TO_B
    times: int = 1


# A TCP segment with a checksum that is wrong.
SEGMENT = (
    "import socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 6); "
    "s.sendto(struct.pack('!HHIIBBHHH', 9, 4000, 1, 0, 0x50, {flags}, 100, 7, 0), "
    "('10.77.2.2', 0))"
)
NFT_OFF = "nft delete table ip t"
NFT = "nft_do_chain|nf_hook_slow"
DROPS = {
    "nft output": Drop("NETFILTER_DROP", NFT, "a", "", nft("output"), NFT_OFF),
    "nft prerouting": Drop("NETFILTER_DROP", NFT, "r", "e1", nft("prerouting"), NFT_OFF),
    "nft forward": Drop("NETFILTER_DROP", NFT, "r", "e1", nft("forward"), NFT_OFF),
    "nft postrouting": Drop("NETFILTER_DROP", NFT, "r", "e2", nft("postrouting"), NFT_OFF),
    "nft input": Drop("NETFILTER_DROP", NFT, "b", "e3", nft("input"), NFT_OFF),
    "nft ingress": Drop("NETFILTER_DROP", NFT, "b", "e3", INGRESS, "nft delete table netdev t"),
    "iptables input": Drop(
        "NETFILTER_DROP", "nf_hook_slow", "b", "e3",
        "iptables-legacy -A INPUT -p udp --dport 4000 -j DROP", "iptables-legacy -F INPUT",
    ),
    "closed port": Drop("NO_SOCKET", "__udp4_lib_rcv|udp_rcv", "b", "e3"),
    "closed TCP port": Drop(
        "NO_SOCKET", "tcp_v4_rcv", "b", "e3",
        send="import socket; s = socket.socket(); s.connect_ex(('10.77.2.2', 4001))",
        expression="tcp dst port 4001",
    ),
    "receive buffer full": Drop(
        "SOCKET_RCVBUFF", "udp_queue_rcv_one_skb|__udp_enqueue_schedule_skb", "b", "e3",
        staying(SINK), GO, times=4,
        send=UDP + "[s.sendto(bytes(1000), ('10.77.2.2', 4000)) for n in range(6)]",
    ),
    "UDP checksum": Drop(
        "UDP_CSUM", "__udp4_lib_rcv|udp_rcv", "b", "e3", staying(SINK), GO,
        send=HEADER + "send('10.77.1.2', 77); import time; time.sleep(0.1)",
    ),
    "forwarding off": Drop(
        "IP_INADDRERRORS", "ip_error", "r", "e1",
        "sysctl -qw net.ipv4.ip_forward=0", "sysctl -qw net.ipv4.ip_forward=1",
    ),
    "no route": Drop(
        "IP_INNOROUTES", "ip_error", "r", "e1",
        "ip route del 10.77.2.0/24", "ip route add 10.77.2.0/24 dev e2 src 10.77.2.1",
    ),
    "hop limit": Drop(
        "IP_INHDR", "ip_forward", "r", "e1",
        send=UDP + "s.setsockopt(0, 2, 1); s.sendto(b'x', ('10.77.2.2', 4000))",
    ),
    "too big": Drop(
        "PKT_TOO_BIG", "ip_forward", "r", "e1",
        "ip link set e2 mtu 1000", "ip link set e2 mtu 1500",
        send=UDP + "s.setsockopt(0, 10, 3); s.sendto(bytes(1400), ('10.77.2.2', 4000))",
    ),
    "reverse path": Drop(
        "IP_RPFILTER", "ip_rcv_finish_core|ip_rcv_finish", "r", "e1",
        "sysctl -qw net.ipv4.conf.e1.rp_filter=1", "sysctl -qw net.ipv4.conf.e1.rp_filter=0",
        send=HEADER + "send('10.77.2.9', 0)",
    ),
    "loopback source": Drop(
        "IP_LOCALNET", "ip_rcv_finish_core|ip_rcv_finish", "r", "e1",
        send=HEADER + "send('127.0.0.9', 0)",
    ),
    "no neighbour": Drop(
        "NEIGH_FAILED", "neigh_invalidate|neigh_timer_handler", "r", "e2",
        "sysctl -qw net.ipv4.neigh.e2.mcast_solicit=1 net.ipv4.neigh.e2.retrans_time_ms=100",
        send=UDP + "s.sendto(b'x', ('10.77.2.77', 4000)); import time; time.sleep(1)",
    ),
    "queue full": Drop(
        "QDISC_DROP", "__dev_queue_xmit|__dev_xmit_skb", "a", "e0",
        "tc qdisc add dev e0 root tbf rate 8kbit burst 1600 limit 2000",
        "tc qdisc del dev e0 root", times=4,
        send=UDP + "[s.sendto(bytes(1000), ('10.77.2.2', 4000)) for n in range(6)]",
    ),
    "generic XDP": Drop(
        "NOT_SPECIFIED", "do_xdp_generic", "b", "e3",
        "ip link set dev e3 xdpgeneric obj {program} sec xdp", "ip link set dev e3 xdpgeneric off",
    ),
    "native XDP": Drop(
        "NOT_SPECIFIED", "veth_xdp_rcv_skb", "b", "e3",
        "ip link set dev e3 xdpdrv obj {program} sec xdp", "ip link set dev e3 xdpdrv off",
    ),
    "tc ingress": Drop(
        "TC_INGRESS", r"__netif_receive_skb_core.*|sch_handle_ingress", "r", "e1",
        "tc qdisc add dev e1 clsact; tc filter add dev e1 ingress bpf da obj {program} sec tc",
        "tc qdisc del dev e1 clsact",
    ),
    "IP checksum": Drop(
        "IP_CSUM", "ip_rcv_core", "r", "e1", send=FRAME + "send(TO_R, 0x0800, packet(1))"
    ),
    "another's frame": Drop(
        "OTHERHOST", "ip_rcv_core", "r", "e1",
        send=FRAME + "send('020000000909', 0x0800, packet(0))",
    ),
    "unknown EtherType": Drop(
        "UNHANDLED_PROTO", "__netif_receive_skb_core.*", "r", "e1",
        send=FRAME + "send(TO_R, 0x88b5, bytes(60))", expression="ether proto 0x88b5",
    ),
    "unknown IP protocol": Drop(
        "IP_NOPROTO", "ip_local_deliver_finish|ip_protocol_deliver_rcu", "b", "e3",
        send="import socket; s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 200); "
             "s.sendto(b'xxxx', ('10.77.2.2', 0))",
        expression="ip proto 200",
    ),
    "TCP checksum": Drop(
        "TCP_CSUM", "tcp_v4_rcv", "b", "e3",
        send=SEGMENT.format(flags=2),
        expression="tcp dst port 4000",
    ),
    "neighbour's queue full": Drop(
        "NEIGH_QUEUEFULL", "__neigh_event_send", "r", "e2",
        "sysctl -qw net.ipv4.neigh.e2.unres_qlen_bytes=0 net.ipv4.neigh.e2.mcast_solicit=3 "
        "net.ipv4.neigh.e2.retrans_time_ms=1000",
        "sysctl -qw net.ipv4.neigh.e2.unres_qlen_bytes=212992; ip neigh flush dev e2", times=5,
        send=UDP + "[s.sendto(bytes(900), ('10.77.2.78', 4000)) for n in range(6)]",
    ),
    "fragments that wait too long": Drop(
        "FRAG_REASM_TIMEOUT", "ip_expire", "b", "e3",
        "sysctl -qw net.ipv4.ipfrag_time=1", "sysctl -qw net.ipv4.ipfrag_time=30",
        send=HEADER + "send('10.77.1.2', 0, 0x2000, 80); import time; time.sleep(2)",
    ),
    "multicast that nobody has joined": Drop(
        "NOT_SPECIFIED", "ip_rcv_finish_core|ip_rcv_finish", "r", "e1",
        send=UDP + "s.setsockopt(0, 32, socket.inet_aton('10.77.1.2')); "
                   "s.sendto(b'x', ('239.1.2.3', 4000))",
    ),
    "invalid by connection tracking": Drop(
        "NETFILTER_DROP", NFT, "r", "e1",
        "nft 'add table ip t; add chain ip t c { type filter hook forward priority 0; }; "
        "add rule ip t c ct state invalid drop'", NFT_OFF,
        send=SEGMENT.format(flags=0), expression="tcp dst port 4000",
    ),
    "IPsec policy, forwarded": Drop(
        "XFRM_POLICY", "ip_forward", "r", "e1",
        "ip xfrm policy add dir fwd src 10.77.1.2 dst 10.77.2.2 action block",
        "ip xfrm policy flush",
    ),
    "IPsec policy, received": Drop(
        "NOT_SPECIFIED|XFRM_POLICY", "__udp4_lib_rcv|udp_rcv", "b", "e3",
        "ip xfrm policy add dir in src 10.77.1.2 dst 10.77.2.2 action block",
        "ip xfrm policy flush",
    ),
    "blackhole": Drop(
        "NOT_SPECIFIED", "ip_error", "r", "e1",
        "ip route add blackhole 10.77.9.0/24", "ip route del blackhole 10.77.9.0/24",
        send=UDP + "s.sendto(b'x', ('10.77.9.9', 4000))",
    ),
    "prohibited by a rule": Drop(
        "NOT_SPECIFIED", "ip_error", "r", "e1",
        "ip rule add to 10.77.2.2 prohibit", "ip rule del to 10.77.2.2 prohibit",
    ),
    "bridge port blocked": Drop(
        "BRIDGE_INGRESS_STP_STATE", "br_handle_frame", "r", "e1",
        "ip link add br0 type bridge; ip link set e1 master br0; ip link set br0 up; "
        "bridge link set dev e1 state 0", "ip link del br0",
        expression="arp or udp dst port 4000",
    ),
    "socket's filter": Drop(
        "SOCKET_FILTER", "udp_queue_rcv_one_skb", "b", "e3", staying(FILTERED), GO
    ),
    "reader of a tun stalled": Drop(
        "FULL_RING", "tun_net_xmit", "a", "t0",
        "ip tuntap add t0 mode tun; ip addr add 10.78.0.1/24 dev t0; "
        "ip link set t0 txqueuelen 2 up; " + staying(TUN), GO + "; ip link del t0", times=4,
        send=UDP + "[s.sendto(b'x', ('10.78.0.2', 4000)) for n in range(4)]",
    ),
    "tc egress": Drop(
        "TC_EGRESS", "__dev_queue_xmit|sch_handle_egress", "a", "e0",
        "tc qdisc add dev e0 clsact; tc filter add dev e0 egress bpf da obj {program} sec tc",
        "tc qdisc del dev e0 clsact",
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", DROPS)
def test_a_drop_has_its_reason_and_place(net: Net, program: str, name: str) -> None:
    drop = DROPS[name]
    if drop.setup:
        net.run(drop.where, drop.setup.replace("{program}", program))
    try:
        with net.trace(drop.expression) as traces:
            net.python("a", drop.send, check=False)
    finally:
        if drop.undo:
            net.run(drop.where, drop.undo.replace("{program}", program))
    (trace,) = traces
    drops = [
        e for e in trace.events
        if e["drop"] and e["netns"] == net.inode(drop.where)
        and re.fullmatch(drop.reason, e["drop_reason"])
    ]  # fmt: skip
    assert len(drops) == drop.times, trace.events
    for event in drops:
        assert event["func"] == "skb:kfree_skb"
        assert re.fullmatch(drop.at, event["location"].partition("+")[0]), event["location"]
        assert event["iface"] == drop.ifname
        assert "port" not in drop.expression or event["tuple"]["dport"] in (4000, 4001)
        assert trace.summary["drops"][event["drop_reason"]] == drop.times


def test_a_ping_from_end_to_end(net: Net) -> None:
    with net.trace("icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    (trace,) = traces
    seen = {(e["func"], e["netns"]) for e in trace.events}
    for namespace in "arb":
        assert ("net:net_dev_queue", net.inode(namespace)) in seen
        assert ("net:netif_receive_skb", net.inode(namespace)) in seen
    last = trace.events[-1]
    assert last["func"] in ("skb:consume_skb", "skb:kfree_skb")
    assert last["location"]
    assert trace.summary["packets_limited"] is False
    assert {(e["tuple"]["saddr"], e["tuple"]["daddr"]) for e in trace.events} == {(A, B), (B, A)}


def test_selection(net: Net) -> None:
    chosen = ("--filter-netns", net.netns("r"), "--filter-ifname", "e2")
    with net.trace(*chosen, "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    assert {(e["netns"], e["iface"]) for e in traces[0].events} == {(net.inode("r"), "e2")}
    with net.trace("--filter-func", "net_dev_queue", "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    assert set(traces[0].functions) == {"net:net_dev_queue"}


@pytest.mark.parametrize("transport", ["ring", "queue"])
def test_the_stack_tells_where_a_tracepoint_is(net: Net, transport: str) -> None:
    with net.trace("--output-stack", "--transport", transport, "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    (trace,) = traces
    places = {e["func"]: e["location"].partition("+")[0] for e in trace.events}
    assert places["net:net_dev_queue"] == "__dev_queue_xmit"
    assert places["net:net_dev_start_xmit"] == "dev_hard_start_xmit"
    first = next(e for e in trace.events if e["func"] == "net:net_dev_queue")
    assert first["stack"][0]["symbol"] == "__dev_queue_xmit"


def test_each_packet_has_its_number(net: Net) -> None:
    with net.trace("icmp and src host 10.77.1.2") as traces:
        net.run("a", f"ping -c3 -i0.2 -W5 {B}")
    by_sequence: dict[int, set[int]] = {}
    for event in traces[0].events:
        by_sequence.setdefault(event["tuple"]["icmp"]["seq"], set()).add(event["packet"])
    assert len(by_sequence) == 3
    assert all(len(numbers) == 1 for numbers in by_sequence.values())
    assert traces[0].summary["packets"] == 3


def test_no_packet_is_lost_or_told_twice(net: Net) -> None:
    """Printed and lost are what the receiver's kernel counts."""
    counters = (
        "nstat -asz UdpInDatagrams UdpInErrors UdpNoPorts | awk '/Udp/ {n += $2} END {print n}'"
    )
    flood = UDP + "[s.sendto(b'x', ('10.77.2.2', 4000)) for n in range(20000)]"
    before = int(net.run("b", counters))
    with net.trace("--buffer-size", "64K", "--filter-netns", net.netns("b"), TO_B) as traces:
        net.python("a", flood, check=False)
    happened = int(net.run("b", counters)) - before
    summary = traces[0].summary
    assert happened > 0
    assert summary["drops"] == {"NO_SOCKET": happened}
    assert summary["drops_limited"] is False


# Takes 40 datagrams and keeps them unread.
HOLD = SINK.replace("SO_RCVBUF, 2304", "SO_RCVBUF, 262144")


def test_packets_that_give_way_are_counted(net: Net) -> None:
    """Forty are under way at once, as nobody reads them: 32 at least are not followed."""
    many = UDP + "[s.sendto(b'x', ('10.77.2.2', 4000)) for n in range(40)]"
    follow = ("--filter-track-skb", TO_B)
    holder = int(net.python("b", HOLD))
    try:
        with net.trace("--track-size", "8", *follow) as few, net.trace(*follow) as all_of_them:
            net.python("a", many)
    finally:
        os.kill(holder, signal.SIGKILL)
    assert all_of_them[0].summary["packets"] == 40
    assert all_of_them[0].summary["losses"]["track_full"] == 0
    gone = few[0].summary["losses"]["track_full"]
    assert 32 <= gone <= 40
    told = (
        f"not followed: {gone} packets, too many at once: narrow the filter or raise --track-size"
    )
    assert told in few[0].stderr.splitlines()
    last = [record for record in few[0].records if record["type"] == "lost"][-1]
    assert last["track_full"] == gone


def test_following_where_no_program_is_let_at_functions(net: Net) -> None:
    with net.trace("--filter-track-skb", "icmp and src host 10.77.1.2") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    assert "net:net_dev_queue" in traces[0].functions


TALK = """
import os, socket, threading, time
def serve():
    taken, _ = listener.accept()
    while taken.recv(100):
        taken.send(b"answer")
    taken.close()
listener = socket.socket()
listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
listener.bind(("127.0.0.1", 4005))
listener.listen()
for cpu in os.sched_getaffinity(0):
    os.sched_setaffinity(0, {cpu})
    thread = threading.Thread(target=serve)
    thread.start()
    client = socket.create_connection(("127.0.0.1", 4005))
    for n in range(10):
        client.send(b"request")
        client.recv(100)
    client.close()
    thread.join()
    other = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    for n in range(50):
        try:
            other.sendto(b"x", ("127.0.0.1", 4006))
        except ConnectionRefusedError:
            pass
"""


def test_an_address_that_tcp_has_freed_is_another_packets(net: Net) -> None:
    """TCP frees what it has taken in without a tracepoint: the UDP packets get its addresses."""
    with net.trace("--filter-track-skb", "tcp port 4005") as traces:
        net.python("a", TALK)
    (trace,) = traces
    sent = [e["packet"] for e in trace.events if e["func"] == "net:net_dev_queue"]
    assert len(set(sent)) == len(sent) > 40
    others = [e for e in trace.events if e["tuple"] is None or e["tuple"]["proto"] != 6]
    assert others == []
    assert "about " in trace.stderr


MISMATCH = """
import socket
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.sendto(bytes.fromhex("020000000101020000000102") + b"\\x88\\xb5" + bytes(60), ("e0", 0x0800))
"""


def test_the_frame_says_its_ethertype(net: Net) -> None:
    """A packet socket sets skb->protocol to what its address says, here IPv4."""
    with net.trace("ether proto 0x88b5") as traces:
        net.python("a", MISMATCH)
    sent = [e for e in traces[0].events if e["func"] == "net:net_dev_queue"]
    assert [e["proto"] for e in sent] == [0x0800]
    with net.trace("ip") as traces:
        net.python("a", MISMATCH)
    assert [e for e in traces[0].events if e["netns"] == net.inode("a")] == []


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "pwru_py", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_the_list(net: Net) -> None:
    done = run("--backend", "tracepoint", "--list-funcs")
    assert done.returncode == 0
    rows = dict(line.split()[:2] for line in done.stdout.splitlines()[1:] if line)
    assert rows["skb:kfree_skb"] == rows["net:net_dev_queue"] == "1"
    assert rows["qdisc:qdisc_dequeue"] == "4"
    assert re.fullmatch(r"\d+ tracepoints, 0 skipped\n", done.stderr)


def test_few_open_files(net: Net) -> None:
    command = f"{sys.executable} -m pwru_py --backend tracepoint"
    few = ["bash", "-c", f"ulimit -n 64; exec setpriv --bounding-set -sys_resource {command}"]
    done = subprocess.run(few, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    assert "tracepoints with at most 64 open files" in done.stderr
    assert "ulimit -Hn" in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_a_name_that_no_tracepoint_has(net: Net) -> None:
    done = run("--backend", "tracepoint", "--filter-func", "ip_rcv")
    assert done.returncode == 1
    assert done.stderr.startswith("pwru-py: no tracepoint that takes an sk_buff matches 'ip_rcv'")


def test_text_tells_the_same(net: Net) -> None:
    with net.tracing("--backend", "tracepoint", TO_B) as traces:
        net.python("a", SEND)
    (trace,) = traces
    assert re.search(r"skb:kfree_skb +NO_SOCKET at \w+", trace.stdout)
    assert isinstance(trace, Trace)
    assert "drops: 1\n  1  NO_SOCKET\n" in trace.stderr


def _functions(net: Net) -> set[str]:
    """What a packet to a closed port of b passes, once it is there."""
    found: set[str] = set()
    config = Config("udp dst port 4000", filter_netns=net.netns("b"), backend=Backend.TRACEPOINT)
    with Tracer(config) as tracer:
        for batch in tracer.batches():
            if not batch and not found:
                net.python("a", SEND)
            found |= {event.func for event in batch}
            if any(event.drop for event in batch):
                tracer.stop()
    return found - {"icmp:icmp_send"}  # whose rate is limited


def test_a_kernel_without_cookies_gets_a_copy_for_each_tracepoint(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As before 6.10: the number of the tracepoint is in the program's code."""
    with_cookies = _functions(net)
    of = Choice.features
    monkeypatch.setattr(
        Choice, "features", lambda self, known: replace(of(self, known), tracepoint_cookies=False)
    )
    loaded: list[str] = []
    load = bpf.load_raw_tracepoint

    def counted(name: str, code: bytes) -> int:
        loaded.append(name)
        return load(name, code)

    monkeypatch.setattr(bpf, "load_raw_tracepoint", counted)
    assert _functions(net) == with_cookies >= {"net:netif_receive_skb", "skb:kfree_skb"}
    assert len(loaded) == len(set(loaded)) > 20


def test_namespaces_by_their_names(net: Net) -> None:
    name = Path(net.netns("b")).name
    shown = ("--output-netns-names", "--netns-names-max-length", "6")
    arguments = ("--filter-func", "skb:consume_skb", "--filter-netns", net.netns("b"))
    with net.trace(*arguments, *shown, "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    assert {event["netns_name"] for event in traces[0].events} == {name}, "whole in JSON"
    with net.tracing("--backend", "tracepoint", *arguments, *shown, "icmp") as traces:
        net.run("a", f"ping -c1 -W5 {B}")
    head, *rows = traces[0].stdout.splitlines()
    column = head.split().index("NETNS")
    assert {row.split()[column] for row in rows if "consume_skb" in row} == {name[:6]}
