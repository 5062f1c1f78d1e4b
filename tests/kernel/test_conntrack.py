# SPDX-License-Identifier: Apache-2.0
"""What conntrack knows of packets: ``--output-conntrack``, ``--filter-ct-state``, ``-mark``.

In b a connection to port 7180 is led to 7181 and marked, and UDP to 7182 is not tracked. Segments
to 7183 have a wrong checksum, others of the connection are far from its window: these are dropped.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

RULES = """
table ip ctk {
    chain raw { type filter hook prerouting priority -300; udp dport 7182 notrack; }
    chain pre { type nat hook prerouting priority -100; tcp dport 7180 dnat to 10.1.0.2:7181; }
    chain in {
        type filter hook input priority 0;
        tcp dport 7181 ct state new ct mark set 0x17;
        ct state invalid drop;
    }
}
"""
SERVER = """
import os, socket
s = socket.socket(); s.setsockopt(1, 2, 1); s.bind(("10.1.0.2", 7181)); s.listen()
if not os.fork():
    os.closerange(0, 3); s.settimeout(60); c, _ = s.accept(); c.recv(9); c.sendall(b"y")
"""
# The others come to where the bad ones were in memory: what was said of those is forgotten. Some
# are no more than none, as the kernel skips a probe that comes within another one.
BAD = 8
MOST = BAD // 2
CLIENT = f"""
import socket, struct
def segment(source, target, seq, right):
    head = struct.pack(">HHIIBBHHH", source, target, seq, 1, 0x50, 16, 99, 0, 0)
    ends = socket.inet_aton("10.1.0.1") + socket.inet_aton("10.1.0.2")
    total = sum(struct.unpack(">16H", ends + struct.pack(">HH", 6, 20) + head))
    total = (total >> 16) + (total & 0xffff)
    checksum = ~(total + (total >> 16)) & 0xffff if right else 0x1234
    raw.sendto(head[:16] + struct.pack(">H", checksum) + head[18:], ("10.1.0.2", 0))
raw, seen = socket.socket(2, 3, 6), socket.socket(17, 2, socket.htons(3))
for n in range({BAD}):
    segment(7184, 7183, 1, False)
c = socket.create_connection(("10.1.0.2", 7180), 9); c.sendall(b"x"); c.recv(1)
source, target, seq = 0, 0, 0
while target != 7180:
    source, target, seq = struct.unpack(">HHI", seen.recv(99)[20:28])
for n in range({BAD}):
    segment(source, target, seq + 0x20000000 & 0xffffffff, True)
c.close()
socket.socket(2, 2).sendto(b"x", ("10.1.0.2", 7182))
"""
FEW = ("--filter-func", "ip_rcv|ip_local_deliver|ip_output|tcp_v4_rcv|udp_rcv|kfree_skbmem")
PACKETS = "tcp portrange 7180-7183 or udp port 7182"
TRACERS = {
    "all": FEW,
    "mark": (*FEW, "--filter-ct-mark", "0x7/0xf", "--filter-track-skb"),
    "drops": ("--drops", "--rules", "--filter-ct-state", "INVALID"),
}


@pytest.fixture(scope="module")
def traces(lab: Lab) -> Iterator[dict[str, Trace]]:
    done = lab.inside("b", f"modprobe nf_conntrack; nft '{RULES}'")
    assert done.rc == 0, done.stderr
    common = ("--output-json", "--output-conntrack")
    try:
        running = {
            name: lab.start(*common, "--ready-file", f"/tmp/ctk-{name}", *arguments, PACKETS)
            for name, arguments in TRACERS.items()
        }
        for name in running:  # they start at once, which saves ten seconds
            lab.guest.wait_file(f"/tmp/ctk-{name}", 120)
        lab.inside("b", f"python3 -ISc '{SERVER}'")
        done = lab.inside("a", f"python3 -ISc '{CLIENT}'; sleep 1")
        assert done.rc == 0, done.stderr
        yield {name: tracing.finish() for name, tracing in running.items()}
    finally:
        lab.inside("b", "nft delete table ip ctk; rm -f /tmp/ctk-*")


def at(lab: Lab, trace: Trace, func: str, port: int) -> list[dict[str, Any]]:
    """What conntrack knew of packets to or from a port in b, in their order."""
    return [
        event["conntrack"]
        for event in trace.events
        if event["func"] == func
        and event["netns"] == lab.inode("b")
        and port in (event["tuple"]["sport"], event["tuple"]["dport"])
    ]


def test_a_connection_that_is_translated(lab: Lab, traces: dict[str, Trace]) -> None:
    """NEW, then ESTABLISHED; the answer's direction; both tuples; what the rule has marked."""
    trace = traces["all"]
    assert {ct["state"] for ct in at(lab, trace, "ip_rcv", 7180)} == {"none"}
    syn, *rest = at(lab, trace, "ip_local_deliver", 7181)
    assert (syn["state"], syn["direction"], syn["tcp_state"]) == ("new", "original", "SYN_SENT")
    assert (syn["mark"], syn["zone"], syn["why"]) == (0, 0, None)
    assert "dnat" in syn["status"]
    assert "confirmed" not in syn["status"]
    original, answer = syn["original"], syn["answer"]
    assert (original["saddr"], original["daddr"]) == ("10.1.0.1", "10.1.0.2")
    assert (original["dport"], original["proto"]) == (7180, 6)
    assert (answer["saddr"], answer["sport"]) == ("10.1.0.2", 7181)
    assert (answer["daddr"], answer["dport"]) == ("10.1.0.1", original["sport"])
    assert {(ct["state"], ct["direction"]) for ct in rest} == {("established", "original")}
    assert rest[0]["tcp_state"] == "ESTABLISHED"
    assert {"seen-reply", "assured", "confirmed", "dnat"} <= {*rest[0]["status"]}
    assert {ct["mark"] for ct in rest} == {0x17}
    first, *_ = answers = at(lab, trace, "ip_output", 7181) or at(lab, trace, "ip_output", 7180)
    assert {(ct["state"], ct["direction"]) for ct in answers} == {("established", "reply")}
    assert (first["tcp_state"], first["mark"]) == ("SYN_RECV", 0x17)
    assert (first["original"], first["answer"]) == (original, answer)


