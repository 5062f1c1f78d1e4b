# SPDX-License-Identifier: Apache-2.0
"""``--drops``: what was lost, and nothing else."""

from __future__ import annotations

import json
import os
import pty
import re
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.request import urlopen

import pytest

from pwru_py.kernel.libbpf import BpfObject, Libbpf
from tests.native.net import B, Net, serving
from tests.native.test_tracepoints import NFT_OFF, SEND, nft


@pytest.fixture
def firewall(net: Net) -> Iterator[Net]:
    """b drops UDP to port 4000, and answers pings."""
    net.run("b", nft("input"))
    yield net
    net.run("b", NFT_OFF)


def test_drops_alone_are_shown(firewall: Net) -> None:
    with firewall.tracing("--drops", "--output-json", "host 10.77.2.2") as traces:
        firewall.run("a", f"ping -c1 -W5 {B}")
        firewall.python("a", SEND)
    (trace,) = traces
    (event,) = (e for e in trace.events if e["drop_reason"] == "NETFILTER_DROP")
    assert event["netns"] == firewall.inode("b")
    assert event["tuple"]["dport"] == 4000
    assert all(e["func"] == "skb:kfree_skb" and e["drop"] for e in trace.events)
    assert trace.summary["drop_places"]["NETFILTER_DROP at nft_do_chain"] == 1


