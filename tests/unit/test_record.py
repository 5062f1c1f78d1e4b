# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import socket
import struct
import sys
from ipaddress import ip_address
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.facts.returned import ReturnTypes
from pwru_py.facts.roles import LIST_FREES
from pwru_py.packets.calls import Calls
from pwru_py.packets.identity import Identity
from pwru_py.plan.functions import Target
from pwru_py.record import contract, decode, layout
from pwru_py.record.decode import Decoder, DropRules, Names, decode_tuple
from pwru_py.record.event import (
    BpfProgram,
    Context,
    Event,
    Frame,
    Icmp,
    MapAccess,
    Placed,
    SkbValue,
    Tuple,
    Verdict,
)
from pwru_py.record.layout import RecordLayout

TARGETS = (
    Target("ip_rcv", "", 0xFFFFFFFF81000000, 1, 0),
    Target("veth_xmit", "veth", 0xFFFFFFFFC0000000, 1, 0),
    Target("kfree_skb_reason", "", 0xFFFFFFFF81000100, 1, 2),
    Target("skb_release_data", "", 0xFFFFFFFF81000200, 1, 2),
    Target("__probestub_kfree_skb", "", 0xFFFFFFFF81000300, 2, 4),
    Target("kfree_skb", "", 0xFFFFFFFF81000400, 1, 0),
    Target("perf_trace_kfree_skb", "", 0xFFFFFFFF81000500, 2, 4),
)
INDEX = {target.name: number for number, target in enumerate(TARGETS, 1)}
NAMES = {0: "NOT_DROPPED_YET", 1: "CONSUMED", 2: "NOT_SPECIFIED"}
WALL_OFFSET_NS = 1_700_000_000_000_000_000


def packed_tuple(
    saddr: str = "",
    daddr: str = "",
    sport: int = 0,
    dport: int = 0,
    proto: int = 6,
    l3: int = -1,
    ids: int = -1,
    icmp_type: int = 0,
) -> bytes:
    """struct event_tuple as the kernel side fills it."""
    if not saddr:
        return bytes(layout.TUPLE.size)
    family = socket.AF_INET6 if ":" in saddr else socket.AF_INET
    if l3 < 0:
        l3 = contract.L3_IPV6 if ":" in saddr else contract.L3_IPV4
    if ids < 0:
        ids = contract.IDS_PORTS if sport or dport else contract.IDS_NONE
    return layout.TUPLE.pack(
        socket.inet_pton(family, saddr),
        socket.inet_pton(family, daddr),
        socket.htons(sport),
        socket.htons(dport),
        l3,
        proto,
        ids,
        icmp_type,
    )


def labelled(l3: int, number: int) -> bytes:
    """As ``packed_tuple``, of a packet with no IP within."""
    return layout.TUPLE.pack(number.to_bytes(4, sys.byteorder), b"", 0, 0, l3, 0, 0, 0)


def record(**changes: Any) -> bytes:
    fields = {
        "ts_ns": 5_000_000_000,
        "skb": 0xFFFF888003A00000,
        "func": 0xFFFFFFFF81000000,
        "pid": 222,
        "target": 1,
        "netns": 4026531840,
        "mark": 0x4000,
        "ifindex": 2,
        "mtu": 1500,
        "len": 60,
        "reason": 0,
        "proto": 0x0800,
        "cpu": 3,
        "flags": 0,
        "context": 0,
        "tcp_flags": 0x12,
        "stack_len": 0,
        "comm": b"curl",
        "ifname": b"eth0",
        "tuple": packed_tuple("10.0.0.2", "1.1.1.1", 45146, 80),
    }
    assert set(changes) <= set(fields)
    return layout.EVENT.pack_members(**(fields | changes))


def locate(addr: int) -> Frame:
    return Frame(
        addr, {1: "nf_hook_slow", 2: "kfree_skb_list_reason"}.get(addr & 0xFF, ""), 0xAB, ""
    )


def decoder(
    has_reasons: bool = True, cookies: bool = True, tracepoint: bool = False, **changes: Any
) -> Decoder:
    by_addr = {target.addr: target for target in TARGETS}
    settings: dict[str, Any] = {"skip": 0, "stride": layout.EVENT.size} | changes
    names = Names(
        by_addr.get if not cookies else lambda addr: None,
        lambda value: NAMES.get(value, f"REASON_{value}"),
        lambda value: value > 1,
        locate,
        settings.pop("symbolize", None),
    )
    if names.symbolize is not None and "record" not in settings:
        settings["record"] = layout.RecordLayout.of(contract.SECTION_STACK)
    return Decoder(
        TARGETS, names, DropRules(tracepoint, has_reasons, LIST_FREES), Identity(), **settings
    )


