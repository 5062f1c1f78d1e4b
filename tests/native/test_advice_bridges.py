# SPDX-License-Identifier: Apache-2.0
"""``--advice`` at bridges and in forwarding tables (FDB): r bridges between a and b."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.kernel.lab import Trace
from tests.native.net import Net
from tests.native.test_advice import Said, advising, changed, facts, first

PEER, BEHIND_E1, NOBODY = "02:00:00:00:02:02", "02:00:00:00:00:33", "02:00:00:00:00:44"
_BRIDGE = """
set -e
ip link add br9 type bridge; ip link set br9 up; ip addr add 10.88.0.254/24 dev br9
ip link set e1 master br9; ip link set e2 master br9
bridge fdb replace 02:00:00:00:02:02 dev e2 master static
bridge fdb replace 02:00:00:00:00:33 dev e1 master static"""
_OFF = "ip link set e1 nomaster; ip link set e2 nomaster; ip link del br9"


@pytest.fixture
def bridge(net: Net) -> Iterator[Net]:
    """a is 10.88.0.1, b is .2 behind e2; .3 is behind e1, as a is; .4 is nowhere."""
    macs = {2: PEER, 3: BEHIND_E1, 4: NOBODY}
    known = "".join(
        f"; ip neigh replace 10.88.0.{n} lladdr {mac} dev {{}}" for n, mac in macs.items()
    )
    with (
        changed(net, "r", _BRIDGE + known.format(*["br9"] * 3), _OFF),
        changed(net, "a", "ip addr add 10.88.0.1/24 dev e0" + known.format(*["e0"] * 3),
                "ip addr del 10.88.0.1/24 dev e0; ip neigh flush dev e0 nud permanent"),
        changed(net, "b", "ip addr add 10.88.0.2/24 dev e3", "ip addr del 10.88.0.2/24 dev e3"),
    ):  # fmt: skip
        yield net


def ping(last: int) -> str:
    return f"ping -c2 -i0.2 -W1 10.88.0.{last}"


def of_bridge(trace: Trace) -> Said:
    """What is said of a drop in a function of the bridge."""
    (said,) = (
        record
        for record in trace.records
        if record["type"] == "advice" and record["function"].startswith(("br_", "__allowed"))
    )
    return dict(said)


def of_ping(net: Net, last: int, change: str = "true", undo: str = "true") -> Said:
    """What is said when a pings, with something changed in r."""
    with changed(net, "r", change, undo), advising(net, "r", "icmp") as traces:
        net.run("a", ping(last), check=False)
    return of_bridge(traces[0])


ISOLATED = "bridge link set dev e1 isolated on; bridge link set dev e2 isolated on"


def test_a_bridge_that_works_drops_nothing(bridge: Net) -> None:
    with advising(bridge, "r", "icmp") as traces:
        bridge.run("a", ping(2))
    assert [r for r in traces[0].records if r["type"] == "advice"] == []


def test_a_target_by_the_same_port_and_one_by_an_isolated_one(bridge: Net) -> None:
    said = of_ping(bridge, 3)
    assert first(said)[0] == "proven"
    assert "lies behind e1, by which it came" in first(said)[1]
    assert facts(said)["hairpin of e1"]["value"] == "off"
    said = of_ping(bridge, 2, ISOLATED)
    assert first(said) == ("proven", "e1 and e2 are isolated ports: none sends to the other")
    assert facts(said)[f"FDB of br9 has {PEER} behind"]["value"] == "e2"
    assert "hairpin" not in str(said)


def test_an_isolated_port_where_nothing_tells_the_target_s_mac(bridge: Net) -> None:
    said = of_ping(bridge, 2, f"{ISOLATED}; ip neigh flush dev br9 nud permanent")
    assert first(said)[0] == "likely"
    assert "isolated" in first(said)[1]


def test_a_target_that_nobody_knows_and_no_port_takes(bridge: Net) -> None:
    said = of_ping(bridge, 4, "bridge link set dev e2 flood off")
    told = said["reason"] == "NO_TX_TARGET"
    assert first(said)[0] == ("proven" if told else "likely")
    assert "br9 does not know the frame's target, and no other port takes" in first(said)[1]
    assert facts(said)["e2"]["value"] == "flood off"
    assert "vxlan" not in str(said).lower()


def test_a_port_that_blocks_behind_which_the_target_lies(bridge: Net) -> None:
    said = of_ping(bridge, 2, "bridge link set dev e2 state 0")
    what = "its target lies behind e2, and that port is disabled, not forwarding"
    assert first(said) == ("proven", what)


def test_bridged_packets_that_go_through_iptables(bridge: Net) -> None:
    """The same drop with the same rule is not told so where a bridge has no part in it."""
    table = "nft 'add table ip adv; add chain ip adv f { type filter hook forward priority 0; "
    table += "policy drop; }'"
    name = "net.bridge.bridge-nf-call-iptables"
    gone = f"nft delete table ip adv; sysctl -qw {name}=0"
    with changed(bridge, "r", f"{table}; sysctl -qw {name}=1", gone):
        with advising(bridge, "r", "icmp") as traces:
            bridge.run("a", ping(2), check=False)
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    assert said["reason"] == "NETFILTER_DROP"
    whats = [found["what"] for found in said["findings"]]
    assert "e2 belongs to a bridge, and bridged IPv4 goes through iptables here" in whats
    assert facts(said)[name]["value"] == 1


def test_a_vxlan_device_whose_fdb_has_no_remote(net: Net) -> None:
    make = "ip link add vx9 type vxlan id 77 dstport 4789 local 10.77.1.1 nolearning; "
    make += "ip addr add 10.89.0.1/24 dev vx9; ip link set vx9 up; "
    make += f"ip neigh replace 10.89.0.2 lladdr {NOBODY} dev vx9; "
    other = f"bridge fdb append {PEER} dev vx9 dst 10.77.1.2"
    with changed(net, "r", make + other, "ip link del vx9"):
        with advising(net, "r", "icmp") as traces:
            net.run("r", "ping -c1 -W1 10.89.0.2", check=False)
    (said,) = (r for r in traces[0].records if r["type"] == "advice")
    assert said["reason"] == "NO_TX_TARGET"
    assert first(said) == ("proven", "vx9 knows no remote for the frame's target")
    assert facts(said)[f"remote of {NOBODY} in the FDB of vx9"]["value"] == "none"
    assert facts(said)["FDB entries"]["value"] == 1
    assert said["findings"][0]["change"].startswith(f"bridge fdb append {NOBODY} dev vx9")
