# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import io
import json
from dataclasses import replace
from datetime import UTC
from importlib.resources import files
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from pwru_py.facts.conntrack import CtState
from pwru_py.options.config import Timestamp
from pwru_py.output import View, json_sink
from pwru_py.output.schema import schema
from pwru_py.output.summary import SCHEMA_VERSION
from pwru_py.record.event import (
    BpfProgram,
    Conntrack,
    Context,
    DroppedBy,
    Event,
    Frame,
    Icmp,
    Losses,
    Returned,
    SkbValue,
    Step,
    Tuple,
    Verdict,
)

from .samples import (
    ARP,
    FRAGMENT,
    JOURNEY,
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

SCHEMA: dict[str, Any] = json.loads(files("pwru_py.output").joinpath("schema.json").read_text())
VALIDATOR = Draft202012Validator(SCHEMA)
VIEW = View(stack=True, timestamp=Timestamp.ABSOLUTE)


def lines(batch: list[Event], view: View = VIEW) -> list[dict[str, Any]]:
    stream = io.StringIO()
    sink = json_sink(stream, view, tz=UTC)
    sink.start()
    sink.events(batch)
    text = stream.getvalue()
    assert text.isascii()
    return [json.loads(line) for line in text.splitlines()]


def expected(one: Event) -> dict[str, Any]:
    """The line of an event with everything shown and ``--timestamp current``, the plain way."""
    packet = one.tuple
    return {
        "type": "event",
        "skb": hex(one.skb),
        "packet": one.packet or None,
        "parent": one.parent,
        "cpu": one.cpu,
        "process": f"{one.comm}:{one.pid}",
        "pid": one.pid,
        "comm": one.comm,
        "context": ["task", "softirq", "hardirq", "unknown"][one.context],
        "func": one.func,
        "module": one.module,
        "addr": hex(one.addr),
        "drop": one.drop,
        "drop_reason": one.reason_name or None,
        "drop_reason_code": None if one.reason < 0 else one.reason,
        "location": one.location and frame_text(one.location),
        "netns": one.netns,
        "mark": one.mark,
        "iface": one.ifname,
        "ifindex": one.ifindex,
        "proto": one.proto,
        "mtu": one.mtu,
        "len": one.len,
        "tuple": packet and expected_tuple(packet, one.tcp_flags),
        "stack": [
            {
                "symbol": f.symbol or None,
                "offset": f.offset,
                "module": f.module,
                "addr": hex(f.addr),
            }
            for f in one.stack
        ],
        "time": one.ts_ns,
        "time_ns": one.wall_ns,
        "ts_ns": one.ts_ns,
    }


def frame_text(frame: Frame) -> str:
    if not frame.symbol:
        return f"{frame.addr:#018x}"
    return f"{frame.symbol}+{frame.offset:#x}{f' [{frame.module}]' if frame.module else ''}"


def expected_tuple(packet: Tuple, tcp_flags: int) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "saddr": packet.saddr,
        "daddr": packet.daddr,
        "sport": packet.sport,
        "dport": packet.dport,
        "proto": None if packet.proto < 0 else packet.proto,
        "flags": _flags(tcp_flags) if packet.proto == 6 and packet.has_ports else "",
    }
    if packet.icmp:
        name = ICMP_NAMES.get((packet.proto == 58, packet.icmp.type))
        shown["icmp"] = {"type": packet.icmp.type, "name": name}
        shown["icmp"] |= {"id": packet.icmp.id, "seq": packet.icmp.seq}
        shown["icmp"] |= {"mtu": packet.icmp.mtu} if packet.icmp.mtu else {}
    if packet.fragment:
        shown["fragment"] = True
    if packet.arp:
        names = {1: "request", 2: "reply", 8: "operation 8"}
        shown["arp"] = {"operation": packet.arp, "name": names[packet.arp]}
    return shown | ({"label": packet.label} if packet.label else {})


ICMP_NAMES = {(False, 8): "echo request", (False, 3): "unreachable", (True, 3): "time exceeded"}


def _flags(bits: int) -> str:
    names = ["FIN", "SYN", "RST", "PSH", "ACK", "URG", "ECE", "CWR"]
    return ",".join(name for at, name in enumerate(names) if bits >> at & 1)


