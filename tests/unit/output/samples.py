# SPDX-License-Identifier: Apache-2.0
"""Events made up for the tests of the sinks."""

from __future__ import annotations

from typing import Any

from pwru_py.facts.structures import Compound, Member, Number, Structure
from pwru_py.record.event import Context, Event, Frame, Icmp, Losses, Summary, Tuple

TCP4 = Tuple("10.0.0.2", "1.1.1.1", 45146, 80, 6, True)
TCP6 = Tuple("2001:db8::1", "2001:db8::2", 45146, 80, 6, True)
ICMP = Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False)
PING = ICMP._replace(icmp=Icmp(8, 77, 1))
PING6 = Tuple("2001:db8::1", "2001:db8::2", 0, 0, 58, False, Icmp(129, 77, 1))
UNREACHABLE = ICMP._replace(icmp=Icmp(3))
FRAGMENT = Tuple("10.0.0.2", "1.1.1.1", 0, 0, 17, False, fragment=True)
ARP = Tuple("10.0.0.1", "10.0.0.2", 0, 0, -1, False)

STACK = (
    Frame(0xFFFFFFFF81234567, "nf_hook_slow", 0xAB, ""),
    Frame(0xFFFFFFFFC0123456, "ipt_do_table", 0x1F, "ip_tables"),
    Frame(0xFFFFFFFF81AAAAAA, "", 0, ""),
)

SKB = Structure(
    Compound(
        "struct sk_buff",
        8,
        (
            Member("len", 0, Number("unsigned int", 32)),
            Member("cloned", 32, Number("__u8", 1), bit_field=True),
            Member("mark", 40, Number("__u8", 8)),
        ),
    ),
    b"\x3c\0\0\0\1\0\0\0",
)

_BASE = Event(
    skb=0xFF286DD140C7E8E8,
    cpu=1,
    pid=222,
    comm="curl",
    context=Context.TASK,
    func="ip_local_out",
    module="",
    addr=0xFFFFFFFF81000000,
    ts_ns=1_000_000_500,
    wall_ns=1_795_166_626_123_456_789,
    netns=4026531840,
    mark=0,
    ifindex=0,
    ifname="",
    proto=0,
    mtu=65536,
    len=60,
    tuple=TCP4,
    tcp_flags=0x12,
    reason=-1,
    reason_name="",
    stack=(),
)


def event(**changes: Any) -> Event:
    """One event as the issue's example has it, with changes."""
    return _BASE._replace(**changes)


def drop(**changes: Any) -> Event:
    """The same packet dropped by netfilter."""
    return event(
        func="sk_skb_reason_drop", proto=0x0800, reason=8, reason_name="NETFILTER_DROP", drop=True
    )._replace(**changes)


JOURNEY = [
    event(),
    event(func="ip_output", proto=0x0800, ifindex=2, ifname="eth0", mtu=1500),
    event(
        skb=0xFF286DD140C70100,
        func="arp_rcv",
        tuple=ARP,
        proto=0x0806,
        cpu=0,
        comm="swapper/0",
        pid=0,
        context=Context.SOFTIRQ,
        ifindex=2,
        ifname="eth0",
        mark=0x4000,
    ),
    drop(),
]

LOSSES = Losses(buffer_full=120, track_full=0, recursion=7)
SUMMARY = Summary(
    events=34,
    packets=3,
    drops={"NO_SOCKET": 3, "NETFILTER_DROP": 12, "CSUM": 3},
    losses=LOSSES,
    attached=1490,
    failed=12,
)