@pytest.mark.parametrize("cookies", [True, False])
def test_the_first_event_of_a_packet_begins_another_one(cookies: bool) -> None:
    target = 1 if cookies else 0
    first, then = record(target=target | contract.TARGET_FIRST), record(target=target)
    found = decoder(cookies=cookies).decode(first + then + first + then, WALL_OFFSET_NS)
    assert [(event.func, event.packet) for event in found] == [
        ("ip_rcv", 1),
        ("ip_rcv", 1),
        ("ip_rcv", 2),
        ("ip_rcv", 2),
    ]


def one(**changes: Any) -> Event:
    (event,) = decoder().decode(record(**changes), WALL_OFFSET_NS)
    return event


def test_golden_record() -> None:
    assert one() == Event(
        skb=0xFFFF888003A00000,
        cpu=3,
        pid=222,
        comm="curl",
        context=Context.TASK,
        func="ip_rcv",
        module="",
        addr=0xFFFFFFFF81000000,
        ts_ns=5_000_000_000,
        wall_ns=1_700_000_005_000_000_000,
        netns=4026531840,
        mark=0x4000,
        ifindex=2,
        ifname="eth0",
        proto=0x0800,
        mtu=1500,
        len=60,
        tuple=Tuple("10.0.0.2", "1.1.1.1", 45146, 80, 6, True),
        tcp_flags=0x12,
        reason=-1,
        reason_name="",
        stack=(),
        drop=False,
        packet=1,
    )


def test_the_largest_values() -> None:
    words = dict.fromkeys(["pid", "netns", "mark", "ifindex", "mtu", "len", "reason"], 0xFFFFFFFF)
    long = dict.fromkeys(["ts_ns", "skb", "func"], 0xFFFFFFFFFFFFFFFF)
    event = one(
        **words, **long, proto=0xFFFF, cpu=0xFFFF, flags=contract.EVENT_REASON, tcp_flags=255
    )
    assert (event.pid, event.mark, event.reason, event.cpu) == (0xFFFFFFFF,) * 3 + (0xFFFF,)
    assert (event.reason_name, event.skb) == ("REASON_4294967295", 0xFFFFFFFFFFFFFFFF)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            packed_tuple("10.0.0.2", "255.255.255.255", 65535, 1, 17),
            Tuple("10.0.0.2", "255.255.255.255", 65535, 1, 17, True),
        ),
        (
            packed_tuple("2001:db8::1", "::ffff:1.2.3.4", 443, 50000, 6),
            Tuple("2001:db8::1", "::ffff:1.2.3.4", 443, 50000, 6, True),
        ),
        (packed_tuple("::", "ff02::1", proto=58), Tuple("::", "ff02::1", 0, 0, 58, False)),
        (
            packed_tuple("10.0.0.2", "1.1.1.1", proto=1),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False),
        ),
        # TCP, but the ports are not in linear memory.
        (
            packed_tuple("10.0.0.2", "1.1.1.1", proto=6),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 6, False),
        ),
        (
            packed_tuple("10.0.0.2", "1.1.1.1", proto=17, ids=contract.IDS_FRAGMENT),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 17, False, None, True),
        ),
        # Ports that are zero are ports.
        (
            packed_tuple("10.0.0.2", "1.1.1.1", 0, 0, 132, ids=contract.IDS_PORTS),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 132, True),
        ),
        (
            packed_tuple(
                "10.0.0.2", "1.1.1.1", 77, 258, 1, ids=contract.IDS_ICMP_ECHO, icmp_type=8
            ),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False, Icmp(8, 77, 258)),
        ),
        (
            packed_tuple("::1", "::2", 0, 65535, 58, ids=contract.IDS_ICMP_ECHO, icmp_type=129),
            Tuple("::1", "::2", 0, 0, 58, False, Icmp(129, 0, 65535)),
        ),
        (
            packed_tuple("10.0.0.2", "1.1.1.1", proto=1, ids=contract.IDS_ICMP, icmp_type=3),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False, Icmp(3)),
        ),
        # Too long for a link: the MTU.
        (
            packed_tuple("10.0.0.2", "1.1.1.1", 0, 1400, 1, ids=contract.IDS_ICMP, icmp_type=3),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False, Icmp(3, mtu=1400)),
        ),
        (
            packed_tuple("::1", "::2", 1, 2, 58, ids=contract.IDS_ICMP, icmp_type=2),
            Tuple("::1", "::2", 0, 0, 58, False, Icmp(2, mtu=0x10002)),
        ),
        # Of a newer program: what is not known is not shown.
        (
            packed_tuple("10.0.0.2", "1.1.1.1", 7, 9, 1, ids=200, icmp_type=8),
            Tuple("10.0.0.2", "1.1.1.1", 0, 0, 1, False),
        ),
        (
            packed_tuple("10.0.0.1", "10.0.0.2", proto=0, l3=contract.L3_ARP),
            Tuple("10.0.0.1", "10.0.0.2", 0, 0, -1, False),
        ),
        (
            packed_tuple("10.0.0.1", "10.0.0.2", proto=0, l3=contract.L3_ARP, icmp_type=2),
            Tuple("10.0.0.1", "10.0.0.2", 0, 0, -1, False, arp=2),
        ),
        (packed_tuple(), None),
        (packed_tuple("0.0.0.0", "1.1.1.1", l3=9), None),
        (labelled(contract.L3_MPLS, 100), Tuple("", "", 0, 0, -1, False, label="mpls 100")),
        (
            labelled(contract.L3_PPPOE, 0xFFFF),
            Tuple("", "", 0, 0, -1, False, label="pppoe session 65535"),
        ),
    ],
)
def test_tuples(raw: bytes, expected: Tuple | None) -> None:
    assert one(tuple=raw).tuple == expected