def test_golden() -> None:
    stream = io.StringIO()
    sink = json_sink(stream, View(stack=True, timestamp=Timestamp.RELATIVE))
    sink.events([drop(stack=STACK)])
    assert stream.getvalue() == (
        '{"type":"event","skb":"0xff286dd140c7e8e8","packet":null,"parent":null,"cpu":1,"process":"curl:222","pid":222,'
        '"comm":"curl","context":"task","func":"sk_skb_reason_drop","module":"",'
        '"addr":"0xffffffff81000000","drop":true,"drop_reason":"NETFILTER_DROP","drop_reason_code":8,'
        '"location":null,'
        '"netns":4026531840,"mark":0,"iface":"","ifindex":0,"proto":2048,"mtu":65536,"len":60,'
        '"tuple":{"saddr":"10.0.0.2","daddr":"1.1.1.1","sport":45146,"dport":80,"proto":6,'
        '"flags":"SYN,ACK"},"stack":['
        '{"symbol":"nf_hook_slow","offset":171,"module":"","addr":"0xffffffff81234567"},'
        '{"symbol":"ipt_do_table","offset":31,"module":"ip_tables","addr":"0xffffffffc0123456"},'
        '{"symbol":null,"offset":0,"module":"","addr":"0xffffffff81aaaaaa"}],'
        '"time":0,"time_ns":1795166626123456789,"ts_ns":1000000500}\n'
    )


def test_the_schema_is_what_the_fields_say_now() -> None:
    """``python -m pwru_py.output.schema`` would print the file that is there."""
    assert schema() == SCHEMA


def test_the_schema_is_a_schema_and_closed_to_typing_errors() -> None:
    Draft202012Validator.check_schema(SCHEMA)
    for bad in ({}, {"type": "event"}, {"type": "other"}, {"type": "lost", "buffer_full": 1}):
        assert not VALIDATOR.is_valid(bad)
    line = lines([event()])[0]
    for key, value in [("cpu", "1"), ("time", "now"), ("skb", 7), ("context", "nmi"), ("len", -1)]:
        assert not VALIDATOR.is_valid({**line, key: value})


@pytest.mark.parametrize("mode", list(Timestamp))
@pytest.mark.parametrize("meta", [True, False])
@pytest.mark.parametrize("addresses", [True, False])
@pytest.mark.parametrize("stack", [True, False])
def test_every_view_is_valid(mode: Timestamp, meta: bool, addresses: bool, stack: bool) -> None:
    view = View(meta=meta, tuple=addresses, stack=stack, timestamp=mode)
    for line in lines([*JOURNEY, event(tuple=None), drop(stack=STACK, reason_name="")], view):
        VALIDATOR.validate(line)
        assert ("netns" in line) == ("len" in line) == meta
        assert ("tuple" in line) == addresses
        assert ("stack" in line) == stack
        clock = mode in (Timestamp.NONE, Timestamp.ABSOLUTE)
        assert isinstance(line["time"], str if clock else int)


def test_the_schema_knows_every_key_and_no_other() -> None:
    everything = replace(VIEW, netns_names=True, rules=True, skb_metadata=("skb->mark",),
                         caller=True, tunnel=True, cb=True, sk_buff=True,
                         shared_info=True, nf_path=True, conntrack=True,
                         owner=True, programs=True, returns=True, inside=True, maps=True,
                         xdp_metadata=("xdp->frame_sz",))  # fmt: skip
    values = (SkbValue("skb->mark", 16), SkbValue("skb->dev->name", None))
    met = Step(Verdict("ip", "t", "in", "INPUT", "JUMP", 1, 7, step="rule"), "in", "jump web")
    entered = BpfProgram("xdp", 12, "main", 0x1000)
    told = event(netns_name="web", skb_metadata=values, nf_path=(met,), program=entered,
                 xdp_metadata=(SkbValue("xdp->frame_sz", 2048),))  # fmt: skip
    (line,) = lines([told], everything)
    assert set(line) == set(SCHEMA["$defs"]["event"]["properties"])
    assert (line["netns"], line["netns_name"]) == (4026531840, "web")
    assert line["skb_metadata"] == {"skb->mark": 16, "skb->dev->name": None}
    assert line["xdp_metadata"] == {"xdp->frame_sz": 2048}
    assert (line["program"], line["packet"]) == ({"kind": "xdp", "id": 12}, None)
    (step,) = line["nf_path"]
    assert (step["rule"], step["chain"], step["rule_text"]) == (7, "in", "jump web")
    VALIDATOR.validate(line)


