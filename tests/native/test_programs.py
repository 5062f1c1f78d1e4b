# SPDX-License-Identifier: Apache-2.0
"""BPF programs that cannot be traced: each is named, and all else goes on."""

from __future__ import annotations

import re

import pytest

from tests.native.net import B, Net
from tests.native.test_advice import changed

LOAD = {
    "tc": "tc qdisc add dev e3 clsact; tc filter add dev e3 ingress bpf obj {program} sec tc",
    "xdp": "ip link set dev e3 xdpgeneric obj {program} sec xdp",
}
UNLOAD = {"tc": "tc qdisc del dev e3 clsact", "xdp": "ip link set dev e3 xdpgeneric off"}


@pytest.mark.parametrize("late", [False, True])
@pytest.mark.parametrize("kind", ["tc", "xdp"])
def test_one_without_btf_is_named_and_packets_are_seen(
    net: Net, program: str, kind: str, late: bool
) -> None:
    """``late``: it is loaded while tracing, when most capabilities are given up."""
    load = LOAD[kind].format(program=program)
    with changed(net, "b", "true" if late else load, UNLOAD[kind]):
        with net.trace(f"--filter-trace-{kind}", "icmp") as traces:
            if late:
                net.run("b", load)
            net.run("a", f"ping -c3 -W1 {B} || true")  # programs are looked for each second
    (trace,) = traces
    assert trace.events
    assert all(event["program"] is None for event in trace.events)
    said = rf"the {kind} program {kind}_drop \(id [0-9]+\) is not traced: it has no BTF"
    assert re.search(said, trace.stderr), trace.stderr
