# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pwru_py.facts.dropping_chains import dropping
from pwru_py.facts.proc_counters import all_of

TEXTS = {
    "snmp": "Ip: Forwarding InHdrErrors\nIp: 1 7\nUdp: NoPorts\nUdp: 3\n",
    "netstat": "TcpExt: ListenOverflows IPReversePathFilter\nTcpExt: 2 5\n",
    "snmp6": "Ip6InHdrErrors                  \t9\n",
    "xfrm_stat": "XfrmInNoPols                \t4\n",
    # A kernel of 13 columns and two CPUs; before 2.6.36 there were nine.
    "softnet_stat": "0000000a 00000002 00000003 " + "0 " * 7 + "00000001 00000000 00000000\n"
    "0000000a 00000010 00000000 " + "0 " * 7 + "00000000 00000000 00000001\n",
    "sockstat": "sockets: used 9\nUDP: inuse 1 mem 6\nFRAG: inuse 0 memory 77\n",
    "dev": "Inter-| Receive\n face |bytes\n"
    "  eth0: 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16\n a:b: 0 0 0 0 0 0 0 0 0 0 0 1 0 0 0 0\n",
    "stat/nf_conntrack": "entries drop\n0000000a 00000001\n0000000a 00000002\n",
    "stat/arp_cache": "entries table_fulls\n00000007 00000001\n00000007 00000001\n",
}


def test_counters_have_their_names() -> None:
    found = all_of(TEXTS)
    expected = {
        "Ip.InHdrErrors": 7,
        "Udp.NoPorts": 3,
        "TcpExt.ListenOverflows": 2,
        "TcpExt.IPReversePathFilter": 5,
        "Ip6InHdrErrors": 9,
        "xfrm.XfrmInNoPols": 4,
        "softnet.dropped": 18,
        "softnet.time_squeeze": 3,
        "softnet.flow_limit": 1,
        "sockstat.UDP.mem": 6,
        "sockstat.FRAG.memory": 77,
        "dev.eth0.rx_errors": 3,
        "dev.eth0.rx_dropped": 4,
        "dev.eth0.tx_errors": 11,
        "dev.eth0.tx_dropped": 12,
        "dev.a:b.tx_dropped": 1,
        "conntrack.entries": 10,
        "conntrack.drop": 3,
        "arp_cache.entries": 7,
        "arp_cache.table_fulls": 2,
    }
    assert {name: found[name] for name in expected} == expected


def test_files_that_are_not_there_are_left_out() -> None:
    assert all_of({}) == {}
    assert all_of({"dev": "", "snmp": "", "stat/nf_conntrack": ""}) == {}


def rule(chain: str, handle: int, *expressions: dict[str, object]) -> dict[str, object]:
    own = {"family": "ip", "table": "t", "chain": chain, "handle": handle, "expr": [*expressions]}
    return {"rule": own}


def test_chains_that_can_drop() -> None:
    base = {"family": "ip", "table": "t", "policy": "drop"}
    found = dropping(
        [
            {"metainfo": {}},
            {"chain": base | {"name": "policed"}},
            {"chain": base | {"name": "open", "policy": "accept"}},
            rule("open", 3, {"accept": None}),
            rule("a", 4, {"counter": {"packets": 5, "bytes": 9}}, {"drop": None}),
            rule("a", 5, {"counter": {"packets": 2, "bytes": 9}}, {"reject": {}}),
            rule("b", 6, {"match": {"right": ["invalid"]}}, {"counter": None}, {"drop": None}),
        ]
    )
    rows = [(chain["chain"], chain["drops"], chain["packets"]) for chain in found]
    assert rows == [("policed", "policy drop", 0), ("a", "rule 4", 7), ("b", "rule 6 invalid", 0)]
