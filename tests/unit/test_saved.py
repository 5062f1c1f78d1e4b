# SPDX-License-Identifier: Apache-2.0
"""JSON back to events: what was written is read, and nothing else."""

from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwru_filters import Judge

from pwru_py.facts.conntrack import CtState
from pwru_py.output import View, json_sink, text_sink
from pwru_py.output.summary import json_losses, json_summary
from pwru_py.record.event import (
    BpfProgram,
    Conntrack,
    DroppedBy,
    Event,
    Frame,
    Icmp,
    MapAccess,
    Owner,
    Returned,
    SkbValue,
    Step,
    Tuple,
    Verdict,
)
from pwru_py.record.known_frame import known_frame
from pwru_py.record.saved import event_of, losses_of, summary_of
from pwru_py.record.saved_values import SavedError

from .output.samples import (
    ARP,
    FRAGMENT,
    LOSSES,
    PING,
    PING6,
    SKB,
    STACK,
    SUMMARY,
    TCP4,
    TCP6,
    UNREACHABLE,
    drop,
    event,
)
from .output.test_jsonl import EVENTS

EVERYTHING = View(
    stack=True,
    caller=True,
    tunnel=True,
    cb=True,
    sk_buff=True,
    shared_info=True,
    netns_names=True,
    rules=True,
    skb_metadata=("skb->mark", "skb->dev->name"),
    xdp_metadata=("xdp->frame_sz",),
    programs=True,
    conntrack=True,
    owner=True,
    returns=True,
    inside=True,
    maps=True,
    nf_path=True,
)


VALUES = (SkbValue("skb->mark", 1), SkbValue("skb->dev->name", "eth0"))


def line(one: Event, view: View) -> dict[str, Any]:
    stream = io.StringIO()
    json_sink(stream, view, tz=UTC).events([one])
    read: dict[str, Any] = json.loads(stream.getvalue())
    return read


def test_every_field_comes_back() -> None:
    said = Verdict("inet", "flt", "in", "INPUT", "DROP", 3, 0, "ACCEPT")
    one = drop(
        stack=STACK,
        location=STACK[1]._replace(addr=0),
        caller=STACK[0]._replace(addr=0),
        tunnel=TCP6,
        tunnel_flags=0x12,
        cb=(1, 2),
        netns_name="web",
        packet=9,
        parent=7,
        dropped_by=DroppedBy(said, 8, "in", "udp dport 9 drop", by_policy=False),
        skb_metadata=(SkbValue("skb->mark", 16), SkbValue("skb->dev->name", None)),
        xdp_metadata=(SkbValue("xdp->frame_sz", 2048),),
        conntrack=Conntrack(
            CtState.ESTABLISHED, True, ("assured", "snat"), 7, 0, "SYN_SENT", TCP4, TCP6, ""
        ),
        owner=Owner(7, "curl"),
        nf_path=(
            Step(Verdict("ip", "t", "", "INPUT", "JUMP", rule=7, step="rule"), "in", "jump web"),
            Step(
                Verdict("", "t", "", "INPUT", "DROP", rule=7, step="rule", tool="ip6tables"), "in"
            ),
            Step(Verdict("ip", "t", "in", "INPUT", "DROP", step="policy")),
        ),
        depth=3,
        inside=True,
        bpf_map=MapAccess(12, "services", 4, 600, b"\1\2\3\4", None),
    )
    assert event_of(line(one, EVERYTHING)) == one
    invalid = one._replace(conntrack=Conntrack(CtState.INVALID, why="bad checksum"))
    assert event_of(line(invalid, EVERYTHING)) == invalid


@pytest.mark.parametrize(
    "returned",
    [
        Returned(-1, "-EPERM", 1200),
        Returned(0, "NULL", 1),
        Returned(7, "7", 1),
        Returned(None, "", 1),
        Returned(1 << 63, "0x8000000000000000", 1),
        Returned(-2, "ERR_PTR(-ENOENT)", 1),
    ],
)
def test_what_a_function_returned_comes_back(returned: Returned) -> None:
    one = event(returned=returned, bpf_map=MapAccess(1, "", 0, 2, None, b"\0\xff"))
    assert event_of(line(one, View(returns=True, maps=True))) == one


