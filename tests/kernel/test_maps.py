# SPDX-License-Identifier: Apache-2.0
"""``--output-bpfmap``, ``--filter-track-bpf-helpers``: what BPF programs work on and call."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from tests.kernel.lab import PWRU, Lab, Trace

_SOURCE = Path(__file__).parent / "inside" / "maps.bpf.c"
_BUILD = """
set -e
cd /tmp
clang -O2 -g -target bpf -I/usr/include/x86_64-linux-gnu -c maps.c -o maps.o
modprobe -a cls_bpf sch_ingress
tc -n a qdisc add dev eth0 clsact
tc -n a filter add dev eth0 egress bpf da obj maps.o sec tc/maps
"""
_CLEAN = "tc -n a qdisc del dev eth0 clsact"
_KEY, _VALUE, _NETWORK, _PUSHED = "07000000", "1122334455667788", "0800000007000000", "11223344"


def _told(records: list[dict[str, Any]], kind: str, name: str) -> list[tuple[str, Any, Any]]:
    """(function, key, value) of a map's events, or of its returns."""
    return [
        (each["func"], each["bpf_map"]["key"], each["bpf_map"]["value"])
        for each in records
        if each["type"] == kind and each["bpf_map"] and each["bpf_map"]["name"] == name
    ]


def _check_helpers(trace: Trace) -> None:
    """The program reads a byte of each packet: of those that match it is told, of others not."""
    assert all(event["tuple"]["icmp"]["type"] == 8 for event in trace.events)
    read = [event for event in trace.events if event["func"] == "bpf_skb_load_bytes"]
    assert len(read) == 2, "each once"
    assert len({event["packet"] for event in read}) == 2
    assert all(event["inside"] for event in read)
    functions = {event["func"] for event in trace.events if event["inside"]}
    assert all(each.startswith("bpf_") for each in functions), functions


@pytest.mark.representative("5.10", "newest")
def test_what_a_program_asks_and_finds(lab: Lab) -> None:
    lab.guest.write_file("/tmp/maps.c", _SOURCE.read_bytes())
    made = lab.run(_BUILD)
    assert made.rc == 0, made.stderr
    runs = ("--filter-func", "tcf_classify|cls_bpf_classify|dev_queue_xmit.*", "icmp[0] == 8")
    try:
        with lab.tracing("--output-bpfmap", *runs) as tracing:
            # The program works on its maps for the others, too.
            lab.inside("a", "ping -m7 -c1 -W5 10.1.0.2; ping -m8 -6 -c1 -W5 fd00:1::2")
            lab.inside("a", "ping -m7 -c1 -W5 10.1.0.2")
        with lab.tracing("--filter-track-bpf-helpers", *runs) as helpers:
            lab.inside("a", "ping -c2 -i0.2 -W5 10.1.0.2; ping -6 -c1 -W5 fd00:1::2")
    finally:
        lab.run(_CLEAN)
    assert tracing.trace is not None
    assert helpers.trace is not None
    _check_helpers(helpers.trace)
    records = [each for each in tracing.trace.records if each["type"] in ("event", "return")]
    assert all(each["tuple"]["icmp"]["type"] == 8 for each in records)
    assert not any(each["bpf_map"] for each in records if not each["inside"])
    entered, returned = (_told(records, kind, "services") for kind in ("event", "return"))
    lookup = entered[0][0]
    assert lookup in ("__htab_map_lookup_elem", "htab_map_lookup_elem")
    update = ("htab_map_update_elem", _KEY, _VALUE)
    assert entered == [(lookup, _KEY, None), update, (lookup, _KEY, None)]
    assert returned == [(lookup, _KEY, None), update, (lookup, _KEY, _VALUE)]
    known = [each for each in records if each["bpf_map"]]
    sizes = {each["bpf_map"]["name"]: each["bpf_map"]["key_size"] for each in known}
    hashes, others = {"services": 4, "large_ones": 4}, {"networks": 8, "waiting": 0}
    hidden = lab.kernel == "newest"  # ftrace has no tries and no queues there
    assert sizes == (hashes if hidden else hashes | others)
    assert len({each["bpf_map"]["id"] for each in known}) == len(sizes)
    large = _told(records, "return", "large_ones")
    assert {key for _func, key, _value in large} == {_KEY}
    for verb, kept in (("update", "00" * 512), ("lookup", "00" * 512), ("delete", None)):
        values = [value for func, _key, value in large if f"_{verb}_elem" in func]
        assert values.count(kept) == len(values) >= 2, (verb, large)
    assert {each["bpf_map"]["value_size"] for each in known if "percpu" in each["func"]} == {600}
    if hidden:
        listed = lab.run(f"{PWRU} --output-bpfmap --filter-func ip_rcv --list-funcs").stdout
        assert re.search(r"^trie_lookup_elem .* skipped: not in ", listed, re.MULTILINE)
        return
    networks = _told(records, "return", "networks")
    found = [value for func, _key, value in networks if func == "trie_lookup_elem"]
    assert found == [None, _PUSHED]
    assert {key for _func, key, _value in networks} == {_NETWORK}
    queue = [(func, value) for func, _key, value in _told(records, "return", "waiting")]
    assert queue == [("queue_stack_map_push_elem", _PUSHED), ("queue_map_pop_elem", _PUSHED)] * 2
