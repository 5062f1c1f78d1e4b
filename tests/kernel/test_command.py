# SPDX-License-Identifier: Apache-2.0
"""``--exec`` on every kernel: a command's packets and the answers to them, and no others."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from tests.kernel.lab import FEW_FUNCTIONS, PWRU, Lab
from tests.kernel.test_journey import BACK, BRIDGED, way

pytestmark = pytest.mark.representative("6.1")


def run(lab: Lab, *words: str, status: int = 0) -> list[dict[str, Any]]:
    """What is shown, while another process in a pings b all the time."""
    other = lab.guest.start("exec ip netns exec a ping -i 0.2 10.1.0.2")
    try:
        done = lab.guest.run(shlex.join([PWRU, "--output-json", *words]), check=False, timeout=120)
    finally:
        other.stop()
    assert done.rc == status, done.stderr
    return [r for r in map(json.loads, done.stdout.splitlines()) if r["type"] != "summary"]


def icmp(record: dict[str, Any]) -> dict[str, Any]:
    """Nothing of ARP."""
    found: dict[str, Any] = record["tuple"].get("icmp", {})
    return found


def test_a_ping_among_others(lab: Lab) -> None:
    for host, kinds in (("10.1.0.2", [8, 0]), ("fd00:1::2", [128, 129])):
        found = run(lab, "--journey", "--exec", f"ip netns exec a ping -c1 -W5 {host}")
        pings = [j for j in found if icmp(j).get("type") in kinds]
        pings.sort(key=lambda j: j["begin_ns"])
        assert [icmp(j)["type"] for j in pings] == kinds
        assert [way(j) for j in pings] == [BRIDGED, BACK]
        assert icmp(pings[0])["id"] == icmp(pings[1])["id"]
        others = [j for j in found if j not in pings]
        assert all(icmp(j).get("type", 135) in (135, 136) for j in others), "neighbours are asked"


def test_functions_of_a_refused_datagram(lab: Lab) -> None:
    """The ICMP error, which quotes it, belongs to it."""
    send = "ip netns exec a bash -c 'echo x > /dev/udp/10.1.0.2/7011'"
    found = run(lab, "--filter-func", FEW_FUNCTIONS, "--exec", send)
    tuples = [e["tuple"] for e in found if e["type"] == "event" and e["tuple"]]
    assert {t["dport"] for t in tuples if t["proto"] == 17} == {7011}
    errors = [t for t in tuples if t["proto"] == 1]
    assert {(t["saddr"], t["icmp"]["type"]) for t in errors} == {("10.1.0.2", 3)}
    run(lab, "--journey", "--exec", "sh -c 'exit 7'", status=7)