ADDRESSES = st.ip_addresses(v=4) | st.ip_addresses(v=6)


@given(st.data(), st.integers(0, 65535), st.integers(0, 65535), st.integers(0, 255))
def test_what_is_packed_is_decoded(data: st.DataObject, sport: int, dport: int, proto: int) -> None:
    saddr = data.draw(ADDRESSES)
    daddr = data.draw(st.ip_addresses(v=saddr.version))
    raw = packed_tuple(str(saddr), str(daddr), sport, dport, proto)
    decoded = decode_tuple(raw)
    assert decoded is not None
    # RFC 5952 leaves it open how addresses with an IPv4 address in them end.
    assert (ip_address(decoded.saddr), ip_address(decoded.daddr)) == (saddr, daddr)
    assert decoded[2:] == (sport, dport, proto, bool(sport or dport), None, False, "", 0)


@given(st.binary(min_size=layout.EVENT.size, max_size=layout.EVENT.size))
def test_any_bytes_decode(raw: bytes) -> None:
    whole = bytearray(raw)
    struct.pack_into("=I", whole, 28, raw[0] % (len(TARGETS) + 1))  # the target
    whole[60] &= ~(contract.EVENT_LINK | contract.EVENT_VERDICT)
    whole[61] %= 4  # the context
    programs = [BpfProgram("tc", number, "main", 0) for number in range(len(TARGETS) + 1)]
    (event,) = decoder(programs=programs).decode(bytes(whole), 0)
    assert event.comm.isprintable()
    assert event.ifname.isprintable()
    assert event.skb == int.from_bytes(raw[8:16], "little")


# Which function


def test_targets_by_cookie() -> None:
    event = one(target=INDEX["veth_xmit"], func=0xFFFFFFFFC0000004)
    assert (event.func, event.module, event.addr) == ("veth_xmit", "veth", 0xFFFFFFFFC0000004)


def test_targets_by_address() -> None:
    plain = decoder(cookies=False)
    raw = record(target=0, func=TARGETS[1].addr) + record(target=0, func=0xFFFFFFFF00000010)
    known, unknown = plain.decode(raw, 0)
    assert (known.func, known.module) == ("veth_xmit", "veth")
    assert (unknown.func, unknown.module) == ("0xffffffff00000010", "")


# Drops


