# SPDX-License-Identifier: Apache-2.0
"""``--advice`` for what TCP refuses: each packet is made, by hand where no TCP would send it."""

from __future__ import annotations

import time

import pytest

from tests.native.net import Net, serving
from tests.native.test_advice import advice, advising, changed, facts, first, listening, running

# s is connected to b's port 4000. raw() sends a segment of its connection.
CONNECTED = """
import fcntl, socket, struct, time
REPAIR, QUEUE, SEQUENCE, STAMP = 19, 20, 21, 24
A, B = socket.inet_aton("10.77.1.2"), socket.inet_aton("10.77.2.2")
s = socket.create_connection(("10.77.2.2", 4000))

def asked(request):
    return struct.unpack("i", fcntl.ioctl(s, request, bytes(4)))[0]

def numbers():
    s.setsockopt(6, REPAIR, 1)
    found = []
    for queue in (2, 1):
        s.setsockopt(6, QUEUE, queue)
        found.append(s.getsockopt(6, SEQUENCE) & 0xFFFFFFFF)
    s.setsockopt(6, REPAIR, -1)
    return found

def raw(seq, ack, options=b"", body=b"x"):
    port = s.getsockname()[1]
    size = 20 + len(options)
    tcp = struct.pack("!HHIIBBHHH", port, 4000, seq & 0xFFFFFFFF, ack, size << 2, 0x18, 100, 0, 0)
    tcp += options + body
    text = A + B + struct.pack("!HH", 6, len(tcp)) + tcp
    text += bytes(len(text) % 2)
    total = sum(struct.unpack(f"!{len(text) // 2}H", text))
    total = (total & 0xFFFF) + (total >> 16)
    total = (total & 0xFFFF) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(tcp), 1, 0, 64, 6, 0, A, B)
    socket.socket(socket.AF_INET, socket.SOCK_RAW, 255).sendto(head + tcp, ("10.77.2.2", 0))
"""
OLD_STAMP = """
stamp = s.getsockopt(6, STAMP) - 1000000 & 0xFFFFFFFF
raw(*numbers(), struct.pack("!BBBBII", 1, 1, 8, 10, stamp, 0))
"""
WINDOW = """
s.setblocking(False)
try:
    while True:
        s.send(bytes(65536))
except BlockingIOError:
    pass
while not s.getsockopt(6, 11, 8)[3]:  # TCP_INFO: how many probes of the closed window
    pass
seq, ack = numbers()
raw(seq - asked(0x5411), ack)  # SIOCOUTQ
"""
HOLDS = "time.sleep(30)"


def test_a_timestamp_that_is_older_than_the_connection_s(net: Net) -> None:
    """The packet has no device any more: its namespace is that of the socket it was to reach."""
    stays = net.python("b", serving(4000, HOLDS)).strip()
    counting = ("--drops", "--top", "--output-json", "--interval", "0.2", "tcp dst port 4000")
    with (
        advising(net, "b", "tcp dst port 4000") as traces,
        advising(net, "a", "tcp dst port 4000") as others,
        net.tracing(*counting) as counts,
    ):
        net.python("a", CONNECTED + OLD_STAMP)
        time.sleep(0.6)  # the next report
    net.run("b", f"kill {stays}")
    assert "PAWS" not in others[0].stdout
    told = [kind for report in counts[0].records[:-1] for kind in report["kinds"]]
    assert {k["netns"] for k in told if k["reason"] == "TCP_RFC7323_PAWS"} == {net.inode("b")}
    said = advice(traces[0], "TCP_RFC7323_PAWS")
    assert first(said) == ("proven", "the packet's timestamp is older than the connection's")
    assert facts(said)["PAWSEstab"]["rise"] == said["packets"] == 1


def test_a_window_that_is_closed(net: Net) -> None:
    stays = net.python("b", serving(4000, HOLDS)).strip()
    with advising(net, "b", "tcp dst port 4000") as traces:
        net.python("a", CONNECTED + WINDOW)
    net.run("b", f"kill {stays}")
    kernel = {"TCP_ZEROWINDOW", "TCP_INVALID_END_SEQUENCE"}  # the latter on 6.18
    (reason,) = kernel & traces[0].summary["drops"].keys()
    said = advice(traces[0], reason)
    assert first(said)[0] == "proven"
    assert "the process here reads too slowly" in first(said)[1]
    probe = advice(traces[0], "TCP_OLD_SEQUENCE")
    assert first(probe)[0] == "likely"
    assert "a probe (keep-alive, or of a closed window)" in first(probe)[1]


FILLS = """
import socket, time
s = socket.create_connection(("10.77.2.2", 4000))
s.setsockopt(6, 1, 1)  # TCP_NODELAY
time.sleep(0.3)
for n in range(30):
    s.send(bytes(1400))
time.sleep(0.3)
"""
SHRINKS = f"taken.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2304); {HOLDS}"