def test_a_line_tells_reason_and_place_and_the_end_what_it_means(firewall: Net) -> None:
    with firewall.tracing("--drops", "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    (trace,) = traces
    title, line = trace.stdout.splitlines()
    assert title.split() == ["PROCESS", "TIME", "NETNS", "IFACE", "LEN", "TUPLE", "DROP"]
    assert re.search(r"T\d\d:\d\d:\d\d\.\d{6}", line)
    assert re.search(r" e3:\d+ .*:4000\(udp\) +NETFILTER_DROP at nft_do_chain\+0x", line)
    end = trace.stderr.splitlines()
    at = end.index("1  NETFILTER_DROP at nft_do_chain")
    assert "rule" in end[at + 1]
    assert end[at + 2].startswith("   Read nft list ruleset")


def test_with_the_stack_and_a_selection(firewall: Net) -> None:
    arguments = ("--drops", "--output-json", "--output-stack", "--filter-netns")
    with firewall.tracing(*arguments, firewall.netns("b"), "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    (event,) = traces[0].events
    assert any(str(frame["symbol"]).startswith("ip_local_deliver") for frame in event["stack"])
    with firewall.tracing(*arguments, firewall.netns("a"), "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    assert traces[0].events == []


NO_PORTS = "nstat -asz UdpNoPorts | awk '/Udp/ {print $2}'"
FLOOD = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(30000):
    try:
        s.sendto(b"x", ("10.77.2.2", 4000))
    except ConnectionRefusedError:
        pass
"""


def test_counts_in_the_kernel_are_exact(net: Net) -> None:
    """Of a flood, against what the receiver's kernel counts by itself."""
    before = int(net.run("b", NO_PORTS))
    arguments = ("--drops", "--top", "--output-json", "--interval", "0.5", "udp dst port 4000")
    with net.tracing(*arguments) as traces:
        net.python("a", FLOOD)
        happened = int(net.run("b", NO_PORTS)) - before
        time.sleep(1.2)
    (trace,) = traces
    *reports, summary = trace.records
    (kind,) = reports[-1]["kinds"]
    assert kind["packets"] == reports[-1]["total"] == happened > 0
    assert (kind["reason"], kind["function"]) == ("NO_SOCKET", "__udp4_lib_rcv")
    assert (kind["netns"], kind["ifname"]) == (net.inode("b"), "e3")
    (flow,) = kind["flows"]
    assert flow["tuple"]["daddr"] == B
    assert (flow["tuple"]["dport"], flow["packets"]) == (4000, happened)
    assert kind["other_flows"] == 0
    assert summary["drops"] == {"NO_SOCKET": happened}
    assert summary["drops_limited"] is False
    assert summary["losses"]["buffer_full"] == 0


MARKED = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, 0x7275)
for n in range({count}):
    try:
        s.sendto(b"x", ("127.0.0.1", 4000))
    except ConnectionRefusedError:
        pass
"""


def test_the_sum_is_what_another_program_counts(net: Net) -> None:
    """A program of its own at the same tracepoint: ``truth.bpf.c``."""
    count = 1_000_000
    target = net.directory / "truth.o"
    source = Path(__file__).with_name("truth.bpf.c")
    command = ["clang", "-O2", "-g", "-target", "bpf", "-I/usr/include/x86_64-linux-gnu"]
    subprocess.run([*command, "-c", str(source), "-o", str(target)], check=True, timeout=60)
    arguments = (
        "--drops",
        "--top",
        "--output-json",
        "--interval",
        "0.5",
        "--filter-mark",
        "0x7275",
    )
    with BpfObject(Libbpf(), target.read_bytes()) as truth, net.tracing(*arguments) as traces:
        truth.load()
        (program,) = truth.programs()
        link = program.attach()
        net.python("b", MARKED.format(count=count))
        link.destroy()
        happened = truth.map("dropped").per_cpu_sum(0)
        time.sleep(1.2)
    *reports, summary = traces[0].records
    assert reports[-1]["total"] == sum(summary["drops"].values()) == happened == count
    assert summary["losses"]["recursion"] == 0


def test_the_summary_alone(net: Net) -> None:
    """The kernel counts, and no event comes."""
    for output in ((), ("--output-json",)):
        with net.tracing("--drops", "--summary-only", *output, "udp dst port 4000") as traces:
            net.python("a", SEND)
        (trace,) = traces
        assert [json.loads(line)["type"] for line in trace.stdout.splitlines()] == (
            ["summary"] if output else []
        )
        assert "drops: 1\n  1  NO_SOCKET\n" in trace.stderr
        assert "No socket" in trace.stderr


PORTS = """
import socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
for n in range(40000):
    try:
        s.sendto(b"x", ("10.77.2.2", 20000 + n))
    except ConnectionRefusedError:
        pass
"""


def test_more_flows_than_are_told_apart(net: Net) -> None:
    """40 000 flows of one drop each: the last ones are known, and all are counted."""
    before = int(net.run("b", NO_PORTS))
    arguments = (
        "--drops",
        "--top",
        "--output-json",
        "--interval",
        "0.5",
        "udp dst portrange 1-65535",
    )
    with net.tracing(*arguments, "--filter-netns", net.netns("b")) as traces:
        net.python("a", PORTS)
        happened = int(net.run("b", NO_PORTS)) - before
        time.sleep(1.2)
    *reports, _summary = traces[0].records
    (kind,) = reports[-1]["kinds"]
    assert kind["packets"] == happened > 16384
    known = sum(flow["packets"] for flow in kind["flows"])
    assert len(kind["flows"]) == 100
    assert kind["other_flows"] == happened - known
    assert all(flow["packets"] == 1 for flow in kind["flows"])


def test_so_many_reports(net: Net) -> None:
    command = [sys.executable, "-m", "pwru_py", "--drops", "--top", "--interval", "0.2"]
    command += ["--count", "3", "--output-json", "host 10.99.99.99"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    kinds = [json.loads(line)["type"] for line in done.stdout.splitlines()]
    assert kinds == ["drops"] * 3 + ["summary"]


def test_the_table_obeys_keys_and_gives_the_terminal_back(net: Net) -> None:
    ours, theirs = pty.openpty()
    before = subprocess.run(["stty", "-a"], stdin=theirs, capture_output=True, check=True).stdout
    command = [sys.executable, "-m", "pwru_py", "--drops", "--top", "--interval", "0.2"]
    tracer = subprocess.Popen(
        [*command, "udp dst port 4000"], stdin=theirs, stdout=theirs, stderr=theirs,
        env={**os.environ, "TERM": "xterm", "COLUMNS": "100", "LINES": "20"},
    )  # fmt: skip
    shown = b""

    def until(text: bytes) -> None:
        nonlocal shown
        while text not in shown:
            shown += os.read(ours, 65536)
        shown = shown[shown.index(text) :]

    until(b"by count")
    net.python("a", SEND)
    until(b"__udp4_lib_rcv")
    until(b"->10.77.2.2:4000(udp)")
    os.write(ours, b"ff")
    until(b"by count")
    os.write(ours, b"s")
    until(b"by rate")
    os.write(ours, b"p")
    until(b"paused")
    os.write(ours, b"q")
    until(b"Check ss -ln")
    assert tracer.wait(30) == 0
    after = subprocess.run(["stty", "-a"], stdin=theirs, capture_output=True, check=True).stdout
    assert after == before


def test_prometheus_scrapes_the_counts(net: Net) -> None:
    with net.tracing("--drops", "--prometheus", "19099", "--interval", "0.2", "udp dst port 4000"):
        net.python("a", SEND + "; s.sendto(b'x', ('10.77.2.2', 4001))")
        for _ in range(100):
            with urlopen("http://127.0.0.1:19099/metrics", timeout=5) as answer:
                text = answer.read().decode()
            if "pwru_drops_total{" in text:
                break
            time.sleep(0.1)
        taken = subprocess.run(
            [sys.executable, "-m", "pwru_py", "--drops", "--prometheus", "127.0.0.1:19099"],
            capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
    labels = f'function="__udp4_lib_rcv",interface="e3",netns="{net.inode("b")}",reason="NO_SOCKET"'
    assert f"pwru_drops_total{{{labels}}} 1.0" in text
    assert "pwru_events_lost_total 0.0" in text
    assert taken.returncode == 1
    assert "cannot listen on 127.0.0.1 port 19099: address already in use" in taken.stderr


LISTENER = """
import os, socket, time
s = socket.socket()
s.bind(("0.0.0.0", 4002))
s.listen(0)
if stays := os.fork():
    print(stays)
else:
    os.closerange(0, 3)
    time.sleep(60)
"""
CONNECT = """
import socket, time
several = [socket.socket() for n in range(4)]
for s in several:
    s.setblocking(False)
    s.connect_ex(("10.77.2.2", 4002))
time.sleep(1.5)
"""


# SYNs of hosts that do not exist, so that no answer ends the wait for their last ACK.
SYNS = """
import socket, struct
b = socket.inet_aton("10.77.2.2")
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
for n in range(40):
    a = bytes((10, 77, 1, 100 + n))
    tcp = struct.pack("!HHIIBBHHH", 9, 4002, 1, 0, 0x50, 2, 100, 0, 0)
    total = sum(struct.unpack("!16H", a + b + struct.pack("!HH", 6, 20) + tcp))
    total = (total & 0xFFFF) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, a, b)
    s.sendto(head + tcp, ("10.77.2.2", 0))
"""


def test_a_flood_of_syns_without_cookies_is_a_silent_loss(net: Net) -> None:
    net.run("b", "sysctl -qw net.ipv4.tcp_syncookies=0")
    stays = net.python("b", LISTENER.replace("4002", "4003"))
    with net.tracing("--drops", "--filter-netns", net.netns("b"), "tcp dst port 4003") as traces:
        net.python("a", SYNS.replace("4002", "4003"))
        time.sleep(0.2)
    net.run("b", f"kill {stays.strip()}; sysctl -qw net.ipv4.tcp_syncookies=1")
    assert re.search(r"^silent: \d+  TCPReqQFullDrop ", traces[0].stderr, re.MULTILINE)
    assert "tcp_max_syn_backlog" in traces[0].stderr


def test_a_full_accept_queue_is_a_silent_loss(net: Net) -> None:
    stays = net.python("b", LISTENER)
    with net.tracing("--drops", "--filter-netns", net.netns("b"), "tcp dst port 4002") as traces:
        net.python("a", CONNECT)
    net.run("b", f"kill {stays}")
    (trace,) = traces
    assert re.search(r"^silent: \d+  ListenOverflows ", trace.stderr, re.MULTILINE)
    assert "accept queue" in trace.stderr
    with net.tracing("--drops", "--output-json", "--filter-netns", net.netns("r")) as traces:
        pass
    assert traces[0].summary["silent"] == {}


ASK = """
import socket, struct, time
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("e0", 0))
me = bytes.fromhex("020000000102")
for target in ("10.77.2.1", "10.77.2.1", "10.77.1.1", "10.77.1.99"):
    s.send(b"\\xff" * 6 + me + struct.pack(
        "!HHHBBH6s4s6s4s", 0x806, 1, 0x800, 6, 4, 1, me, socket.inet_aton("10.77.1.2"), bytes(6),
        socket.inet_aton(target)))