@pytest.mark.parametrize(
    ("func", "reason", "flags", "drop"),
    [
        ("kfree_skb_reason", 2, contract.EVENT_REASON, True),
        ("kfree_skb_reason", 99, contract.EVENT_REASON, True),
        ("kfree_skb_reason", 1, contract.EVENT_REASON, False),
        ("kfree_skb_reason", 0, contract.EVENT_REASON, False),
        ("kfree_skb_reason", 2, contract.EVENT_REASON | contract.EVENT_SHARED, False),
        ("kfree_skb_reason", 2, contract.EVENT_REASON | contract.EVENT_TRACKED, True),
        ("skb_release_data", 99, contract.EVENT_REASON, False),
        ("__probestub_kfree_skb", 99, contract.EVENT_REASON, False),
        ("perf_trace_kfree_skb", 99, contract.EVENT_REASON, False),
        ("ip_rcv", 2, 0, False),
        ("kfree_skb", 0, 0, False),
    ],
)
def test_which_events_are_drops(func: str, reason: int, flags: int, drop: bool) -> None:
    event = one(target=INDEX[func], reason=reason, flags=flags)
    assert event.drop is drop
    if flags & contract.EVENT_REASON:
        assert (event.reason, event.reason_name) == (reason, NAMES.get(reason, f"REASON_{reason}"))
    else:
        assert (event.reason, event.reason_name) == (-1, "")


def test_a_reason_that_says_nothing_is_none_where_it_decides_nothing() -> None:
    event = one(target=INDEX["skb_release_data"], reason=2, flags=contract.EVENT_REASON)
    assert (event.reason, event.reason_name, event.drop) == (-1, "", False)


def test_kernels_without_reasons_drop_by_kfree_skb_alone() -> None:
    old = decoder(has_reasons=False)
    raw = b"".join(
        record(target=INDEX[func], flags=flags)
        for func, flags in [("kfree_skb", 0), ("kfree_skb", contract.EVENT_SHARED), ("ip_rcv", 0)]
    )
    assert [event.drop for event in old.decode(raw, 0)] == [True, False, False]
    assert {event.reason for event in old.decode(raw, 0)} == {-1}


# Names from untrusted programs


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"a\x1b[31mred\0rest", "a\\x1b[31mred"),
        (b"line\nbreak", "line\\x0abreak"),
        (b"exactly16bytes!!", "exactly16bytes!!"),
        ("日本".encode(), "日本"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"", ""),
    ],
)
def test_control_characters_are_escaped(raw: bytes, text: str) -> None:
    event = one(comm=raw, ifname=raw)
    assert (event.comm, event.ifname) == (text, text)


@pytest.mark.parametrize("context", list(Context))
def test_contexts(context: Context) -> None:
    assert one(context=context.value).context is context


# Runs of records


def stacked(depth: int, **changes: Any) -> bytes:
    addrs = [0xFFFFFFFF81000000 + n for n in range(contract.STACK_MAX)]
    return record(stack_len=depth, **changes) + layout.STACK.pack(*addrs)


def frame(addr: int, innermost: bool) -> Frame:
    return Frame(addr, "inner" if innermost else "outer", addr & 0xFF, "")


def tracepoint(location: int, reason: int = 8, **changes: Any) -> bytes:
    flags = contract.EVENT_DROP | contract.EVENT_REASON
    at = 0xFFFFFFFF81000000 + location
    return record(**({"target": 0, "func": at, "flags": flags, "reason": reason} | changes))


def test_what_the_tracepoint_says() -> None:
    told = decoder(tracepoint=True)
    (event,) = told.decode(tracepoint(1), 0)
    assert (event.func, event.module, event.drop) == ("skb:kfree_skb", "", True)
    assert event.location is not None
    assert (event.location.symbol, event.reason) == ("nf_hook_slow", 8)
    function = record(target=INDEX["kfree_skb_reason"], reason=8, flags=contract.EVENT_REASON)
    (event,) = told.decode(function, 0)
    assert (event.drop, event.reason) == (False, 8), "it is told once"


def test_other_tracepoints_are_named_by_their_cookie() -> None:
    raw = record(target=2, func=1, flags=contract.EVENT_TRACEPOINT, reason=7)
    raw += record(target=2, func=0, flags=contract.EVENT_TRACEPOINT)
    located, bare = decoder(tracepoint=True).decode(raw, 0)
    assert (located.func, located.module, located.drop) == ("veth_xmit", "veth", False)
    assert located.location == locate(1)
    assert (located.reason, located.reason_name) == (-1, "")
    assert bare.location is None


