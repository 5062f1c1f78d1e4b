# SPDX-License-Identifier: Apache-2.0
"""Filters by namespace, interface, mark and expression: one packet in, one out; transports."""

from __future__ import annotations

import signal

import pytest

from tests.kernel.lab import Lab, Trace

SELECTIONS = {
    "netns": ("--filter-netns", "b", "icmp"),
    "ifname": ("--filter-netns", "/run/netns/a", "-i", "eth0", "icmp"),
    "own-ifname": ("-i", "vb-by-its-alternative-name", "icmp"),
    "mark": ("--filter-mark", "0x70/0xf0", "icmp"),
    "no-match": ("--kmods", "ipv6", "host", "203.0.113.77"),
    "mac": ("ether", "host", "02:00:00:00:00:01"),
    "none": ("icmp",),
}


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    """All selections watch the same pings: two with mark 0x75, two with 0x85 and from b."""
    lab.inside("a", "ping -c1 -W5 10.1.0.2")
    lab.run("ip link property add dev vb altname vb-by-its-alternative-name")
    running = {}
    for name, arguments in SELECTIONS.items():
        running[name] = lab.listen("--output-json", "--filter-func",
                                   "ip_rcv|ip_local_out|__dev_queue_xmit|icmp_rcv|ip_output",
                                   *arguments)  # fmt: skip
    assert lab.inside("a", "ping -m 117 -c2 -i0.2 -W5 10.1.0.2").rc == 0
    assert lab.inside("b", "ping -m 133 -c2 -i0.2 -W5 10.1.0.1").rc == 0
    return {name: tracing.finish() for name, tracing in running.items()}


def test_everything_is_seen_without_selection(lab: Lab, traces: dict[str, Trace]) -> None:
    events = traces["none"].events
    assert {event["netns"] for event in events} >= {lab.inode("a"), lab.inode("b")}
    assert {event["mark"] for event in events} >= {0, 117, 133}


def test_a_filter_for_link_addresses_says_once_where_it_cannot_decide(
    traces: dict[str, Trace],
) -> None:
    said = {name: trace.stderr.count("link addresses") for name, trace in traces.items()}
    assert said == {name: int(name == "mac") for name in SELECTIONS}


def test_a_module_that_is_part_of_the_kernel_is_no_error(traces: dict[str, Trace]) -> None:
    said = "pwru-py: ipv6 is part of this kernel, not a module: its functions are traced without"
    assert [name for name, trace in traces.items() if said in trace.stderr] == ["no-match"]


def test_an_address_that_is_used_again_is_another_packet_in_another_namespace(
    lab: Lab, traces: dict[str, Trace]
) -> None:
    trace = traces["none"]
    packets: dict[int, set[tuple[str, int, int]]] = {}
    for event in trace.events:
        ids = (event["tuple"]["icmp"]["id"], event["tuple"]["icmp"]["seq"])
        packets.setdefault(event["packet"], set()).add((event["tuple"]["saddr"], *ids))
        if event["func"] == "ip_output":  # it has no device yet
            sender = {"10.1.0.1": "a", "10.1.0.2": "b"}[event["tuple"]["saddr"]]
            assert event["netns"] == lab.inode(sender)
    assert {len(tuples) for tuples in packets.values()} == {1}
    assert (trace.summary["packets"], trace.summary["packets_limited"]) == (8, False)
    assert len({event["skb"] for event in trace.events}) < 8


def test_netns(lab: Lab, traces: dict[str, Trace]) -> None:
    assert {event["netns"] for event in traces["netns"].events} == {lab.inode("b")}
    everything = [e for e in traces["none"].events if e["netns"] == lab.inode("b")]
    assert len(traces["netns"].events) == len(everything)


def test_ifname(lab: Lab, traces: dict[str, Trace]) -> None:
    events = traces["ifname"].events
    assert {(event["netns"], event["iface"]) for event in events} == {(lab.inode("a"), "eth0")}
    everything = [
        e for e in traces["none"].events if (e["netns"], e["iface"]) == (lab.inode("a"), "eth0")
    ]
    assert len(events) == len(everything)


def test_ifname_of_the_own_namespace(traces: dict[str, Trace]) -> None:
    assert {event["iface"] for event in traces["own-ifname"].events} == {"vb"}


def test_mark(traces: dict[str, Trace]) -> None:
    assert {event["mark"] for event in traces["mark"].events} == {117}


def test_what_does_not_match_is_not_shown(traces: dict[str, Trace]) -> None:
    assert traces["no-match"].events == []
    assert traces["no-match"].rc == 0


@pytest.mark.parametrize("name", SELECTIONS)
def test_nothing_is_lost(traces: dict[str, Trace], name: str) -> None:
    assert traces[name].rc == 0, traces[name].stderr
    assert traces[name].summary["losses"]["buffer_full"] == 0


@pytest.mark.representative("5.10", "6.12")
def test_queue_gives_what_the_ring_gives(lab: Lab) -> None:
    """Two tracers watch the same packet: the same functions of the same skb, in order."""
    expression = "udp and dst port 7777"
    ring = lab.listen("--output-json", *lab.few, expression)
    queue = lab.listen("--output-json", "--transport", "queue", *lab.few, expression)
    lab.inside("a", "echo x > /dev/udp/10.1.0.2/7777")
    for tracing in (ring, queue):  # together: the address is soon another packet's
        tracing.process.signal(signal.SIGTERM)
    for tracing in (ring, queue):  # a second signal would cut it short
        tracing.process.wait(60)
    traces = [tracing.finish() for tracing in (ring, queue)]
    paths = [[(e["skb"], e["func"], e["tuple"]) for e in trace.events] for trace in traces]
    assert paths[0] == paths[1]
    assert len(paths[0]) > 5
    assert [trace.rc for trace in traces] == [0, 0]


@pytest.mark.representative("5.10")
def test_what_is_remembered_is_what_is_there(lab: Lab) -> None:
    """The list of functions, from the system and from the notes of the start before."""
    listing = "pwru-py --list-funcs --backend kprobe"
    forget = "mkdir -p /var/cache/pwru-py; mount -t tmpfs none /var/cache/pwru-py"
    fresh = lab.run(f"unshare -m bash -c '{forget}; {listing}; ls /var/cache/pwru-py'")
    assert fresh.rc == 0, fresh.stderr
    *lines, first, second = fresh.stdout.splitlines()
    assert first.endswith("-entries.json")
    assert second.endswith("-types.json")
    for _ in range(2):
        assert lab.run(listing).stdout.splitlines() == lines
    hide = "umount /sys/kernel/tracing; mount -t tmpfs none /sys/kernel/debug/tracing"
    remembered = lab.run(f"unshare -m bash -c '{hide}; {listing}'")
    assert remembered.stdout.splitlines() == lines, "no list was read"
