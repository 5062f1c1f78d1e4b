# SPDX-License-Identifier: Apache-2.0
"""Link headers that are none, tags and labels, headers not yet written."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

pytestmark = pytest.mark.representative("5.10", "6.12")

# c and d: a pair with IPsec without encryption, MPLS, PPPoE, tags that no device has taken off.
NETWORK = """
ip netns add c; ip netns add d
ip link add eth0 netns c address 02:00:00:00:00:0c type veth \
    peer name eth0 netns d address 02:00:00:00:00:0d
for n in c d; do
    ip netns exec $n sysctl -qw net.ipv6.conf.all.disable_ipv6=0
    ip -n $n link set lo up; ip -n $n link set eth0 up
done
ip -n c addr add 10.9.0.1/24 dev eth0; ip -n d addr add 10.9.0.2/24 dev eth0
ip -n c addr add fd00:9::1/64 dev eth0 nodad; ip -n d addr add fd00:9::2/64 dev eth0 nodad
ip netns exec c ping -c1 -W5 10.9.0.2 && ip netns exec c ping -6 -c1 -W5 fd00:9::2
"""
IPSEC = """
AUTH="auth-trunc hmac(sha256) 0x$(printf '11%.0s' $(seq 32)) 128"
for n in c d; do
    ip -n $n xfrm state add src 10.9.0.1 dst 10.9.0.2 proto esp spi 0x101 reqid 1 mode transport \
        enc 'ecb(cipher_null)' '' $AUTH || exit 1
    ip -n $n xfrm state add src 10.9.0.2 dst 10.9.0.1 proto esp spi 0x102 reqid 2 mode transport \
        enc 'ecb(cipher_null)' '' $AUTH || exit 1
done
ip -n c xfrm policy add src 10.9.0.1 dst 10.9.0.2 dir out tmpl src 10.9.0.1 dst 10.9.0.2 \
    proto esp reqid 1 mode transport
ip -n d xfrm policy add src 10.9.0.2 dst 10.9.0.1 dir out tmpl src 10.9.0.2 dst 10.9.0.1 \
    proto esp reqid 2 mode transport
"""

# Frames from c to d, each to be told by its length.
RAW = """
import socket, struct
def be(value, size=2):
    return value.to_bytes(size, "big")
def checksum(data):
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF
def packet(dport, size):
    udp = struct.pack("!HHHH", 7, dport, 8 + size, 0) + bytes(size)
    head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0,
                       socket.inet_aton("10.9.0.1"), socket.inet_aton("10.9.0.2"))
    return head[:10] + be(checksum(head)) + head[12:] + udp
ip = packet(4321, 40)
link = bytes.fromhex("02000000000d02000000000c")
frames = [
    link + be(0x8864) + b"\\x11\\0" + be(7) + be(2 + len(ip)) + be(0x21) + ip,
    link + be(0x8864) + b"\\x11\\0" + be(9) + be(20) + be(0xC021) + bytes(50),
    link + be(0x8847) + be(100 << 12 | 0x140, 4) + ip,
    link + be(0x8847) + be(200 << 12 | 0x40, 4) + be(16 << 12 | 0x140, 4) + bytes(60),
    link + be(0x8100) + be(5) + be(0x0800) + ip,
    link + be(0x88A8) + be(6) + be(0x8100) + be(5) + be(0x0800) + ip,
]
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
    s.bind(("eth0", 0))
    for frame in frames:
        s.send(frame)