def test_a_bpf_program_is_named_by_its_number() -> None:
    """Also one that came while tracing, and one that has the name of a function that frees."""
    programs = [BpfProgram("tc", 12, "kfree_skbmem", 0xFFFFFFFFC0001000)]
    some = decoder(programs=programs)
    entered = {"func": 0, "flags": contract.EVENT_PROGRAM}
    (first,) = some.decode(record(target=0, **entered), 0)
    assert (first.func, first.module, first.addr) == ("kfree_skbmem", "bpf", 0xFFFFFFFFC0001000)
    assert (first.program, first.drop, first.location) == (programs[0], False, None)
    programs.append(BpfProgram("tc", 15, "later", 0))
    second, function = some.decode(record(target=1, **entered) + record(), 0)
    assert second.program == programs[1]
    assert {first.packet, second.packet, function.packet} == {1}, "it frees nothing"
    assert function.program is None


def test_who_calls_a_bpf_program() -> None:
    entry = 0xFFFFFFFFC0001000
    stack = (entry, 0xFFFFFFFFC0000999, entry + 5, 0xFFFFFFFF81000042, 7)
    own = layout.RecordLayout.of(contract.SECTION_CALLER)
    raw = record(target=0, func=0, flags=contract.EVENT_PROGRAM)
    raw += layout.CALLER.pack(*stack, *[0] * (contract.CALLER_MAX - len(stack)))
    program = BpfProgram("tc", 12, "main", entry)
    callers = []
    for each in (program, program._replace(addr=0)):
        some = decoder(programs=[each], record=own, stride=own.bytes, symbolize=frame)
        (event,) = some.decode(raw, 0)
        callers.append(event.caller)
    assert callers == [frame(0xFFFFFFFF81000042, False), None]


def test_a_tracepoints_stack_begins_where_the_tracepoint_is() -> None:
    names = (
        "bpf_prog_1a_emit",
        "bpf_trace_run1",
        "__traceiter_netif_rx",
        "netif_rx",
        "loopback_xmit",
    )
    raw = stacked(len(names), target=1, func=0, flags=contract.EVENT_TRACEPOINT)
    at = iter(range(len(names)))
    (event,) = decoder(
        symbolize=lambda addr, innermost: Frame(addr, names[next(at)], 4, ""),
        stride=len(raw),
    ).decode(raw, 0)
    assert [frame.symbol for frame in event.stack] == ["netif_rx", "loopback_xmit"]
    assert event.location == event.stack[0]


def test_lists_of_kernels_that_do_not_tell_pieces_from_drops() -> None:
    told, unsaid = decoder(tracepoint=True), 2
    drops = [tracepoint(2, 8), tracepoint(2, unsaid), tracepoint(2, flags=contract.EVENT_DROP)]
    events = told.decode(b"".join(drops), 0)
    assert [event.drop for event in events] == [True, False, False]
    assert [event.reason for event in events] == [8, unsaid, -1]


def test_what_a_table_says() -> None:
    section = layout.TABLE_VERDICT.pack(
        3, 7, 9, b"flt\x1b", b"out", 65538, 1, 1, 2, 3, 1, 0, 0, 0, 1
    )
    laid = layout.RecordLayout.of(contract.SECTION_TABLE)
    given = decoder(stride=laid.bytes, record=laid, tracepoint=True)
    told = record(func=0, target=0, flags=contract.EVENT_VERDICT) + section
    other = record(flags=contract.EVENT_TRACEPOINT) + bytes(len(section))
    event, plain = given.decode(told + other, WALL_OFFSET_NS)
    names = "inet", "flt\\x1b", "out", "OUTPUT", "STOLEN"
    assert event.verdict == Verdict(*names, 3, 7, "ACCEPT", net_cookie=9, replaced=1)
    assert (event.func, event.drop, event.location) == ("nft_do_chain", False, None)
    assert (plain.verdict, plain.packet) == (None, event.packet)


@pytest.mark.parametrize(
    ("code", "step", "verdict", "kind"),
    [
        (0xFFFFFFFD, contract.STEP_RULE, "JUMP", "rule"),
        (0xFFFFFFFF, contract.STEP_RULE, "CONTINUE", "rule"),
        (0xFFFFFFFB, contract.STEP_END, "RETURN", "rule"),
        (0xFFFFFFFF, contract.STEP_POLICY, "DROP", "policy"),
    ],
)
def test_a_step_on_the_way(code: int, step: int, verdict: str, kind: str) -> None:
    section = layout.TABLE_VERDICT.pack(3, 7, 9, b"flt", b"in", code, 1, 1, 2, 1, 0, 0, step, 0, 1)
    laid = layout.RecordLayout.of(contract.SECTION_TABLE)
    given = decoder(stride=laid.bytes, record=laid)
    told = record(func=0, target=0, flags=contract.EVENT_VERDICT) + section
    (event,) = given.decode(told, WALL_OFFSET_NS)
    assert event.verdict is not None
    assert (event.verdict.verdict, event.verdict.step, event.verdict.rule) == (verdict, kind, 7)