def test_a_buffer_of_one_connection_is_not_the_memory_of_all(net: Net) -> None:
    """Both have the reason PROTO_MEM. The window was open when the buffer became small."""
    stays = net.python("b", serving(4000, SHRINKS)).strip()
    with advising(net, "b", "tcp dst port 4000") as traces:
        net.python("a", FILLS)
    net.run("b", f"kill {stays}")
    said = advice(traces[0], "PROTO_MEM")
    what = "the connection's receive buffer is full: its process reads too slowly"
    assert first(said) == ("proven", what)
    assert facts(said)["RcvPruned"]["rise"] >= said["packets"] >= 1
    other = said["findings"][1]
    assert other["verdict"] == "not this"
    assert other["what"] == "the memory of all TCP sockets has room"
    (pages,) = other["proof"]
    assert pages["value"] < pages["limit"]


def test_a_listener_that_has_no_route_back(net: Net) -> None:
    """Its SYN is no drop to the kernel; a full queue counts so, too, and is not told of a route."""
    route = "ip route {} default via 10.77.2.1"
    stays = net.python("b", serving(4000, HOLDS)).strip()
    connect = "import socket; s = socket.socket(); s.settimeout(0.5); "
    connect += "s.connect_ex(('10.77.2.2', 4000))"
    with changed(net, "b", route.format("del"), route.format("add")):
        with advising(net, "b", "tcp dst port 4000") as traces:
            net.python("a", connect)
    net.run("b", f"kill {stays}")
    said = advice(traces[0], "ListenDrops")
    assert first(said)[0] == "likely"
    assert first(said)[1].endswith("its sender is behind no route, as none is default")
    assert facts(said)["ListenDrops"]["rise"] >= 1
    assert facts(said)["default route"]["value"] == "none"


KEY = """
import socket, struct
s = socket.socket()
key = struct.pack("=HHI120xBBHI80s", 2, 0, {peer}, 0, 0, 3, 0, b"key")
s.setsockopt(6, 14, key)  # TCP_MD5SIG
"""


@pytest.mark.parametrize("who", ["listener", "sender"])
def test_one_side_alone_has_a_key(net: Net, who: str) -> None:
    peer = {n: f"int.from_bytes(socket.inet_aton('10.77.{n}.2'), 'little')" for n in (1, 2)}
    signs = KEY.format(peer=peer[1])
    listener = listening("0.0.0.0", "tcp")
    connect = "import socket; s = socket.socket()"
    if who == "listener":
        listener = listener.replace("s.bind", signs.replace("s = socket.socket()", "") + "s.bind")
    else:
        connect = KEY.format(peer=peer[2])
    connect += "\ns.settimeout(0.5)\ns.connect_ex(('10.77.2.2', 4000))"
    with running(net, "b", listener), advising(net, "b", "tcp dst port 4000") as traces:
        net.python("a", connect)
    what, other = (
        ("TCP_MD5NOTFOUND", "TCP_MD5UNEXPECTED")
        if who == "listener"
        else ("TCP_MD5UNEXPECTED", "TCP_MD5NOTFOUND")
    )
    said = advice(traces[0], what)
    assert first(said)[0] == "proven"
    assert facts(said)["TCPMD5NotFound" if who == "listener" else "TCPMD5Unexpected"]["rise"] >= 1
    assert other not in traces[0].stdout


SYNS = """
import socket, struct
a, b = socket.inet_aton("10.77.1.50"), socket.inet_aton("10.77.2.2")
s = socket.socket(socket.AF_INET, socket.SOCK_RAW, 255)
for port in range(5000, 5004):
    tcp = struct.pack("!HHIIBBHHH", port, 4000, 1, 0, 0x50, 2, 100, 0, 0)
    total = sum(struct.unpack("!16H", a + b + struct.pack("!HH", 6, 20) + tcp))
    total = (total & 0xFFFF) + (total >> 16)
    tcp = tcp[:16] + struct.pack("!H", ~total & 0xFFFF) + tcp[18:]
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 40, 1, 0, 64, 6, 0, a, b)
    s.sendto(head + tcp, ("10.77.2.2", 0))
"""


def test_a_queue_of_half_open_connections_that_is_full(net: Net) -> None:
    """With cookies the same SYNs are answered."""
    name = "net.ipv4.tcp_syncookies"
    off = changed(net, "b", f"sysctl -qw {name}=0", f"sysctl -qw {name}=1")
    with running(net, "b", listening("0.0.0.0", "tcp")):
        with off, advising(net, "b", "tcp dst port 4000") as traces:
            net.python("a", SYNS)
        said = advice(traces[0], "TCPReqQFullDrop")
        assert first(said)[0] == "proven"
        assert facts(said)[name]["value"] == 0
        assert facts(said)["TCPReqQFullDrop"]["rise"] == said["packets"] >= 1
        assert "no route" not in traces[0].stdout
        with advising(net, "b", "tcp dst port 4000") as traces:
            net.python("a", SYNS.replace("5000, 5004", "5010, 5014"))
    assert [r for r in traces[0].records if r["type"] == "advice"] == []
