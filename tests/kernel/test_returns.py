# SPDX-License-Identifier: Apache-2.0
"""What functions return, and when: paired with their entries, whatever became of the packet."""

from __future__ import annotations

import re
from typing import Any

import pytest
from jsonschema import Draft202012Validator

from pwru_py.output.schema import schema
from tests.kernel.lab import Lab, Trace

FREES = "kfree_skb|kfree_skb_reason|sk_skb_reason_drop"
FUNCTIONS = (
    "--filter-func",
    f"ip_rcv|ip_local_deliver|nf_hook_slow|{FREES}|kfree_skbmem|dev_hard_start_xmit|ip_output"
    "|ip_route_input_noref",
)
PORT, OTHER = 7990, 7991
SESSIONS = {
    "all": ("--output-json", "--output-return", *FUNCTIONS, f"udp port {PORT}"),
    "errors": ("--output-meta=false", "--filter-return", "== -EPERM", "--transport", "queue",
               *FUNCTIONS, f"udp portrange {PORT}-{OTHER}"),
    "others": ("--output-json", "--filter-return", "== -EINVAL", *FUNCTIONS, f"udp port {PORT}"),
}  # fmt: skip
DROP = f"INPUT -p udp --dport {PORT} -j DROP"


@pytest.fixture(scope="module")
def traces(lab: Lab) -> dict[str, Trace]:
    probes = lab.armed_probes()
    assert lab.inside("b", f"iptables -A {DROP}").rc == 0
    try:
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
        running = {name: lab.listen(*arguments) for name, arguments in SESSIONS.items()}
        for port in (PORT, OTHER):
            assert lab.inside("a", f"echo x > /dev/udp/10.1.0.2/{port}").rc == 0
        found = {name: tracing.finish() for name, tracing in running.items()}
    finally:
        lab.inside("b", f"iptables -D {DROP}")
    assert lab.armed_probes() == probes
    assert "pwru_py" not in lab.run("cat /sys/kernel/tracing/kprobe_events").stdout
    return found


@pytest.fixture
def lines(traces: dict[str, Trace]) -> list[dict[str, Any]]:
    """Events and returns of the dropped packet's session."""
    return [each for each in traces["all"].records if each["type"] in ("event", "return")]


def _of(lines: list[dict[str, Any]], func: str) -> list[dict[str, Any]]:
    return [each for each in lines if each["type"] == "return" and each["func"] == func]


@pytest.mark.parametrize("name", SESSIONS)
def test_every_session_ends_well(traces: dict[str, Trace], name: str) -> None:
    assert traces[name].rc == 0, traces[name].stderr
    said = [line for line in traces[name].stderr.splitlines() if line.startswith("pwru-py:")]
    assert all("fentry-multi sees entries alone" in line for line in said)


def test_schema_and_account(traces: dict[str, Trace]) -> None:
    validator = Draft202012Validator(schema())
    for record in traces["all"].records:
        validator.validate(record)
    assert traces["all"].summary["unreturned"] == 0
    assert traces["all"].summary["losses"]["buffer_full"] == 0


def test_each_return_has_its_entry(lines: list[dict[str, Any]]) -> None:
    entries = {(e["func"], e["ts_ns"]): (n, e) for n, e in enumerate(lines) if e["type"] == "event"}
    returns = [(n, e) for n, e in enumerate(lines) if e["type"] == "return"]
    assert returns
    for number, each in returns:
        assert each["duration_ns"] > 0
        before, entry = entries.pop((each["func"], each["ts_ns"] - each["duration_ns"]))
        assert before < number
        for key in ("packet", "skb", "depth", "pid", "tuple", "iface", "len"):
            assert each[key] == entry[key], key
        assert all(inner["depth"] > each["depth"] for inner in lines[before + 1 : number])
    # Who frees the packet is told by where that function returns to, so its return is left alone.
    left = {func for func, _ in entries} - {"skb:kfree_skb"}
    assert left <= set(FREES.split("|"))
    assert left


def test_what_dropped_it(lab: Lab, lines: list[dict[str, Any]]) -> None:
    """The hook's return is the cause, and the free lies within it."""
    refused = [each for each in _of(lines, "nf_hook_slow") if each["returned"] == -1]
    assert [each["returned_name"] for each in refused] == ["-EPERM"]
    (drop,) = [each for each in lines if each["func"] == "skb:kfree_skb"]
    assert re.match(r"(nf_hook_slow|nft_do_chain)\+", drop["location"])
    assert drop["depth"] > refused[0]["depth"]
    assert drop["packet"] == refused[0]["packet"]
    assert lines.index(drop) < lines.index(refused[0])
    assert -1 in [each["returned"] for each in _of(lines, "ip_rcv")]


def test_types(lab: Lab, lines: list[dict[str, Any]]) -> None:
    for each in _of(lines, "kfree_skbmem"):
        assert (each["returned"], each["returned_name"]) == (None, None)
    for each in _of(lines, "dev_hard_start_xmit"):
        assert (each["returned"], each["returned_name"]) == (0, "NULL")
    for each in _of(lines, "ip_route_input_noref"):
        name = "NOT_DROPPED_YET" if lab.kernel == "newest" else None
        assert (each["returned"], each["returned_name"]) == (0, name)
    for func in ("kfree_skbmem", "dev_hard_start_xmit", "ip_route_input_noref"):
        assert _of(lines, func)


def test_filter(traces: dict[str, Trace]) -> None:
    _header, *rows = traces["errors"].stdout.splitlines()
    assert rows
    for row in rows:
        assert re.search(rf":{PORT}\(udp\) +← \w+ = -EPERM  [0-9.]+ (ns|µs|ms|s)$", row), row
    assert any("← nf_hook_slow = " in row for row in rows)
    assert traces["others"].events == []
    assert traces["others"].summary["events"] == 0


@pytest.mark.kernels("newest")  # the others return no reason
def test_the_cause_is_returned_before_the_packet_is_freed(lab: Lab) -> None:
    source = "10.99.0.1"
    lab.inside("a", f"ip addr add {source}/32 dev lo")
    lab.inside("b", "sysctl -qw net.ipv4.conf.eth0.rp_filter=1")
    functions = ("--filter-func", f"ip_route_input_noref|{FREES}")
    try:
        lab.inside("a", "ping -c1 -W5 10.1.0.2")
        with lab.tracing("--output-return", *functions, f"icmp and src host {source}") as tracing:
            lab.inside("a", f"ping -c1 -W1 -I {source} 10.1.0.2")
    finally:
        lab.inside("a", f"ip addr del {source}/32 dev lo")
        lab.inside("b", "sysctl -qw net.ipv4.conf.eth0.rp_filter=0")
    assert tracing.trace is not None
    lines = [each for each in tracing.trace.records if each["type"] in ("event", "return")]
    (refused,) = _of(lines, "ip_route_input_noref")
    assert refused["returned_name"] == "IP_RPFILTER"
    (drop,) = (each for each in lines if each["drop"])
    assert (drop["func"], drop["drop_reason"]) == ("skb:kfree_skb", "IP_RPFILTER")
    assert lines.index(refused) < lines.index(drop)