@pytest.mark.parametrize(
    ("returned", "number", "name"),
    [
        (Returned(-1, "-EPERM", 1200), -1, "-EPERM"),
        (Returned(0, "0", 1), 0, None),
        (Returned(None, "", 1), None, None),
        (Returned(None, "a structure", 1), None, None),
        (Returned(1 << 63, "0x8000000000000000", 1), "0x8000000000000000", None),
        (Returned(-2, "ERR_PTR(-ENOENT)", 1), -2, "ERR_PTR(-ENOENT)"),
        (Returned(0, "NF_DROP", 1), 0, "NF_DROP"),
    ],
)
def test_returns(returned: Returned, number: int | str | None, name: str | None) -> None:
    view = View(returns=True)
    entry, left = lines([event(depth=2), event(depth=2, returned=returned)], view)
    assert (entry["type"], left["type"]) == ("event", "return")
    assert (entry["depth"], entry["returned"], entry["duration_ns"]) == (2, None, None)
    assert (left["returned"], left["returned_name"]) == (number, name)
    assert left["duration_ns"] == returned.duration_ns
    VALIDATOR.validate(entry)
    VALIDATOR.validate(left)
    del left["duration_ns"]
    assert not VALIDATOR.is_valid(left)


def test_what_a_session_asks_for() -> None:
    view = View(caller=True, tunnel=True, cb=True, sk_buff=True, shared_info=True, conntrack=True)
    entry = Conntrack(CtState.NEW, False, ("dnat",), 7, 0, "SYN_SENT", TCP4, TCP6)
    told = event(caller=STACK[1], tunnel=TCP4, tunnel_flags=2, cb=(1, 2), sk_buff=SKB,
                 conntrack=entry)  # fmt: skip
    line, unknown = lines([told, event(cb=(0, 0))], view)
    VALIDATOR.validate(line)
    VALIDATOR.validate(unknown)
    assert line["caller_func"] == "ipt_do_table+0x1f [ip_tables]"
    assert (line["tunnel_tuple"]["dport"], line["tunnel_tuple"]["flags"]) == (80, "SYN")
    assert (line["cb"], line["sk_buff"]) == ([1, 2], {"len": 60, "cloned": 1, "mark": 0})
    assert unknown["caller_func"] is unknown["tunnel_tuple"] is unknown["sk_buff"] is None
    assert unknown["cb"] == [0, 0]
    assert unknown["conntrack"] is None
    assert (line["conntrack"]["state"], line["conntrack"]["direction"]) == ("new", "original")
    assert line["conntrack"]["original"]["dport"] == 80
    for state in (CtState.NONE, CtState.INVALID, CtState.UNTRACKED, CtState.TEMPLATE):
        (line,) = lines([event(conntrack=Conntrack(state))], view)
        VALIDATOR.validate(line)


def test_zeros_are_kept_and_none_is_null() -> None:
    line = lines([event(cpu=0, pid=0, len=0, tuple=ARP, reason=0)])[0]
    assert (line["cpu"], line["pid"], line["mark"], line["len"]) == (0, 0, 0, 0)
    assert (line["tuple"]["sport"], line["tuple"]["proto"]) == (0, None)
    assert (line["drop_reason"], line["drop_reason_code"]) == (None, 0)
    assert lines([event()])[0]["drop_reason_code"] is None


@pytest.mark.parametrize(
    ("packet", "more"),
    [
        (TCP4, {}),
        (PING, {"icmp": {"type": 8, "name": "echo request", "id": 77, "seq": 1}}),
        (PING6, {"icmp": {"type": 129, "name": "echo reply", "id": 77, "seq": 1}}),
        (UNREACHABLE, {"icmp": {"type": 3, "name": "unreachable", "id": None, "seq": None}}),
        (
            PING6._replace(icmp=Icmp(200)),
            {"icmp": {"type": 200, "name": None, "id": None, "seq": None}},
        ),
        (FRAGMENT, {"fragment": True}),
        (ARP._replace(saddr="", daddr="", label="mpls 100"), {"label": "mpls 100"}),
        (ARP._replace(arp=2), {"arp": {"operation": 2, "name": "reply"}}),
    ],
)
def test_icmp_and_fragments(packet: Tuple, more: dict[str, Any]) -> None:
    (line,) = lines([event(tuple=packet)])
    VALIDATOR.validate(line)
    usual = {"saddr", "daddr", "sport", "dport", "proto", "flags"}
    assert {key: value for key, value in line["tuple"].items() if key not in usual} == more
    known = SCHEMA["$defs"]["event"]["properties"]["tuple"]["properties"]
    assert set(line["tuple"]) <= set(known)
    assert set(more.get("icmp", {})) <= set(known["icmp"]["properties"])
    if packet.icmp:
        assert (line["tuple"]["sport"], line["tuple"]["dport"]) == (0, 0)