@pytest.mark.parametrize(
    ("pf", "rule", "hot", "tool", "placed"),
    [
        (2, 1, 0, "iptables", Placed("ip", 0, 4)),
        (10, 153, 0, "ip6tables", Placed("ip6", 152, 4)),
        (10, 0, 1, "ip6tables", None),
        (3, 0, 0, "arptables", None),
        (3, 233, 0, "arptables", Placed("arp", 232, 4)),
        (7, 97, 0, "ebtables", Placed("bridge", 96, 4)),
    ],
)
def test_where_x_tables_has_its_rule(
    pf: int, rule: int, hot: int, tool: str, placed: Placed | None
) -> None:
    section = layout.TABLE_VERDICT.pack(0, rule, 9, b"raw", b"", 0, 0, 0, pf, 1, 0, hot, 0, 0, 4)
    laid = layout.RecordLayout.of(contract.SECTION_TABLE)
    given = decoder(stride=laid.bytes, record=laid)
    told = record(func=0, target=0, flags=contract.EVENT_VERDICT) + section
    (event,) = given.decode(told, WALL_OFFSET_NS)
    hook = "OUTPUT" if pf == 3 else "INPUT"
    names = "", "raw", "", hook, "DROP"
    assert event.verdict == Verdict(*names, placed=placed, hot=bool(hot), net_cookie=9, tool=tool)
    functions = {"iptables": "ipt_do_table", "ip6tables": "ip6t_do_table",
                 "arptables": "arpt_do_table", "ebtables": "ebt_do_table"}  # fmt: skip
    assert event.func == functions[tool]


@pytest.mark.parametrize(
    ("head", "frame"),
    [
        ((0x0800, 3, 0, 0, b"abcdef"), bytes(12) + b"\x08\x00abc"),
        ((0x86DD, 2, 0x8100, 7, b"ab"), bytes(12) + b"\x81\x00\x00\x07\x86\xddab"),
        ((0x0800, 0, 0, 0, b"abc"), b""),
    ],
)
def test_the_beginning_of_a_frame(head: tuple[int, int, int, int, bytes], frame: bytes) -> None:
    laid = layout.RecordLayout.of(contract.SECTION_HEAD)
    given = decoder(stride=laid.bytes, record=laid)
    (event,) = given.decode(record() + layout.PACKET_HEAD.pack(*head), WALL_OFFSET_NS)
    assert event.frame == frame
    (plain,) = decoder().decode(record(), WALL_OFFSET_NS)
    assert plain.frame == b""


def test_by_what_a_packet_has_come() -> None:
    laid = layout.RecordLayout.of(contract.SECTION_ARRIVAL)
    given = decoder(stride=laid.bytes, record=laid)
    arrivals = ((0x16007, 3), (0, 0), (0x10000, 9))
    raw = b"".join(record() + layout.ARRIVAL.pack(*each) for each in arrivals)
    told = [(event.vlan, event.iif) for event in given.decode(raw, WALL_OFFSET_NS)]
    assert told == [(7, 3), (None, 0), (0, 9)]


@pytest.mark.parametrize(
    ("sport", "dport", "l4", "dns"),
    [(4000, 53, 17, 0x1234), (53, 4000, 17, 0x1234), (4000, 54, 17, None), (4000, 53, 6, None)],
)
def test_the_id_of_a_dns_message(sport: int, dport: int, l4: int, dns: int | None) -> None:
    laid = layout.RecordLayout.of(contract.SECTION_TABLE, contract.SECTION_UDP)
    given = decoder(stride=laid.bytes, record=laid)
    packed = packed_tuple("10.0.0.1", "10.0.0.2", sport, dport, l4)
    raw = record(tuple=packed) + bytes(contract.TABLE_VERDICT_BYTES) + b"\x12\x34\x01\0\0\1\0\0"
    (event,) = given.decode(raw, WALL_OFFSET_NS)
    assert event.dns == dns


class Doubled:
    """In place of a compiler of field expressions: the first byte, twice; 0 cannot be read."""

    texts = ("skb->one", "skb->two")

    def decode(self, section: bytes) -> tuple[int | str | bool | None, ...]:
        return (section[0] or None, f"{section[0]}")


