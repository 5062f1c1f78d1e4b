# SPDX-License-Identifier: Apache-2.0
"""``--advice`` below and beside IP: bridges, tunnels, IPsec, frames, fragments, IPv6."""

from __future__ import annotations

import pytest

from tests.native.net import B, Net
from tests.native.test_advice import (
    PING,
    RAW,
    advice,
    advising,
    changed,
    facts,
    first,
)

FRAME = """
import socket, struct
s = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
s.bind(("e0", 0))
def frame(target, kind, body=b""):
    s.send(bytes.fromhex(target) + bytes.fromhex("020000000102") + struct.pack("!H", kind) + body)
udp = struct.pack("!HHHH", 9, 4000, 8, 0)
ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 28, 1, 0, 64, 17, 0x63b8, socket.inet_aton("10.77.1.2"),
                 socket.inet_aton("10.77.2.2")) + udp
"""


def test_a_frame_for_another_host(net: Net) -> None:
    with advising(net, "r", "udp") as traces:
        net.python("a", FRAME + "frame('0200000000ff', 0x800, ip)")
    said = advice(traces[0], "OTHERHOST")
    verdict, what = first(said)
    assert verdict == "likely", "a VLAN without a device looks the same"
    assert "another target MAC, or a VLAN that has no device here" in what
    assert facts(said)["e1 MAC"]["value"] == "02:00:00:00:01:01"


def test_a_protocol_that_nobody_handles(net: Net) -> None:
    with advising(net, "r") as traces:
        net.python("a", FRAME + "frame('020000000101', 0x88f7, bytes(46))")
    said = advice(traces[0], "UNHANDLED_PROTO")
    assert first(said) == ("proven", "nothing on this host handles PTP from e1")


def test_a_bridge_port_that_does_not_forward(net: Net) -> None:
    make = "ip link add br9 type bridge; ip link set br9 up; ip link set e1 master br9; "
    make += "bridge link set dev e1 state {}"
    undo = "ip link set e1 nomaster; ip link del br9"
    with changed(net, "r", make.format(0), undo), advising(net, "r", "icmp") as traces:
        net.run("a", PING, check=False)
    said = advice(traces[0], "br_handle_frame")
    told = said["reason"] == "BRIDGE_INGRESS_STP_STATE"
    verdict = "proven" if told else "likely"
    assert first(said) == (verdict, "the port e1 of br9 is disabled, not forwarding")
    assert facts(said)["STP state of e1 in br9"]["value"] == "disabled"


def test_a_vni_that_no_device_has(net: Net) -> None:
    make = "ip link add vx9 type vxlan id 77 dstport 4789 remote 10.77.1.2 local 10.77.1.1; "
    make += "ip link set vx9 up"
    vxlan = "struct.pack('!II', 0x08000000, 78 << 8) + bytes(46)"
    send = "import socket, struct; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); "
    send += f"s.sendto({vxlan}, ('10.77.1.1', 4789))"
    with changed(net, "r", make, "ip link del vx9"), advising(net, "r", "udp port 4789") as traces:
        net.python("a", send)
    said = advice(traces[0], "VXLAN_VNI_NOT_FOUND")
    assert first(said) == ("proven", "no VXLAN device here has the packet's VNI")
    assert facts(said)["VNIs here"]["value"] == "vx9: 77"


def test_a_packet_in_clear_that_a_policy_wants_encrypted(net: Net) -> None:
    policy = "ip xfrm policy {} src 10.77.1.2 dst 10.77.2.2 dir in"
    wants = " tmpl src 10.77.1.2 dst 10.77.2.2 proto esp mode transport"
    with changed(net, "b", policy.format("add") + wants, policy.format("del")):
        with advising(net, "b", f"icmp and dst {B}") as traces:
            net.run("a", PING, check=False)
    said = advice(traces[0], "XFRM_POLICY")
    assert first(said)[0] == "proven"
    assert "the packet came as its policy does not want it" in first(said)[1]
    assert facts(said)["XfrmInTmplMismatch"]["rise"] == 2


def test_a_policy_that_blocks(net: Net) -> None:
    policy = "ip xfrm policy {} src 10.77.1.2 dst 10.77.2.2 dir in"
    with changed(net, "b", policy.format("add") + " action block", policy.format("del")):
        with advising(net, "b", f"icmp and dst {B}") as traces:
            net.run("a", PING, check=False)
    said = advice(traces[0], "XFRM_POLICY")
    assert first(said) == ("proven", "IPsec: a policy blocks it")


