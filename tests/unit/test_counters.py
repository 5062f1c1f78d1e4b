# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pwru_py.facts.counters import SILENT, of_device, parse_netstat, rises, silent
from pwru_py.output.summary import explained_drops
from pwru_py.record.event import Summary

NETSTAT = """\
TcpExt: SyncookiesSent ListenOverflows ListenDrops TCPReqQFullDrop
TcpExt: 1 2 3 4
IpExt: InNoRoutes InOctets
IpExt: 5 6
"""


def test_counters_of_proc() -> None:
    assert parse_netstat(NETSTAT) == {"ListenOverflows": 2, "ListenDrops": 3, "TCPReqQFullDrop": 4}
    assert parse_netstat("") == {}
    assert parse_netstat("Ip: Forwarding OutNoRoutes\nIp: 1 3\n") == {"OutNoRoutes": 3}
    assert of_device("wg0:1", 3, 2, 1) == {
        "wg0:1: receive errors": 3,
        "wg0:1: receive overruns": 2,
        "wg0:1: frames missed": 1,
    }


def test_what_rose() -> None:
    assert rises({"a": 1, "b": 5, "gone": 3}, {"a": 4, "b": 5, "new": 2}) == {"a": 3}


def test_each_counter_has_a_meaning() -> None:
    for name in (*parse_netstat(NETSTAT), *of_device("eth0", 0, 0, 0)):
        assert silent(name).means
        assert silent(name).check
    assert all(entry.source for entry in SILENT.values())


def test_the_account_names_them() -> None:
    lines = explained_drops(Summary(silent={"ListenOverflows": 3}))
    assert lines[0] == "silent: 3  ListenOverflows (no drop to the kernel; of all packets there)"
    assert any(line.startswith("   Compare Recv-Q") for line in lines)
