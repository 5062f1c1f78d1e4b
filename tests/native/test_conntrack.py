# SPDX-License-Identifier: Apache-2.0
"""What conntrack knows of packets, natively: in r connections to 10.77.9.9 are led to b; b marks
pings, and drops UDP that is not tracked, and UDP of another zone.
"""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from pwru_py.kernel import system
from tests.kernel.lab import Trace
from tests.native.net import B, Net, serving

ROUTER = """
table ip ctn {
    chain pre {
        type nat hook prerouting priority -100;
        ip daddr 10.77.9.9 tcp dport 7200 dnat to 10.77.2.2:7201;
    }
}
"""
TARGET = """
table ip ctn {
    chain raw {
        type filter hook prerouting priority -300;
        udp dport 7202 notrack; udp dport 7205 ct zone set 5;
    }
    chain in {
        type filter hook input priority 0;
        icmp type echo-request ct mark set 0x17; udp dport { 7202, 7205 } drop;
    }
}
"""
SEND = """
import socket
c = socket.create_connection(("10.77.9.9", 7200), 9); c.sendall(b"x"); c.recv(1); c.close()
for port in (7202, 7205, 7206):
    socket.socket(2, 2).sendto(b"x", ("10.77.2.2", port))
"""
# Else other tests would meet these connections: IPCTNL_MSG_CT_DELETE of all.
FLUSH = """
import socket, struct
s = socket.socket(16, 3, 12)
s.send(struct.pack("=IHHIIBBH", 20, 0x102, 5, 1, 0, 0, 0, 0))
"""
PACKETS = "icmp or tcp portrange 7200-7201 or udp portrange 7202-7206"
SESSIONS = {
    "all": (),
    "new": ("--filter-ct-state", "NEW"),
    "reply": ("--filter-ct-state", "established,RELATED"),
    "dnat": ("--filter-ct-state", "dnat"),
    "untracked": ("--filter-ct-state", "UNTRACKED"),
    "mark": ("--filter-ct-mark", "0x10/0xf0"),
    "other mark": ("--filter-ct-mark", "0"),
    "follow": ("--filter-ct-mark", "0x17", "--filter-track-skb"),
}


@pytest.fixture(scope="module")
def traces(net: Net) -> Iterator[dict[str, Trace]]:
    """The same packets, as each session sees them, and as a journey."""
    net.run("r", f"nft '{ROUTER}'")
    net.run("b", f"nft '{TARGET}'")
    found = {}
    try:
        with ExitStack() as stack:
            running = {
                name: stack.enter_context(net.trace("--output-conntrack", *arguments, PACKETS))
                for name, arguments in SESSIONS.items()
            }
            journey = ("--journey", "--output-json", "--output-conntrack", PACKETS)
            running["journey"] = stack.enter_context(net.tracing(*journey))
            net.python("b", serving(7201, "taken.recv(1); taken.sendall(b'y')"))
            net.python("a", SEND)
            net.run("a", f"ping -c2 -i0.2 -W5 {B}")
        found = {name: trace for name, (trace,) in running.items()}
        yield found
    finally:
        for namespace in "rb":
            net.run(namespace, "nft delete table ip ctn")
            net.python(namespace, FLUSH)


def known(net: Net, trace: Trace, namespace: str, func: str, **tuple_: Any) -> list[dict[str, Any]]:
    """What conntrack knew of packets with these addresses at a tracepoint, in their order."""
    return [
        event["conntrack"]
        for event in trace.events
        if event["func"] == func
        and event["netns"] == net.inode(namespace)
        and all(event["tuple"][name] == value for name, value in tuple_.items())
    ]


def test_states_directions_and_marks(net: Net, traces: dict[str, Trace]) -> None:
    trace = traces["all"]
    assert trace.rc == 0
    took = known(net, trace, "b", "skb:consume_skb", daddr=B, proto=1)
    assert [(ct["state"], ct["direction"], ct["mark"]) for ct in took[:2]] == [
        ("new", "original", 0x17), ("established", "original", 0x17),
    ]  # fmt: skip
    sent = known(net, trace, "b", "net:net_dev_queue", saddr=B, proto=1)
    *errors, first, second = sorted(sent, key=lambda ct: ct["state"] == "established")
    for ct in (first, second):
        assert (ct["state"], ct["direction"], ct["tcp_state"]) == ("established", "reply", None)
    (error,) = errors
    assert (error["state"], error["direction"]) == ("related", "reply"), "no socket at 7206"
    assert error["original"]["dport"] == 7206
    came = known(net, trace, "b", "net:netif_receive_skb", daddr=B)
    assert {ct["state"] for ct in came} == {"none"}, "before conntrack"