def test_fragments_that_never_come(net: Net) -> None:
    first_one = (
        RAW
        + """
udp = struct.pack("!HHHH", 9, 4000, 2000, 0) + bytes(72)
head = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 7, 0x2000, 64, 17, 0,
                   socket.inet_aton("10.77.1.2"), socket.inet_aton("10.77.2.2"))
s.sendto(head + udp, ("10.77.2.2", 0))
time.sleep(2.5)
"""
    )
    name = "net.ipv4.ipfrag_time"
    with changed(net, "b", f"sysctl -qw {name}=1", f"sysctl -qw {name}=30"):
        with advising(net, "b", "udp") as traces:
            net.python("a", first_one)
    said = advice(traces[0], "FRAG_REASM_TIMEOUT")
    assert first(said)[0] == "proven"
    assert "the rest of the packet's fragments never came" in first(said)[1]
    assert facts(said)["ReasmTimeout"]["rise"] == 1


@pytest.mark.parametrize(
    ("proto", "words", "change"),
    [
        (47, "nothing in this kernel handles GRE", "ip tunnel show"),
        (89, "no program here has a raw socket for OSPF", "start the daemon"),
        (253, "nothing here handles IP protocol 253", "elsewhere"),
    ],
)
def test_a_protocol_above_ip_that_nobody_handles(
    net: Net, proto: int, words: str, change: str
) -> None:
    send = RAW.replace("ttl, 17,", f"ttl, {proto},") + "send('10.77.1.2', '10.77.2.2')"
    with advising(net, "b", f"ip proto {proto}") as traces:
        net.python("a", send)
    said = advice(traces[0], "IP_NOPROTO")
    assert first(said)[0] == "proven"
    assert words in first(said)[1]
    assert change in said["findings"][0]["change"]
    assert facts(said)["InUnknownProtos"]["rise"] == 1


def test_multicast_that_nobody_has_joined_and_a_forged_source(net: Net) -> None:
    """Both end in one place where the kernel gives no reason; only the former is multicast."""
    send = "import socket; s = socket.socket(2, 2); "
    send += "s.setsockopt(0, 32, socket.inet_aton('10.77.2.1')); "
    send += "s.sendto(b'x', ('239.1.1.1', 4000))"
    with advising(net, "b", "udp dst port 4000") as traces:
        net.python("r", send)
        net.python("a", RAW + "send('10.77.2.2', '10.77.2.2')")
    multicast, forged = sorted(
        (r for r in traces[0].records if r["type"] == "advice"),
        key=lambda record: "own address" in first(record)[1],
    )
    what = "nobody here has joined 239.1.1.1 on e3: multicast that others want"
    assert first(multicast) == ("likely", what)
    assert facts(multicast)["groups of e3"]["value"] == "224.0.0.1"
    assert "multicast" not in str(forged)


@pytest.fixture
def six(net: Net) -> Net:
    net.run(
        "a",
        "ip -6 addr replace fd77:1::2/64 dev e0 nodad; ip -6 route replace default via fd77:1::1",
    )
    net.run(
        "r",
        "ip -6 addr replace fd77:1::1/64 dev e1 nodad; "
        "ip -6 addr replace fd77:2::1/64 dev e2 nodad",
    )
    net.run(
        "b",
        "ip -6 addr replace fd77:2::2/64 dev e3 nodad; ip -6 route replace default via fd77:2::1",
    )
    return net


def test_ipv6_forwarding_off_and_no_route(six: Net) -> None:
    name = "net.ipv6.conf.all.forwarding"
    ping = "ping -6 -c2 -i0.2 -W1 {}"
    six.run("r", f"sysctl -qw {name}=0")
    with advising(six, "r", "icmp6") as traces:
        six.run("a", ping.format("fd77:2::2"), check=False)
    said = advice(traces[0], "ip6_forward")
    assert first(said)[0] == "proven"
    assert "forwards nothing" in first(said)[1]
    with changed(six, "r", f"sysctl -qw {name}=1", f"sysctl -qw {name}=0"):
        with advising(six, "r", "icmp6") as traces:
            six.run("a", ping.format("fd77:9::9"), check=False)
    said = advice(traces[0], "IP_INNOROUTES")
    assert first(said) == ("proven", "no route leads to fd77:9::9")