def test_untracked_and_invalid_are_told_from_what_has_no_entry_yet(
    lab: Lab, traces: dict[str, Trace]
) -> None:
    trace = traces["all"]
    bad, untracked = (at(lab, trace, "ip_local_deliver", port) for port in (7183, 7182))
    assert [(ct["state"], ct["why"]) for ct in untracked] == [("untracked", None)]
    invalid = [ct for ct in bad if ct["state"] != "none"]
    assert len(invalid) >= MOST
    assert {(ct["state"], ct["why"]) for ct in invalid} == {("invalid", "bad checksum")}
    for ct in (*invalid, *untracked):
        assert (ct["direction"], ct["original"], ct["status"]) == (None, None, [])
    before = [ct for port in (7180, 7182, 7183) for ct in at(lab, trace, "ip_rcv", port)]
    assert len(before) >= 2 * MOST
    assert {(ct["state"], ct["why"]) for ct in before} == {("none", None)}
    freed = [e["conntrack"] for e in trace.events if e["func"] == "kfree_skbmem"]
    assert freed
    assert {*freed} == {None}, "the entry is given back by then"


def test_filters(lab: Lab, traces: dict[str, Trace]) -> None:
    """What matches is what is shown; what is followed is shown further on."""
    drops = traces["drops"].events
    whys: dict[int, list[str]] = {7180: [], 7183: []}
    for drop in drops:
        assert (drop["conntrack"]["state"], drop["netns"]) == ("invalid", lab.inode("b"))
        whys[drop["tuple"]["dport"]].append(drop["conntrack"]["why"])
    assert min(map(len, whys.values())) >= MOST
    rules = {drop["verdict"]["rule_text"] for drop in drops if drop["verdict"]}
    assert "ct state invalid drop" in rules
    assert {*whys[7183]} == {"bad checksum"}
    (why,) = {*whys[7180]}
    assert why.startswith("SEQ is over")
    assert why.endswith("bound (over the window of the receiver)")
    trace = traces["mark"]
    assert not at(lab, trace, "ip_rcv", 7180), "they have no entry yet"
    marked = [*at(lab, trace, "ip_local_deliver", 7181), *at(lab, trace, "tcp_v4_rcv", 7181)]
    assert {(ct["mark"], ct["state"]) for ct in marked} == {(0x17, "new"), (0x17, "established")}
    assert {7182, 7183}.isdisjoint(event["tuple"]["dport"] for event in trace.events)
    assert "kfree_skbmem" in trace.functions, "it is followed to its end"
    for trace in traces.values():
        assert trace.rc == 0, trace.stderr
        assert "show as none" not in trace.stderr