@pytest.mark.parametrize("mode", [Timestamp.NONE, Timestamp.ABSOLUTE])
def test_time_is_rfc_3339_with_nanoseconds(mode: Timestamp) -> None:
    (line,) = lines([event()], View(timestamp=mode))
    assert line["time"] == "2026-11-20T09:23:46.123456789+00:00"
    assert (line["time_ns"], line["ts_ns"]) == (1_795_166_626_123_456_789, 1_000_000_500)


def test_time_by_another_clock() -> None:
    batch = [event(), event(ts_ns=1_000_000_700)]
    for mode, expected in [("epoch", 1_795_166_626_123_456_789), ("delta", 200), ("elapsed", 200)]:
        assert lines(batch, View(timestamp=Timestamp(mode)))[1]["time"] == expected


LOST = {"buffer_full": 120, "track_full": 0, "recursion": 7, "recursion_whole": True}


def test_losses_when_they_rise_and_the_summary() -> None:
    stream, now = io.StringIO(), [0.0]
    sink = json_sink(stream, VIEW, clock=lambda: now[0])
    for now[0], losses in [(0, Losses()), (1, LOSSES), (5, LOSSES), (9, Losses(120, 0, 8))]:
        sink.losses(losses)
    sink.progress(1, 2)
    sink.finish(SUMMARY)
    first, second, last = map(json.loads, stream.getvalue().splitlines())
    assert first == {"type": "lost", **LOST}
    assert second["recursion"] == 8
    assert (last["type"], last["schema"]) == ("summary", SCHEMA_VERSION)
    assert last["losses"] == LOST
    assert last["drops"] == SUMMARY.drops
    for record in (first, second, last):
        VALIDATOR.validate(record)


WORD = st.text(max_size=8)
U32 = st.integers(0, 2**32 - 1)
U64 = st.integers(0, 2**64 - 1)
PORT = st.integers(0, 65535)
ICMPS = st.none() | st.builds(
    Icmp,
    st.sampled_from([3, 8, 77]),
    st.none() | PORT,
    st.none() | PORT,
    st.none() | st.integers(1, 2**32 - 1),
)
PROTOS = st.sampled_from([-1, 1, 6, 17, 58])
LABEL = st.sampled_from(["", "mpls 16"])
BOOL = st.booleans()
ARPS = st.sampled_from([0, 1, 2, 8])
TUPLES = st.builds(Tuple, WORD, WORD, PORT, PORT, PROTOS, BOOL, ICMPS, BOOL, LABEL, ARPS)
FRAMES = st.lists(st.builds(Frame, U64, WORD, U32, WORD), max_size=3).map(tuple)
EVENTS = st.builds(
    Event, skb=U64, cpu=st.integers(0, 3), pid=U32, comm=WORD,
    context=st.sampled_from(Context), func=WORD, module=WORD, addr=U64, ts_ns=U64, wall_ns=U64,
    netns=U32, mark=U32, ifindex=U32, ifname=WORD, proto=PORT, mtu=U32, len=U32,
    tuple=st.none() | TUPLES, tcp_flags=st.integers(0, 255), reason=st.integers(-1, 300),
    reason_name=WORD, stack=FRAMES, drop=st.booleans(),
    location=st.none() | st.builds(Frame, U64, WORD, U32, WORD),
    packet=U64, parent=st.none() | U64,
)  # fmt: skip


@settings(max_examples=60)
@given(st.lists(EVENTS, min_size=1, max_size=4))
def test_lines_made_of_kept_pieces_equal_the_plain_way(batch: list[Event]) -> None:
    view = View(stack=True, timestamp=Timestamp.CURRENT)
    batch = batch + batch[::-1]
    shown = lines(batch, view)
    assert shown == [expected(one) for one in batch]
    for line in shown:
        VALIDATOR.validate(line)


def test_what_dropped_a_packet_is_an_object() -> None:
    said = Verdict("inet", "flt", "in", "INPUT", "DROP", 3, 8, "ACCEPT")
    dropped = drop(dropped_by=DroppedBy(said, 8, "in", 'udp dport 9 drop comment "x"'))
    by, none = lines([dropped, event()], replace(VIEW, rules=True))
    assert by["verdict"] == {
        "family": "inet", "table": "flt", "chain": "in", "hook": "INPUT", "verdict": "DROP",
        "table_handle": 3, "rule": 8, "tool": "", "policy": "ACCEPT", "rule_chain": "in",
        "rule_text": 'udp dport 9 drop comment "x"', "by_policy": False,
    }  # fmt: skip
    assert none["verdict"] is None
    assert "verdict" not in lines([dropped])[0]