def test_values_of_field_expressions() -> None:
    laid = layout.RecordLayout.of(contract.SECTION_METADATA, metadata_bytes=16)
    given = decoder(stride=laid.bytes, record=laid, metadata=Doubled())
    raw = b"".join(record() + bytes([first]).ljust(16, b"\0") for first in (7, 0))
    assert [event.skb_metadata for event in given.decode(raw, WALL_OFFSET_NS)] == [
        (SkbValue("skb->one", 7), SkbValue("skb->two", "7")),
        (SkbValue("skb->one", None), SkbValue("skb->two", "0")),
    ]


class AtXdp(Doubled):
    """The same of frames."""

    texts = ("xdp->one", "xdp->two")


def test_a_frame_at_xdp_is_no_packet_yet() -> None:
    """Of its record what is an sk_buff's is undefined."""
    laid = layout.RecordLayout.of(
        contract.SECTION_CALLER, contract.SECTION_CB, contract.SECTION_TUNNEL,
        contract.SECTION_CONNTRACK, contract.SECTION_OWNER, metadata_bytes=16, xdp_bytes=16,
    )  # fmt: skip
    programs = [BpfProgram("xdp", 12, "main", 0), BpfProgram("tc", 13, "main", 0)]
    given = decoder(stride=laid.bytes, record=laid, programs=programs, symbolize=frame,
                    metadata=Doubled(), xdp_metadata=AtXdp())  # fmt: skip
    entered = {"func": 0, "flags": contract.EVENT_PROGRAM}
    rest = laid.bytes - layout.EVENT.size
    at_xdp, again, at_tc = given.decode(
        b"".join(record(target=n, **entered) + fill * rest
                 for n, fill in ((0, b"\xff"), (0, b"\7"), (1, b"\0"))),
        WALL_OFFSET_NS,
    )  # fmt: skip
    assert (at_xdp.packet, at_xdp.parent, again.packet, at_tc.packet) == (0, None, 0, 1)
    assert (at_xdp.netns, at_xdp.ifname) == (4026531840, "eth0")
    told = (at_xdp.cb, at_xdp.tunnel, at_xdp.conntrack, at_xdp.owner, at_xdp.caller)
    assert told == ((), None, None, None, None)
    assert at_xdp.skb_metadata == (SkbValue("skb->one", None), SkbValue("skb->two", None))
    assert again.xdp_metadata == (SkbValue("xdp->one", 7), SkbValue("xdp->two", "7"))
    assert at_tc.xdp_metadata == (SkbValue("xdp->one", None), SkbValue("xdp->two", None))
    assert at_tc.cb == (0,) * contract.CB_WORDS


def test_children_are_no_events() -> None:
    one = decoder()
    link = record(skb=0xB, func=0xA, target=0, flags=contract.EVENT_LINK)
    parent, child = one.decode(record(skb=0xA) + link + record(skb=0xB), 0)
    assert (child.packet, child.parent) == (2, parent.packet) == (2, 1)


@pytest.mark.parametrize("depth", [0, 1, 3, contract.STACK_MAX])
def test_stacks(depth: int) -> None:
    size = layout.EVENT.size + layout.STACK.size
    (event,) = decoder(stride=size, symbolize=frame).decode(stacked(depth), 0)
    assert len(event.stack) == depth
    assert [f.symbol for f in event.stack] == ["inner", *["outer"] * depth][:depth]
    assert [f.offset for f in event.stack] == list(range(depth))


@pytest.mark.parametrize("symbolize", [None, frame])
def test_headers_and_padding_between_records_are_skipped(symbolize: Any) -> None:
    body = stacked(1) if symbolize else record()
    stride = 8 + len(body) + 16
    run = b"".join(b"HEADERHD" + body[:16] + bytes([n]) + body[17:] + b"P" * 16 for n in range(5))
    events = decoder(skip=8, stride=stride, symbolize=symbolize).decode(run, 7)
    assert [event.addr & 0xFF for event in events] == [0, 1, 2, 3, 4]
    assert {event.wall_ns - event.ts_ns for event in events} == {7}
    assert [len(event.stack) for event in events] == [bool(symbolize)] * 5


def test_no_records() -> None:
    assert decoder().decode(b"", 0) == []


def test_a_run_that_is_cut_is_refused() -> None:
    with pytest.raises(struct.error):
        decoder().decode(record()[:-1], 0)


