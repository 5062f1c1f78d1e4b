# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.options.config import Timestamp
from pwru_py.output import View
from pwru_py.output.fields import columns
from pwru_py.output.formats import (
    cell_width,
    format_frame,
    format_func,
    format_iface,
    format_process,
    format_tuple,
    pad,
)
from pwru_py.output.stamp import Stamp
from pwru_py.record.event import Context, Event, Frame, Icmp, Tuple

from .samples import (
    ARP,
    FRAGMENT,
    ICMP,
    PING,
    PING6,
    TCP4,
    TCP6,
    UNREACHABLE,
    drop,
    event,
)


def titles(view: View) -> str:
    return " ".join(column.title for column in columns(view, Stamp(view.timestamp)))


def test_the_order_of_columns() -> None:
    assert titles(View()) == "SKB CPU PROCESS NETNS MARK IFACE PROTO MTU LEN TUPLE FUNC"
    assert titles(View(meta=False)) == "SKB CPU PROCESS TUPLE FUNC"
    view = View(tuple=False, timestamp=Timestamp.CURRENT)
    assert titles(view) == "SKB CPU PROCESS TIME NETNS MARK IFACE PROTO MTU LEN FUNC"


def test_quiet_lines_have_fewer_columns() -> None:
    assert titles(View(quiet=True)) == "NETNS IFACE TUPLE FUNC"
    view = View(quiet=True, drops=True, timestamp=Timestamp.ABSOLUTE, packet_id=True, caller=True)
    assert titles(view) == "PACKET TIME NETNS IFACE TUPLE CALLER DROP"


def test_the_order_of_columns_asked_for() -> None:
    view = View(meta=False, caller=True, tunnel=True, cb=True, sk_buff=True, shared_info=True)
    assert titles(view) == "SKB CPU PROCESS TUPLE TUNNEL CALLER FUNC"
    assert titles(View(meta=False, conntrack=True)) == "SKB CPU PROCESS TUPLE CONNTRACK FUNC"


@pytest.mark.parametrize(
    "view",
    [
        View(),
        View(caller=True, tunnel=True, conntrack=True),
        View(tcp_flags=True, timestamp=Timestamp.ABSOLUTE),
    ],
)
def test_every_column_names_the_fields_it_reads(view: View) -> None:
    """Text is kept by these fields: one left out would show another event's text."""
    for column in columns(view, Stamp(view.timestamp)):
        assert set(column.reads) <= set(Event._fields)
        if column.reads:
            others = {name: None for name in Event._fields if name not in column.reads}
            assert column.format(event(**others)) == column.format(event())


@pytest.mark.parametrize(
    ("packet", "flags", "text"),
    [
        (TCP4, 0, "10.0.0.2:45146->1.1.1.1:80(tcp)"),
        (TCP4, 0x12, "10.0.0.2:45146->1.1.1.1:80(tcp:SYN,ACK)"),
        (TCP6, 0, "[2001:db8::1]:45146->[2001:db8::2]:80(tcp)"),
        (TCP6._replace(proto=58, has_ports=False), 0, "2001:db8::1->2001:db8::2(icmp6)"),
        (ICMP, 0, "10.0.0.2->1.1.1.1(icmp)"),
        (ICMP, 0x12, "10.0.0.2->1.1.1.1(icmp)"),
        (PING, 0, "10.0.0.2->1.1.1.1(icmp echo id 77 seq 1)"),
        (PING6, 0, "2001:db8::1->2001:db8::2(icmp6 reply id 77 seq 1)"),
        (PING._replace(icmp=Icmp(8, 0, 0)), 0, "10.0.0.2->1.1.1.1(icmp echo id 0 seq 0)"),
        (
            PING._replace(icmp=Icmp(14, 7, 9)),
            0,
            "10.0.0.2->1.1.1.1(icmp timestamp reply id 7 seq 9)",
        ),
        (UNREACHABLE, 0, "10.0.0.2->1.1.1.1(icmp unreachable)"),
        (ICMP._replace(icmp=Icmp(200)), 0, "10.0.0.2->1.1.1.1(icmp type 200)"),
        (FRAGMENT, 0x12, "10.0.0.2->1.1.1.1(udp fragment)"),
        (FRAGMENT._replace(proto=6), 0x12, "10.0.0.2->1.1.1.1(tcp fragment)"),
        (TCP4._replace(proto=132), 0, "10.0.0.2:45146->1.1.1.1:80(sctp)"),
        (ICMP._replace(proto=50), 0, "10.0.0.2->1.1.1.1(esp)"),
        (ICMP._replace(proto=47), 0, "10.0.0.2->1.1.1.1(gre)"),
        (ARP, 0, "10.0.0.1->10.0.0.2(arp)"),
        (ARP._replace(arp=1), 0, "10.0.0.1->10.0.0.2(arp request)"),
        (ARP._replace(arp=2), 0, "10.0.0.1->10.0.0.2(arp reply)"),
        (ARP._replace(arp=8), 0, "10.0.0.1->10.0.0.2(arp operation 8)"),
        (TCP4._replace(has_ports=False), 0x12, "10.0.0.2->1.1.1.1(tcp)"),
        (ICMP._replace(proto=132), 0, "10.0.0.2->1.1.1.1(sctp)"),
        (ICMP._replace(proto=254), 0, "10.0.0.2->1.1.1.1(proto 254)"),
        (ICMP._replace(proto=0), 0, "10.0.0.2->1.1.1.1(proto 0)"),
        (Tuple("0.0.0.0", "0.0.0.0", 0, 0, 17, True), 0, "0.0.0.0:0->0.0.0.0:0(udp)"),
        (Tuple("", "", 0, 0, -1, False, label="mpls 100"), 0x12, "mpls 100"),
        (None, 0x12, ""),
    ],
)
def test_tuple(packet: Tuple | None, flags: int, text: str) -> None:
    assert format_tuple(packet, flags) == text


def test_all_tcp_flags() -> None:
    assert format_tuple(TCP4, 0xFF).endswith("(tcp:FIN,SYN,RST,PSH,ACK,URG,ECE,CWR)")


@pytest.mark.parametrize(
    ("context", "text"),
    [
        (Context.TASK, "curl:222"),
        (Context.SOFTIRQ, "(curl:222)"),
        (Context.HARDIRQ, "(curl:222)"),
        (Context.UNKNOWN, "curl:222"),
    ],
)
def test_an_interrupted_process_stands_in_parentheses(context: Context, text: str) -> None:
    assert format_process(event(context=context)) == text


def test_iface() -> None:
    assert format_iface(event()) == "0"
    assert format_iface(event(ifindex=2, ifname="eth0")) == "eth0:2"
    assert format_iface(event(ifindex=7)) == "7"


def test_func_with_its_reason() -> None:
    assert format_func(event()) == "ip_local_out"
    assert format_func(drop()) == "sk_skb_reason_drop  NETFILTER_DROP"
    assert format_func(drop(reason_name="")) == "sk_skb_reason_drop  reason 8"


def test_frame() -> None:
    assert format_frame(Frame(1, "nf_hook_slow", 0xAB, "")) == "nf_hook_slow+0xab"
    assert format_frame(Frame(1, "f", 0, "ip_tables")) == "f+0x0 [ip_tables]"
    assert format_frame(Frame(0xFFFFFFFF81AAAAAA, "", 0, "")) == "0xffffffff81aaaaaa"


def test_width_of_wide_and_combining_characters() -> None:
    assert cell_width("abc") == 3
    assert cell_width("日本") == 4
    assert cell_width("e\u0301") == 1
    assert pad("日本", 6) == "日本  "
    assert pad("too long", 3) == "too long"