time.sleep(0.3)
"""


def test_an_arp_request_that_is_ignored(net: Net) -> None:
    """With arp_ignore=1 the address of another interface is not told; all else is answered."""
    arguments = ("--drops", "--output-json", "--filter-netns", net.netns("r"), "arp")
    for ignore, silent in ((0, {}), (1, {"e1: ARP requests ignored": 2})):
        net.run("r", f"sysctl -qw net.ipv4.conf.e1.arp_ignore={ignore}")
        with net.tracing(*arguments) as traces:
            net.python("a", ASK)
        (trace,) = traces
        assert trace.summary["silent"] == silent
        assert ("arp_filter" in trace.stderr) is bool(silent)
        assert trace.events == []
    net.run("r", "sysctl -qw net.ipv4.conf.e1.arp_ignore=0")


def test_what_a_driver_drops_is_not_seen_and_said_so(net: Net, program: str) -> None:
    arguments = ("--drops", "--output-json", "--filter-netns", net.netns("b"))
    said = "an XDP program runs in the driver of e3 (program "
    for mode, others, expected in (
        ("xdpdrv", (), True),
        ("xdpdrv", ("--filter-ifname", "e3"), True),
        ("xdpdrv", ("--filter-ifname", "lo"), False),
        ("xdpgeneric", (), False),
    ):
        net.run("b", f"ip link set dev e3 {mode} obj {program} sec xdp")
        with net.tracing(*arguments, *others) as traces:
            pass
        net.run("b", f"ip link set dev e3 {mode} off")
        assert (said in traces[0].stderr) is expected, (mode, others, traces[0].stderr)


SERVE = serving(4004, "taken.recv(5); taken.close(); time.sleep(0.5)")
TALK = """
import socket, time
s = socket.create_connection(("10.77.2.2", 4004))
s.send(b"hello")
time.sleep(0.1)
s.close()
time.sleep(0.3)
"""


@pytest.mark.parametrize("top", [(), ("--top",)])
def test_a_connection_that_ends_well_has_no_loss(net: Net, top: tuple[str, ...]) -> None:
    """The server closes first: its TIME-WAIT takes in the client's FIN. The client never reads the
    server's, which is freed, with the reason QUEUE_PURGE, as the socket goes.
    """
    stays = net.python("b", SERVE)
    with net.tracing("--drops", "--output-json", *top, "tcp port 4004") as traces:
        net.python("a", TALK)
        time.sleep(0.3)
    net.run("b", f"kill {stays.strip()}", check=False)
    summary = traces[0].summary
    assert summary["drop_places"] == {"NOT_SPECIFIED at tcp_v4_rcv": 1}
    assert summary["closings"] == 1
    assert len(traces[0].events) == (0 if top else 1)