"""


@pytest.fixture(scope="module")
def pair(lab: Lab) -> Lab:
    done = lab.run(NETWORK)
    assert done.rc == 0, done.stdout + done.stderr
    return lab


def tuples(trace: Trace, function: str) -> list[dict[str, Any] | None]:
    return [event["tuple"] for event in trace.events if event["func"] == function]


def test_tags_sessions_and_labels(pair: Lab) -> None:
    """What a frame carries is shown: addresses within, or the session, or the label."""
    pair.guest.write_file("/tmp/frames.py", RAW.encode())
    expression = "ether src 02:00:00:00:00:0c and not icmp and not ip6 and not arp"  # MLD too
    functions = "__netif_receive_skb_core.*|(__)?netif_rx|enqueue_to_backlog|netif_rx_internal"
    with pair.tracing("--filter-func", functions, expression) as tracing:
        assert pair.inside("c", "python3 /tmp/frames.py").rc == 0
    assert tracing.trace is not None
    seen: dict[str, list[tuple[Any, ...]]] = {}
    for event in tracing.trace.events:
        if event["netns"] == pair.inode("d"):
            found = event["tuple"] or {}
            shown = (found.get("label"), found.get("saddr"), found.get("dport"))
            seen.setdefault(event["func"], []).append(shown)
    within = (None, "10.9.0.1", 4321)
    expected: list[tuple[Any, ...]] = [
        within, ("pppoe session 9", "", 0), within, ("mpls 200", "", 0), within, within,
    ]  # fmt: skip
    assert seen, tracing.trace.stdout
    for function, at in seen.items():
        assert at[:6] == expected, function


def test_arp_in_the_making_has_no_addresses(pair: Lab) -> None:
    """arp_create() has made the link header, and not yet the rest."""
    junk = "import socket; s = socket.socket(2, 2); "
    junk += "[s.sendto(b'j' * n, ('10.9.0.2', 9)) for n in range(50)]"
    with pair.tracing(*pair.few, "arp") as tracing:
        pair.inside("c", f'python3 -c "{junk}"; ip neigh flush dev eth0; ping -c1 -W5 10.9.0.2')
        pair.inside("d", "ip neigh flush dev eth0; ping -c1 -W5 10.9.0.1")
    assert tracing.trace is not None
    inside = (pair.inode("c"), pair.inode("d"))
    events = [event for event in tracing.trace.events if event["netns"] in inside]
    assert len(events) > 4
    for event in events:
        found = event["tuple"]
        assert found is None or {found["saddr"], found["daddr"]} <= {"10.9.0.1", "10.9.0.2"}, event


def test_a_header_that_is_not_written_is_no_earlier_packets(pair: Lab) -> None:
    """IPv6 datagrams to two ports, of one size: a filter for one never shows the other."""
    send = "import socket\ns = socket.socket(10, 2)\n"
    send += "for n in range(20):\n for p in (6001, 6002): s.sendto(b'x' * 100, ('fd00:9::2', p))"
    pair.guest.write_file("/tmp/two.py", send.encode())
    functions = "nf_ct_attach|icmpv6_getfrag|(__)?ip6_(output|local_out)|ip6_finish_output2"
    functions += "|udpv6_rcv|skb_set_owner_w"
    with pair.tracing("--filter-func", functions, "udp dst port 6001 or icmp6") as tracing:
        pair.inside("c", "python3 /tmp/two.py; ping -6 -c2 -i0.2 -W5 fd00:9::2")
    assert tracing.trace is not None
    shown = [event["tuple"] for event in tracing.trace.events if event["tuple"]]
    assert {packet["dport"] for packet in shown if packet["proto"] == 17} == {6001}
    making = [e for e in tracing.trace.events if e["func"] in ("icmpv6_getfrag", "nf_ct_attach")]
    for event in making:  # of the packet in the making nothing is known yet
        assert event["tuple"] is None or event["tuple"]["proto"] == 58, event


def test_behind_esp_the_frame_begins_anew(pair: Lab) -> None:
    """The IP header has moved: 22 bytes behind a link header, and no two tags."""
    if pair.run(IPSEC).rc:
        raise AssertionError("this kernel has no ESP")
    echo = "icmp[icmptype] == icmp-echo"
    functions = "ip_rcv|xfrm_input|xfrm4_rcv|esp_input_done2|xfrm4_transport_finish"
    functions += "|ip_local_deliver_finish|ip_protocol_deliver_rcu|icmp_rcv"
    followed = pair.listen("--output-json", "--filter-netns", "d", "--filter-func", functions,
                           "--filter-track-skb", "esp and src host 10.9.0.1")  # fmt: skip
    matched = pair.listen("--output-json", "--filter-netns", "d", "--filter-func", functions, echo)
    assert pair.inside("c", "ping -c1 -W5 10.9.0.2").rc == 0
    traces = followed.finish(), matched.finish()
    pair.run("for n in c d; do ip -n $n xfrm policy flush; ip -n $n xfrm state flush; done")
    shown = [e["tuple"] for e in traces[0].events]
    assert {(t["saddr"], t["daddr"]) for t in shown if t} == {("10.9.0.1", "10.9.0.2")}
    assert {t["proto"] for t in shown if t} == {1, 50}
    assert tuples(traces[0], "icmp_rcv")[0]["proto"] == 1  # type: ignore[index]
    assert "icmp_rcv" in traces[1].functions, traces[1].functions


# One UDP packet by PACKET_TX_RING: the kernel copies the link header, the rest stays in the ring.
TX_RING = (
    RAW[: RAW.index("ip = packet")]
    + """
import mmap
frame = bytes.fromhex("02000000000d02000000000c") + be(0x0800) + packet(4322, 40)
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, 0) as s:
    s.setsockopt(263, 13, struct.pack("IIII", 4096, 1, 2048, 2))  # SOL_PACKET, PACKET_TX_RING
    ring = mmap.mmap(s.fileno(), 4096)
    s.bind(("eth0", 0))
    ring[32 : 32 + len(frame)] = frame
    ring[:16] = struct.pack("LII", 1, len(frame), 0)  # TP_STATUS_SEND_REQUEST
    s.send(b"")
    ring.close()
"""
)


def test_of_a_frame_in_a_ring_the_link_header_alone_is_linear(pair: Lab) -> None:
    pair.guest.write_file("/tmp/txring.py", TX_RING.encode())
    functions = "dev_hard_start_xmit|ip_rcv|udp_rcv"
    arguments = ("--filter-func", functions, "--filter-netns")
    with pair.tracing(*arguments, "c", "udp dst port 4322") as sent:
        assert pair.inside("c", "python3 -I -S /tmp/txring.py").rc == 0
    with pair.tracing(*arguments, "d", "udp dst port 4322") as received:
        assert pair.inside("c", "python3 -I -S /tmp/txring.py").rc == 0
    assert sent.trace is not None
    assert received.trace is not None
    assert sent.trace.functions == ["dev_hard_start_xmit"]
    assert received.trace.functions == ["ip_rcv", "udp_rcv"]