def test_a_bpf_program_comes_back() -> None:
    entered = BpfProgram("xdp", 12, "main", 0xFFFFFFFFC0001000)
    values = (SkbValue("xdp->frame_sz", 2048),)
    one = event(func="main", module="bpf", addr=entered.addr, packet=0, xdp_metadata=values)
    view = View(programs=True, xdp_metadata=("xdp->frame_sz",))
    assert event_of(line(one._replace(program=entered), view)).program == entered
    assert event_of(line(one, view)) == one


@pytest.mark.parametrize("packet", [TCP4, TCP6, PING, PING6, UNREACHABLE, FRAGMENT, ARP, None])
def test_addresses_come_back(packet: Tuple | None) -> None:
    one = event(tuple=packet, tcp_flags=0)
    assert event_of(line(one, View())) == one


NAME = st.from_regex("[a-z_][a-z0-9_.]{0,9}", fullmatch=True)  # of functions and modules
U64 = st.integers(0, 2**64 - 1)
PLACES = st.none() | st.builds(Frame, U64, NAME, st.integers(0, 2**32), NAME | st.just(""))


@settings(max_examples=100)
@given(EVENTS, PLACES)
def test_what_is_read_is_written_again(one: Event, location: Frame | None) -> None:
    """The same line, whatever a name is made of; text that does not print is escaped by then."""
    view, one = View(stack=True), one._replace(location=location)
    once = line(event_of(line(one, view)), view)
    assert line(event_of(once), view) == once


def test_structures_show_the_values_that_are_there() -> None:
    one = event(sk_buff=SKB)
    read = event_of(line(one, replace(View(), sk_buff=True)))
    assert read.sk_buff is not None
    assert read.sk_buff.values() == SKB.values()
    assert read.sk_buff.text() == "(struct sk_buff){\n .len = 60,\n .cloned = 1,\n}"