def test_a_probe_behind_the_entry_names_the_entry() -> None:
    target = Target("f", "veth", 0xFFFFFFFF81000000, 1, 0)
    by_addr = {target.addr + away: target for away in (-4, 0, 5, 9)}
    names = Names(by_addr.get, str, bool, locate)
    behind = Decoder([target], names, DropRules(False, True), Identity())
    run = b"".join(record(func=target.addr + away, target=0) for away in (-4, 0, 5, 9, 1))
    first, *events, unknown = behind.decode(run, 0)
    assert {(e.func, e.module, e.addr) for e in events} == {("f", "veth", target.addr)}
    assert (first.func, first.addr) == ("f", target.addr - 4), "ftrace's address is behind ENDBR"
    assert (unknown.func, unknown.addr) == ("0xffffffff81000001", target.addr + 1)


def test_what_is_remembered_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(decode, "_CACHE_MAX", 8)
    many = decoder()
    run = b"".join(
        record(comm=b"%d" % n, tuple=packed_tuple("10.0.0.1", f"10.0.0.{n}"), func=n, target=0)
        for n in range(100)
    )
    events = many.decode(run, 0)
    assert [event.comm for event in events] == [str(n) for n in range(100)]
    assert [event.tuple and event.tuple.daddr for event in events][99] == "10.0.0.99"
    assert max(len(many._names), len(many._tuples), len(many._functions)) <= 8


def test_a_function_without_an_sk_buff_tells_the_packet_around_it() -> None:
    within = record(
        flags=contract.EVENT_INSIDE, target=2, pid=7, comm=b"ping", len=0, netns=0, ifname=b"",
        tuple=packed_tuple(), ts_ns=6_000_000_000, cpu=1,
    )  # fmt: skip
    around, inside = decoder(inside=True).decode(record() + within, WALL_OFFSET_NS)
    assert (inside.func, inside.module, inside.inside, inside.depth) == (
        "veth_xmit",
        "veth",
        True,
        1,
    )
    assert (inside.pid, inside.comm, inside.cpu) == (7, "ping", 1)
    assert inside.ts_ns == around.ts_ns + 1_000_000_000
    assert (inside.packet, inside.tuple, inside.netns) == (1, around.tuple, around.netns)
    assert not around.inside
    (alone,) = decoder(inside=True).decode(within, WALL_OFFSET_NS)
    assert (alone.packet, alone.func, alone.tuple, alone.netns) == (1, "veth_xmit", None, 0)


def _map_section(number: int, *, value: bytes | None, key: bytes | None = b"\1\2\3\4") -> bytes:
    found = (key is not None, value is not None)
    return struct.pack(
        "=III??2x16s128s512s", number, 4, 600, *found, b"svc\n", key or b"", value or b""
    )


def test_a_bpf_map_and_what_is_found_in_it() -> None:
    layout = RecordLayout.of(contract.SECTION_CALL, contract.SECTION_MAP)
    call = struct.pack("=QQQII", 0x1000, 0, 0, 7, 0)
    entry = record(flags=contract.EVENT_INSIDE, target=2, ts_ns=5) + call
    left = record(flags=contract.EVENT_RETURN, target=2, ts_ns=9)
    left += struct.pack("=QQQII", 0x1000, 5, 0xFFFF, 7, 0)
    names = Names(lambda addr: None, str, lambda value: False, locate)
    of_maps = Decoder(
        TARGETS, names, DropRules(True, True), Identity(), stride=layout.bytes, record=layout,
        calls=Calls(ReturnTypes(lambda module: None)), inside=True,
    )  # fmt: skip
    asked, found = of_maps.decode(
        entry + _map_section(12, value=None) + left + _map_section(0, key=None, value=b"\7" * 512),
        WALL_OFFSET_NS,
    )
    assert asked.bpf_map == MapAccess(12, "svc\\x0a", 4, 600, b"\1\2\3\4", None)
    assert found.bpf_map == asked.bpf_map._replace(value=b"\7" * 512)
    assert found.returned is not None
    wrote, done, other = of_maps.decode(
        entry + _map_section(12, value=b"v") + left + _map_section(0, key=None, value=None)
        + entry + _map_section(0, key=None, value=None),
        WALL_OFFSET_NS,
    )  # fmt: skip
    assert wrote.bpf_map is not None
    assert wrote.bpf_map.value == b"v" + bytes(511)
    assert done.bpf_map == wrote.bpf_map, "what was written"
    assert other.bpf_map is None, "a function of no map"
