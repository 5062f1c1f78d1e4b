# SPDX-License-Identifier: Apache-2.0
"""The tuple of packets that are no plain TCP or UDP, as they leave and as they arrive."""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab

A4, B4, A6, B6 = "10.1.0.1", "10.1.0.2", "fd00:1::1", "fd00:1::2"
FUNCTIONS = "ip_output|ip6_output|ip_rcv|ipv6_rcv"

# Nobody listens in b: each family's first datagram is answered by an ICMP error. 2000 bytes make
# two fragments. The options are one PadN of six bytes. Of an ESP packet the SPI comes first, which
# is no pair of ports.
SEND = f"""
import socket, struct
v4, v6 = socket.AF_INET, socket.AF_INET6
for family, here, there in ((v4, "{A4}", "{B4}"), (v6, "{A6}", "{B6}")):
    for port, data in ((7001, b"x"), (7002, bytes(2000))):
        with socket.socket(family, socket.SOCK_DGRAM) as udp:
            udp.bind((here, port))
            udp.sendto(data, (there, 9))
    for proto, packet in ((132, struct.pack("!HHQ", 7003, 12, 0)), (50, bytes(range(1, 17)))):
        with socket.socket(family, socket.SOCK_RAW, proto) as raw:
            raw.sendto(packet, (there, 0))
with socket.socket(v6, socket.SOCK_DGRAM) as udp:
    for option in (socket.IPV6_HOPOPTS, socket.IPV6_DSTOPTS):
        udp.setsockopt(socket.IPPROTO_IPV6, option, bytes([0, 0, 1, 4, 0, 0, 0, 0]))
    udp.bind(("{A6}", 7004))
    udp.sendto(b"x", ("{B6}", 9))
"""
PINGS = f"ping -c2 -i0.2 -W5 -e 77 {B4} && ping -6 -c2 -i0.2 -W5 -e 78 {B6}"


@pytest.fixture(scope="module")
def arrived(lab: Lab) -> list[dict[str, Any]]:
    """The tuples of all packets that either side received."""
    with lab.tracing("--filter-func", FUNCTIONS, f"host {A4} or net fd00:1::/64") as tracing:
        lab.run("ip -n a neigh flush all; ip -n b neigh flush all")
        done = lab.inside("a", f"{PINGS} && python -c '{SEND}' && ping -c1 -W5 {B4}")
        assert done.rc == 0, done.stdout + done.stderr
    assert tracing.trace is not None
    sent = [e["tuple"] for e in tracing.trace.events if e["func"].endswith("_output")]
    received = [e["tuple"] for e in tracing.trace.events if e["func"].endswith("_rcv")]
    for packet in received:
        assert packet in sent or packet.get("fragment"), "alike on both sides"
    return received


def tuple_of(
    saddr: str, daddr: str, proto: int, ports: tuple[int, int] = (0, 0), **more: Any
) -> Any:
    sport, dport = ports
    return {"saddr": saddr, "daddr": daddr, "sport": sport, "dport": dport, "proto": proto,
            "flags": "", **more}  # fmt: skip


def icmp(number: int, name: str, ident: int | None = None, seq: int | None = None) -> Any:
    return {"type": number, "name": name, "id": ident, "seq": seq}


@pytest.mark.parametrize("seq", [1, 2])
def test_pings_show_identifier_and_sequence_number(arrived: list[dict[str, Any]], seq: int) -> None:
    for expected in (
        tuple_of(A4, B4, 1, icmp=icmp(8, "echo request", 77, seq)),
        tuple_of(B4, A4, 1, icmp=icmp(0, "echo reply", 77, seq)),
        tuple_of(A6, B6, 58, icmp=icmp(128, "echo request", 78, seq)),
        tuple_of(B6, A6, 58, icmp=icmp(129, "echo reply", 78, seq)),
    ):
        assert arrived.count(expected) == 1, (expected, arrived)


@pytest.mark.parametrize(
    "expected",
    [
        tuple_of(B4, A4, 1, icmp=icmp(3, "unreachable")),
        tuple_of(B6, A6, 58, icmp=icmp(1, "unreachable")),
        tuple_of(A6, "ff02::1:ff00:2", 58, icmp=icmp(135, "neighbor solicitation")),
        tuple_of(B6, A6, 58, icmp=icmp(136, "neighbor advertisement")),
    ],
)
def test_other_messages_show_their_type(arrived: list[dict[str, Any]], expected: Any) -> None:
    assert expected in arrived


@pytest.mark.parametrize(("saddr", "daddr"), [(A4, B4), (A6, B6)])
def test_the_first_fragment_has_ports_and_the_later_one_says_what_it_is(
    arrived: list[dict[str, Any]], saddr: str, daddr: str
) -> None:
    assert arrived.count(tuple_of(saddr, daddr, 17, (7002, 9))) == 1
    later = [packet for packet in arrived if "fragment" in packet and packet["saddr"] == saddr]
    assert later == [tuple_of(saddr, daddr, 17, fragment=True)]


@pytest.mark.parametrize(("saddr", "daddr"), [(A4, B4), (A6, B6)])
def test_sctp_has_ports_and_esp_has_none(
    arrived: list[dict[str, Any]], saddr: str, daddr: str
) -> None:
    assert arrived.count(tuple_of(saddr, daddr, 132, (7003, 12))) == 1
    assert arrived.count(tuple_of(saddr, daddr, 50)) == 1


def test_extension_headers_are_walked(arrived: list[dict[str, Any]]) -> None:
    assert arrived.count(tuple_of(A6, B6, 17, (7004, 9))) == 1