def test_the_account_comes_back() -> None:
    assert losses_of(json.loads(json.dumps(json_losses(LOSSES)))) == LOSSES
    assert summary_of(json.loads(json.dumps(json_summary(SUMMARY)))) == SUMMARY


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"cpu": "1"}, "'cpu' cannot be str"),
        ({"cpu": True}, "'cpu' cannot be bool"),
        ({"conntrack": {"state": "odd", "status": []}}, "there is no state 'odd' of conntrack"),
        ({"conntrack": {"state": "new", "direction": "up"}}, "there is no direction 'up'"),
        ({"conntrack": {"state": "new", "status": [1]}}, "'status' is no list of words"),
        ({"nf_path": [1]}, "'nf_path' is no list of objects"),
        (
            {"bpf_map": {"id": 1, "name": "", "key_size": 1, "value_size": 1, "key": "x"}},
            "'key' is not in hexadecimal",
        ),
        ({"type": "return", "duration_ns": 1, "returned": 0.5}, "'returned' cannot be float"),
        ({"cpu": 1 << 64}, "'cpu' is not from 0 to 18446744073709551615"),
        ({"len": -1}, "'len' is not from 0 to 18446744073709551615"),
        ({"time_ns": 10**21}, "'time_ns' is not from 0 to 253402214400000000000"),
        ({"skb": "0xg"}, "'skb' is no address"),
        ({"skb": "0x" + "f" * 17}, "'skb' is no address"),
        ({"context": "nmi"}, "there is no context 'nmi'"),
        ({"location": "here"}, "'here' is no place in a function"),
        ({"stack": "ip_rcv"}, "'stack' cannot be str"),
        ({"stack": ["ip_rcv+0x1"]}, "'stack' is no list of objects"),
        ({"cb": [1 << 32]}, "'cb' is no list of numbers of 32 bits"),
        ({"tuple": {}}, "'sport' is missing"),
        ({"skb_metadata": {"skb->mark": []}}, "'skb->mark' cannot be list"),
        ({"tuple": None, "func": None}, "'func' cannot be NoneType"),
    ],
)
def test_what_is_no_event(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(SavedError) as raised:
        event_of({**line(drop(), View()), **changes})
    assert str(raised.value) == text


@given(st.recursive(st.none() | st.booleans() | st.integers() | st.text(max_size=5),
                    lambda inner: st.lists(inner, max_size=3)
                    | st.dictionaries(st.text(max_size=5), inner, max_size=3), max_leaves=9),
       st.sampled_from(sorted(line(drop(stack=STACK), EVERYTHING))))  # fmt: skip
def test_whatever_stands_there_no_other_error_comes(value: Any, key: str) -> None:
    try:
        one = event_of({**line(drop(stack=STACK), EVERYTHING), key: value})
    except SavedError:
        return
    line(one, EVERYTHING)
    text_sink(io.StringIO(), EVERYTHING, tz=UTC).events(
        [one._replace(skb_metadata=VALUES, xdp_metadata=VALUES)]
    )
    if one.tuple is not None:
        known_frame(one.tuple, one.tcp_flags)


def test_text_of_strangers_is_escaped() -> None:
    read = event_of({**line(event(), View()), "comm": "\x1b[2J", "iface": "e\u202e0"})
    assert (read.comm, read.ifname) == ("\\x1b[2J", "e\\u202e0")


# The frame that a tuple tells

UDP4 = Tuple("10.0.0.2", "1.1.1.1", 53, 4000, 17, True)


@pytest.mark.parametrize(
    ("packet", "expression", "verdict"),
    [
        (TCP4, "tcp", True),
        (TCP4, "udp", False),
        (TCP4, "tcp dst port 80 and src host 10.0.0.2 and net 1.0.0.0/8", True),
        (TCP4, "tcp src port 80", False),
        (TCP4, "tcp[tcpflags] & tcp-syn != 0 and tcp[tcpflags] & tcp-fin == 0", True),
        (TCP4, "portrange 79-81 or ip6", True),
        (TCP4, "ip proto 6", True),
        (TCP4, "arp or ip6", False),
        (TCP4, "greater 60", None),
        (TCP4, "ip[8] < 5", None),
        (TCP4, "ip[6] & 0x40 != 0", None),
        (TCP4, "ether host 02:00:00:00:00:01", None),
        (TCP4, "tcp[20:2] == 0x1603", None),
        (TCP6, "ip6 and tcp port 80 and dst host 2001:db8::2", True),
        (TCP6, "ip", False),
        (UDP4, "udp port 53", True),
        (UDP4, "port 4001", False),
        (PING, "icmp[icmptype] == icmp-echo", True),
        (PING, "icmp[icmptype] == icmp-echoreply", False),
        (PING, "icmp[4:2] == 77 and icmp[6:2] == 1", True),
        (PING, "icmp[icmpcode] == 0", None),
        (UNREACHABLE, "icmp[icmptype] == icmp-unreach", True),
        (PING6, "icmp6 and ip6[40] == 129", True),
        (FRAGMENT, "udp", True),
        (FRAGMENT, "udp port 53", False),
        (FRAGMENT, "ip[6:2] & 0x1fff != 0", True),
        (ARP._replace(arp=1), "arp and host 10.0.0.2", True),
        (ARP._replace(arp=1), "arp[6:2] == 2", False),
        (ARP, "arp[6:2] == 1", None),
        (ARP, "ip", False),
    ],
)
def test_a_filter_on_what_is_known(packet: Tuple, expression: str, verdict: bool | None) -> None:
    frame = known_frame(packet, 0x12 if packet.proto == 6 else 0)
    assert frame is not None
    assert Judge(expression).verdict(frame.data, whole=False, known=frame.known) is verdict


def test_no_frame_of_no_addresses() -> None:
    assert known_frame(ARP._replace(saddr="", daddr="", label="mpls 100"), 0) is None
    assert known_frame(Tuple("nonsense", "x", 0, 0, 6, True, Icmp(1)), 0) is None