def test_a_translation_has_both_tuples(net: Net, traces: dict[str, Trace]) -> None:
    trace = traces["all"]
    out = known(net, trace, "r", "net:net_dev_queue", dport=7201)
    states = [(ct["state"], ct["direction"], ct["tcp_state"]) for ct in out[:2]]
    assert states == [("new", "original", "SYN_SENT"), ("established", "original", "ESTABLISHED")]
    back = known(net, trace, "r", "net:net_dev_queue", sport=7200)
    assert (back[0]["direction"], back[0]["tcp_state"]) == ("reply", "SYN_RECV")
    for ct in (*out, *back):
        original, answer = ct["original"], ct["answer"]
        assert (original["daddr"], original["dport"]) == ("10.77.9.9", 7200)
        assert (answer["saddr"], answer["sport"]) == (B, 7201)
        assert original["sport"] == answer["dport"]
        assert "dnat" in ct["status"]
        assert "snat" not in ct["status"]
    assert "assured" in out[-1]["status"]


def test_untracked_and_zones(net: Net, traces: dict[str, Trace]) -> None:
    drops = {
        port: known(net, traces["all"], "b", "skb:kfree_skb", dport=port) for port in (7202, 7205)
    }
    (untracked,), (zone,) = drops[7202], drops[7205]
    assert (untracked["state"], untracked["zone"], untracked["original"]) == (
        "untracked", None, None,
    )  # fmt: skip
    assert (zone["state"], zone["zone"], zone["mark"]) == ("new", 5, 0)
    assert "confirmed" not in zone["status"], "it is dropped before that"


def test_filters_match_what_is_shown(net: Net, traces: dict[str, Trace]) -> None:
    def states(name: str) -> set[tuple[str, str | None]]:
        shown = [event["conntrack"] for event in traces[name].events]
        return {(ct["state"], ct["direction"]) for ct in shown}

    assert states("new") == {("new", "original")}
    assert states("reply") == {
        ("established", "original"), ("established", "reply"), ("related", "reply"),
    }  # fmt: skip
    assert states("untracked") == {("untracked", None)}
    assert all("dnat" in e["conntrack"]["status"] for e in traces["dnat"].events)
    assert {e["netns"] for e in traces["dnat"].events} == {net.inode("r")}
    assert {e["conntrack"]["mark"] for e in traces["mark"].events} == {0x17}
    unmarked = traces["other mark"].events
    assert {e["conntrack"]["mark"] for e in unmarked} == {0}
    ports = {e["tuple"]["dport"] for e in unmarked if e["netns"] == net.inode("b")}
    assert 7205 in ports
    assert 7202 not in ports, "it has no entry there"
    every = [e for e in traces["all"].events if (e["conntrack"] or {}).get("mark") == 0x17]
    assert len(traces["mark"].events) == len(every)


def test_what_is_followed_is_shown_further_on(net: Net, traces: dict[str, Trace]) -> None:
    followed, marked = traces["follow"].events, traces["mark"].events
    assert len(followed) > len(marked)
    assert {e["conntrack"]["state"] for e in followed} > {"established", "none"}
    packets = {e["tuple"]["proto"] for e in followed}
    assert packets == {1}


def test_hops_of_a_journey_that_are_translated(net: Net, traces: dict[str, Trace]) -> None:
    hops = [
        hop
        for journey in traces["journey"].records
        if journey["type"] == "journey"
        for hop in journey["hops"]
        if hop["change"]
    ]
    told = {(hop["change"]["what"], hop["conntrack"]["state"]) for hop in hops}
    assert told == {("nat target", "new"), ("nat target", "established"),
                    ("nat source", "established")}  # fmt: skip
    ends = [record["end"] for record in traces["journey"].records if record["type"] == "journey"]
    dropped = {end["conntrack"]["state"] for end in ends if end["conntrack"]}
    assert dropped == {"untracked", "new", "none"}, "UDP gives its entry back, then has no socket"


def test_what_is_invalid_is_not_known_without_probes() -> None:
    if system.kprobe_pmu() is not None:
        pytest.skip("functions can be probed here")
    command = [sys.executable, "-m", "pwru_py", "--filter-ct-state", "invalid"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "functions cannot be probed here: leave invalid out of --filter-ct-state" in line