def test_ipv6_nobody_listens(six: Net) -> None:
    send = "import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM); "
    with advising(six, "r", "udp dst port 4000") as traces:
        six.python("a", send + "s.sendto(b'x', ('fd77:1::1', 4000))")
    said = advice(traces[0], "NO_SOCKET")
    assert first(said) == ("proven", "nobody has UDP port 4000 open in this namespace")


def test_ipv6_that_is_off(six: Net) -> None:
    """The neighbour is known still: else it would not be asked."""
    know = "ip -6 neigh {} fd77:1::1 lladdr 02:00:00:00:01:01 dev e0"
    name = "net.ipv6.conf.e1.disable_ipv6"
    off = changed(six, "r", f"sysctl -qw {name}=1", f"sysctl -qw {name}=0")
    with off, changed(six, "a", know.format("replace"), know.format("del")):
        with advising(six, "r", "icmp6") as traces:
            six.run("a", "ping -6 -c2 -i0.2 -W1 fd77:1::1", check=False)
    said = advice(traces[0], "IPV6DISABLED")
    assert first(said) == ("proven", "IPv6 is off on e1")
    assert facts(said)[name]["value"] == 1
    assert "filter IPv6, too" in said["findings"][0]["change"]


def test_a_driver_s_program_has_its_name(net: Net, program: str) -> None:
    """Native XDP on a veth drops what a socket has sent: there it is a packet already."""
    load = f"ip link set dev e3 xdpdrv obj {program} sec xdp"
    with changed(net, "b", load, "ip link set dev e3 xdpdrv off"):
        with advising(net, "b", "icmp") as traces:
            net.run("a", PING, check=False)
    said = advice(traces[0], "veth_xdp_rcv_skb")
    assert first(said)[0] == "proven"
    assert "program xdp_drop (id " in first(said)[1]


def test_frames_that_no_filter_sees_and_the_driver_counts(net: Net, program: str) -> None:
    """The namespace's counter rises, whatever the filter; without the program none is blamed."""
    load = f"ip link set dev e3 xdpdrv obj {program} sec xdp"
    off = "ip link set dev e3 xdpdrv off"
    with changed(net, "b", load, off), advising(net, "b", "tcp port 9") as traces:
        net.run("a", PING, check=False)
    said = advice(traces[0], "rx_xdp_drops")
    assert traces[0].summary["silent"] == {"e3: rx_xdp_drops": said["packets"]}
    assert first(said)[0] == "proven"
    assert "by program xdp_drop (id " in first(said)[1]
    assert facts(said)["e3 rx_xdp_drops"]["rise"] == said["packets"] >= 2
    with changed(net, "b", load, off), advising(net, "b", "tcp port 9") as traces:
        net.run("a", PING, check=False)
        net.run("b", off)
    said = advice(traces[0], "rx_xdp_drops")
    assert first(said)[0] == "likely"
    assert "xdp_drop" not in first(said)[1]


@pytest.mark.parametrize(
    ("source", "target", "words"),
    [
        ("127.0.0.1", B, "127.0.0.0/8 is not taken from e1"),
        ("10.77.1.2", "127.0.0.1", "127.0.0.0/8 is not taken from e1"),
        ("224.0.0.1", B, "no packet may have 224.0.0.1 as its source"),
        ("10.77.1.2", "0.0.0.0", "no packet may have 0.0.0.0 as its target"),
    ],
)
def test_addresses_that_no_packet_may_have(net: Net, source: str, target: str, words: str) -> None:
    ip = FRAME.replace('"10.77.1.2"', f'"{source}"').replace('"10.77.2.2"', f'"{target}"')
    sums = "ip = ip[:10] + bytes(2) + ip[12:]; t = sum(struct.unpack('!10H', ip[:20])); "
    sums += "t = (t & 0xFFFF) + (t >> 16); "
    sums += "ip = ip[:10] + struct.pack('!H', ~((t & 0xFFFF) + (t >> 16)) & 0xFFFF) + ip[12:]\n"
    with advising(net, "r", "udp dst port 4000") as traces:
        net.python("a", f"{ip}{sums}frame('020000000101', 0x800, ip)")
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    assert first(said) == ("proven", words)
