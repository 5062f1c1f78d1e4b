# SPDX-License-Identifier: Apache-2.0
"""``--journey`` on every kernel: across a bridge, to the end that this kernel tells."""

from __future__ import annotations

import re
from typing import Any

import jsonschema
import pytest

from tests.kernel.lab import Lab
from tests.native.test_journey import SCHEMA

pytestmark = pytest.mark.representative("6.1", "newest")

BRIDGED = [("a", "eth0", "out"), ("host", "va", "in"), ("host", "vb", "out"), ("b", "eth0", "in")]
BACK = [("b", "eth0", "out"), ("host", "vb", "in"), ("host", "va", "out"), ("a", "eth0", "in")]


def way(journey: dict[str, Any]) -> list[tuple[str, str, str]]:
    return [(hop["namespace"], hop["iface"], hop["way"]) for hop in journey["hops"]]


def test_a_ping_a_refusal_and_a_connection(lab: Lab) -> None:
    """Hops of IPv4 and IPv6, which answers which, who sent what, and each end."""
    for host in ("10.1.0.2", "fd00:1::2"):  # neighbours, to be known
        lab.inside("a", f"ping -c1 -W5 {host}")
    lab.guest.write_file("/tmp/serve.py", SERVE.encode())
    ours = "icmp or icmp6 or udp portrange 7009-7011 or tcp port 7010"
    ours = f"({ours}) and not (ip6[40] >= 130 and ip6[40] <= 137)"
    with lab.tracing("--journey", "--journey-timeout", "20", ours) as tracing:
        lab.inside("a", "ping -c1 -W5 10.1.0.2; ping -c1 -W5 fd00:1::2; "
                   "echo x > /dev/udp/10.1.0.2/7009; true")  # fmt: skip
        server = lab.guest.start("exec ip netns exec b python3 /tmp/serve.py")
        lab.inside("a", "until echo hello 2>/dev/null > /dev/tcp/10.1.0.2/7010; do sleep 0.2; done;"
                   "echo x > /dev/udp/10.1.0.2/7011; echo x > /dev/udp/fd00:1::2/7011")  # fmt: skip
        server.wait(30)
    trace = tracing.trace
    assert trace is not None
    for record in trace.records:
        jsonschema.validate(record, SCHEMA)
    journeys = [record for record in trace.records if record["type"] == "journey"]
    numbers = [journey["packet"] for journey in journeys]
    assert len(set(numbers)) == len(numbers)

    def with_tuple(**wanted: object) -> list[dict[str, Any]]:
        return [j for j in journeys if j["tuple"] and wanted.items() <= j["tuple"].items()]

    for source, target in (("10.1.0.1", "10.1.0.2"), ("fd00:1::1", "fd00:1::2")):
        (asked,) = [j for j in with_tuple(saddr=source, daddr=target) if "icmp" in j["tuple"]]
        (reply, *_) = [
            j for j in with_tuple(saddr=target, daddr=source)
            if j["tuple"].get("icmp", {}).get("type") in (0, 129)
        ]  # fmt: skip
        assert (way(asked), way(reply)) == (BRIDGED, BACK)
        assert (asked["answered_by"], reply["answers"]) == (reply["packet"], asked["packet"])
        assert asked["process"].startswith("ping:")
        assert reply["process"] is None, "an interrupt came upon ping"
        assert (asked["end"]["how"], asked["end"]["namespace"]) == ("taken", "b")
        assert reply["end"]["how"] == "read"
        assert reply["end"]["by"] == asked["process"]
        assert reply["round_trip_ns"] > 0
    (refused,) = with_tuple(dport=7009)
    assert way(refused) == BRIDGED
    assert refused["end"]["how"] == "dropped"
    assert refused["end"]["reason"] == ("NO_SOCKET" if lab.has_reasons else None)
    for source in ("10.1.0.1", "fd00:1::1"):
        (datagram,) = with_tuple(saddr=source, dport=7011)
        assert way(datagram) == BRIDGED
        end = datagram["end"]
        assert (end["how"], end["namespace"], end["sure"]) == ("read", "b", True), end
        assert re.fullmatch(r"python3:\d+", end["by"])
    connection = with_tuple(sport=7010) + with_tuple(dport=7010)
    assert {j["end"]["how"] for j in connection} <= {"read", "taken", "dropped"}
    read = [j for j in connection if j["end"]["how"] == "read"]
    assert any(j["end"]["by"].startswith("python3:") for j in read)
    assert all(way(j) in (BRIDGED, BACK) for j in connection)


TABLES = {
    "a": """nft 'add table inet flt; add chain inet flt out { type filter hook output priority 0; };
            add rule inet flt out udp dport 7022 drop'""",
    "b": """for x in iptables-legacy ip6tables-legacy; do
                $x -A INPUT -p udp --dport 7021 -j DROP; $x -t mangle -L >/dev/null; done""",
}
TABLES_OFF = {
    "a": "nft delete table inet flt",
    "b": "iptables-legacy -F; ip6tables-legacy -F",
}


def said(journey: dict[str, Any]) -> list[str]:
    """Verdicts of the tables that are made here, in the order of time."""
    assert sorted(journey["verdicts"], key=lambda v: v["ts_ns"]) == journey["verdicts"]
    return [
        f"{v['namespace']} {v['iface']}: {v['family']} {v['table']} {v['chain']} "
        f"{v['hook']} {v['verdict']}"
        for v in journey["verdicts"]
        if (v["namespace"], v["table"]) in (("a", "flt"), ("b", "mangle"), ("b", "filter"))
    ]


def test_what_tables_say(lab: Lab) -> None:
    """nf_tables where a sends, iptables and ip6tables where b receives."""
    lab.guest.run("modprobe -a nf_tables iptable_mangle ip6table_mangle")
    lab.inside("b", "nft delete table ip filter")  # iptables-nft of another test leaves it, empty
    for name, rules in TABLES.items():
        lab.inside(name, rules)
    try:
        with lab.tracing("--journey", "icmp or udp or icmp6[0] == 128") as tracing:
            lab.inside("a", "ping -c1 -W5 10.1.0.2; for h in 10.1.0.2 fd00:1::2; do "
                       "echo x > /dev/udp/$h/7021; done; "
                       "echo x > /dev/udp/10.1.0.2/7022; true")  # fmt: skip
    finally:
        for name, rules in TABLES_OFF.items():
            lab.inside(name, rules)
    assert tracing.trace is not None
    journeys = [r for r in tracing.trace.records if r["type"] == "journey"]
    for journey in journeys:
        jsonschema.validate(journey, SCHEMA)
    out = "a eth0: inet flt out OUTPUT"
    before, within = "b eth0:  mangle  PREROUTING ACCEPT", "b eth0:  mangle  INPUT ACCEPT"
    by_port = {j["tuple"]["dport"]: j for j in journeys if j["tuple"]["dport"]}
    asked = next(j for j in journeys if j["tuple"].get("icmp", {}).get("type") == 8)
    assert said(asked) == [f"{out} ACCEPT", before, within, "b eth0:  filter  INPUT ACCEPT"]
    assert way(asked) == BRIDGED
    of_b = [j for j in journeys if j["tuple"]["dport"] == 7021]
    assert {j["tuple"]["saddr"] for j in of_b} == {"10.1.0.1", "fd00:1::1"}
    for journey in of_b:
        assert said(journey) == [f"{out} ACCEPT", before, within, "b eth0:  filter  INPUT DROP"]
        assert journey["end"]["how"] == "dropped"
        verdict = journey["end"]["verdict"]
        assert (verdict["family"], verdict["table"], verdict["hook"]) == ("", "filter", "INPUT")
    assert said(by_port[7022]) == [f"{out} DROP"]
    verdict = by_port[7022]["end"]["verdict"]
    assert (verdict["family"], verdict["table"], verdict["chain"]) == ("inet", "flt", "out")
    assert verdict["rule_text"] == "udp dport 7022 drop"
    assert by_port[7022]["end"]["how"] == "dropped"
    assert not by_port[7022]["hops"]


RULES = r"""nft '
add table inet r; add chain inet r deny
add chain inet r in { type filter hook input priority 5; policy drop; }
add rule inet r deny udp dport 7033 counter drop comment "a # handle 1"
add rule inet r in udp dport 7031 drop
add rule inet r in udp dport { 7032, 7039 } drop
add rule inet r in udp dport 7033 jump deny
add rule inet r in udp dport 7034 reject
add rule inet r in udp dport vmap { 7035 : drop }
add chain inet r deepest; add chain inet r deeper
add rule inet r deepest udp dport { 7041, 7042, 7045 } drop comment "two } down"
add rule inet r deeper counter; add rule inet r deeper jump deepest
add set inet r bad { type inet_service; elements = { 7043, 9 }; }
add map inet r ways { type inet_service : verdict; elements = { 7044 : drop, 7045 : goto deeper }; }
add rule inet r in udp dport 7041 goto deepest
add rule inet r in udp dport 7042 jump deeper
add rule inet r in udp dport @bad drop
add rule inet r in udp dport vmap @ways
add rule inet r in udp dport 7046 reject with icmpx admin-prohibited
add rule inet r in udp dport 7047 ct state new limit rate 1/hour drop
add rule inet r in ip saddr . udp dport { 10.1.0.1 . 7048 } meta mark 0 drop
add rule inet r in udp dport 7049 jump { counter drop; }
add rule inet r in udp dport 7050 queue to 9
add table netdev n; add chain netdev n in { type filter hook ingress device eth0 priority 0; }
add rule netdev n in udp dport 7051 drop
add rule inet r in udp dport != 7036 accept
add table inet s; add chain inet s in { type filter hook input priority 6; }
add rule inet s in udp dport 7037 drop
add table inet t; add chain inet t in { type filter hook input priority 7; policy drop; }
add rule inet t in udp dport != 7040 accept' && iptables-nft -N U && iptables-nft-restore -n <<'EOF'
*filter
-A U -p udp --dport 7056 -m comment --comment "it's \"here\"" -j DROP
-A INPUT -p udp --dport 7038 -j DROP
-A INPUT -p udp --dport 7052 -j REJECT
-A INPUT -p udp -m multiport --dports 7053,7054 -j DROP
-A INPUT -j U
-A INPUT -p udp --dport 7057 -j NFQUEUE --queue-num 9
COMMIT
*mangle
-A PREROUTING -p udp --dport 7055 -j TPROXY --on-port 1
COMMIT
EOF"""
BRIDGE_RULES = r"""nft 'add table bridge v
add chain bridge v f { type filter hook forward priority 0; policy drop; }
add rule bridge v f ether type != ip accept; add rule bridge v f udp dport 7058 drop
add rule bridge v f udp dport vmap { 7059 : drop, 7060 : continue }
add rule bridge v f udp dport != 7062 accept
add table bridge p; add chain bridge p in { type filter hook prerouting priority 0; }
add rule bridge p in udp dport 7061 reject'
ebtables-nft -A FORWARD -p IPv4 --ip-proto udp --ip-dport 7063 -j DROP"""
PROXY = "--on-port 1 --on-ip 0.0.0.0 --tproxy-mark 0x0/0x0"
SAID = r'--comment "it\'s \"here\""'
RULES_SAY = {
    7031: ("r", "in", "udp dport 7031 drop"),
    7032: ("r", "in", "udp dport { 7032, 7039 } drop"),
    7033: ("r", "deny", r'udp dport 7033 counter packets N bytes N drop comment "a # handle 1"'),
    7034: ("r", "in", "udp dport 7034 reject"),
    7035: ("r", "in", "udp dport vmap { 7035 : drop }"),
    7036: ("r", None, None),  # the policy
    7037: ("s", "in", "udp dport 7037 drop"),
    7040: ("t", None, None),  # the policy: nothing else there decides
    7038: ("filter", "INPUT", "udp dport 7038 counter packets N bytes N drop"),
    7041: ("r", "deepest", 'udp dport { 7041, 7042, 7045 } drop comment "two } down"'),
    7042: ("r", "deepest", 'udp dport { 7041, 7042, 7045 } drop comment "two } down"'),
    7043: ("r", "in", "udp dport @bad drop"),
    7044: ("r", "in", "udp dport vmap @ways"),
    7045: ("r", "deepest", 'udp dport { 7041, 7042, 7045 } drop comment "two } down"'),
    7046: ("r", "in", "udp dport 7046 reject with icmpx admin-prohibited"),
    7047: ("r", "in", "udp dport 7047 ct state new limit rate 1/hour drop"),
    7048: ("r", "in", "ip saddr . udp dport { 10.1.0.1 . 7048 } meta mark 0x00000000 drop"),
    7049: ("r", None, None),  # in a chain without a name: nft does not tell its handle
    7050: ("r", "in", "udp dport 7050 queue to 9"),
    7051: ("n", "in", "udp dport 7051 drop"),
    7052: (
        "filter",
        "INPUT",
        "-A INPUT -p udp -m udp --dport 7052 -j REJECT --reject-with icmp-port-unreachable",
    ),
    7054: (
        "filter",
        "INPUT",
        "-A INPUT -p udp -m multiport --dports 7053,7054 -j DROP",
    ),
    7055: ("mangle", "PREROUTING", f"-A PREROUTING -p udp -m udp --dport 7055 -j TPROXY {PROXY}"),
    7056: ("filter", "U", f"-A U -p udp -m udp --dport 7056 -m comment {SAID} -j DROP"),
    7057: ("filter", "INPUT", "-A INPUT -p udp -m udp --dport 7057 -j NFQUEUE --queue-num 9"),
    7058: ("v", "f", "udp dport 7058 drop"),
    7059: ("v", "f", "udp dport vmap { 7059 : drop, 7060 : continue }"),
    7061: ("p", "in", "udp dport 7061 reject"),
    7062: ("v", None, None),  # the policy
    7063: ("filter", "FORWARD", "ether type ip udp dport 7063 counter packets N bytes N drop"),
}


def test_the_rule_that_dropped_it(lab: Lab) -> None:
    """Of nf_tables: plain, with sets and maps, in chains of chains, reject, queue, a limit, with
    targets and matches of iptables-nft, at a device, in the bridge.
    """
    lab.guest.run("modprobe -a nf_tables nft_reject_inet nft_reject_bridge nft_queue nft_compat")
    assert lab.inside("b", RULES).rc == 0
    assert lab.run(BRIDGE_RULES).rc == 0
    try:
        with lab.tracing("--journey", "udp") as tracing:
            ports = " ".join(map(str, RULES_SAY))
            lab.inside("a", f"for p in {ports}; do echo x > /dev/udp/10.1.0.2/$p; done")
            wait = "for n in {{1..99}}; do [ $(grep -c {} {}) -ge {} ] && break; sleep 0.2; done"
            lab.run(wait.format("rule_text", tracing.process.stdout_path, len(RULES_SAY)))
            # Known by their handles still, though their places have changed.
            lab.inside("b", "nft insert rule inet r in udp dport 9 drop")
            lab.inside("a", "echo x > /dev/udp/10.1.0.2/7031")
    finally:
        lab.inside("b", "nft flush ruleset")
        lab.run("for t in v p filter; do nft delete table bridge $t; done")
    assert tracing.trace is not None
    ends = [
        (record["tuple"]["dport"], record["end"])
        for record in tracing.trace.records
        if record["type"] == "journey" and record["tuple"]["dport"] in RULES_SAY
    ]
    told: dict[int, tuple[str, str | None, str | None]] = {}
    for port, end in ends:
        verdict = end["verdict"] or {"table": "", "rule_chain": None, "rule_text": None}
        text = re.sub("(packets|bytes) [0-9]+", r"\1 N", verdict["rule_text"] or "")
        text = re.sub(r"^\[[0-9]+:[0-9]+\] ", "", text)
        told[port] = verdict["table"], verdict["rule_chain"], text or None
    assert told == RULES_SAY
    assert sorted(port for port, _end in ends) == sorted([7031, *RULES_SAY])
    for port, end in ends:
        verdict = end["verdict"]
        assert (verdict["rule"] is None) == (told[port][2] is None and port != 7049)
        assert verdict["verdict"] == ("QUEUE" if port in (7050, 7057) else "DROP")
        assert verdict["policy"] == ("DROP" if verdict["table"] in "rtv" else "ACCEPT")
        assert verdict["by_policy"] == (port in (7040, 7062))
    assert len({end["verdict"]["rule"] for port, end in ends if port == 7031}) == 1


XT_RULES = r"""for x in iptables-legacy ip6tables-legacy; do
$x -N XDENY; $x -N XDEEP
$x -A XDEEP -p udp --dport 7083 -m comment --comment 'deep "down"' -j DROP
$x -A XDENY -j XDEEP
$x -A INPUT -p udp --dport 7081 -j DROP
$x -A INPUT -p udp -m multiport --dports 7082,7089 -j DROP
$x -A INPUT -p udp --dport 7083 -j XDENY
$x -A INPUT -p udp --dport 7084 -j REJECT
$x -A INPUT -p tcp --dport 7084 -j REJECT --reject-with tcp-reset
$x -A INPUT -p udp --dport 7085 -g XDENY
$x -A INPUT -p udp --dport 7086 -j RETURN
$x -A INPUT -p udp --dport 7091 -j NFQUEUE --queue-num 9
$x -A INPUT -p udp --sport 1:65535 -m udp ! --dport 7087 -j ACCEPT
$x -A INPUT -p udp -j DROP
$x -A INPUT ! -p udp -j ACCEPT
$x -P INPUT DROP
$x -t mangle -A PREROUTING -p udp --dport 7088 -j DROP
$x -t mangle -A PREROUTING -p udp --dport 7092 -j TPROXY --on-port 1; done"""
XT_OFF = r"""for x in iptables-legacy ip6tables-legacy; do
$x -P INPUT ACCEPT; $x -F; $x -X; $x -t mangle -F; done"""
XT_SAY = {  # port: table, chain, number, the end of the text
    7081: ("filter", "INPUT", 1, "-A INPUT -p udp -m udp --dport 7081 -j DROP"),
    7082: ("filter", "INPUT", 2, "-A INPUT -p udp -m multiport --dports 7082,7089 -j DROP"),
    7083: (
        "filter",
        "XDEEP",
        1,
        r'-m udp --dport 7083 -m comment --comment "deep \"down\"" -j DROP',
    ),
    7084: ("filter", "INPUT", 4, "-A INPUT -p udp -m udp --dport 7084 -j REJECT --reject-with "),
    7085: ("filter", "INPUT", None, None),
    7086: ("filter", "INPUT", None, None),
    7087: ("filter", "INPUT", 10, "-A INPUT -p udp -j DROP"),
    7088: ("mangle", "PREROUTING", 1, "-A PREROUTING -p udp -m udp --dport 7088 -j DROP"),
    7091: ("filter", "INPUT", 8, "--dport 7091 -j NFQUEUE --queue-num 9"),
    7092: ("mangle", "PREROUTING", 2, "--dport 7092 -j TPROXY --on-port 1"),
    7089: ("filter", "INPUT", 2, "-A INPUT -p udp -m multiport --dports 7082,7089 -j DROP"),
}
XT_SEND = """
import socket
for family, host in ((socket.AF_INET, "10.1.0.2"), (socket.AF_INET6, "fd00:1::2")):
    for port in (*range(7081, 7090), 7091, 7092):
        socket.socket(family, socket.SOCK_DGRAM).sendto(b"x", (host, port))
    tcp = socket.socket(family)
    tcp.settimeout(10)
    assert tcp.connect_ex((host, 7084))
    # Four bytes are no UDP header: a match drops the packet, whatever rules say.
    socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_UDP).sendto(bytes(4), (host, 0))
"""


def test_the_rule_of_iptables_that_dropped_it(lab: Lab) -> None:
    """Of both families: plain, in a chain of a chain, rejects, policies, drops by a match, other
    targets: a queue that nobody reads, a proxy that is not there.
    """
    lab.guest.run("modprobe -a iptable_filter ip6table_filter iptable_mangle ip6table_mangle")
    lab.inside("b", XT_RULES)
    try:
        with lab.tracing("--journey", "udp or tcp or icmp or icmp6") as tracing:
            assert lab.inside("a", f"python3 -c '{XT_SEND}'").rc == 0
            lab.inside("b", "sleep 4; for x in iptables-legacy ip6tables-legacy; do "
                       "$x -I INPUT -p udp --dport 7090 -j DROP; done")  # fmt: skip
            lab.inside("a", "for h in 10.1.0.2 fd00:1::2; do for p in 7081 7090; do "
                       "echo x > /dev/udp/$h/$p; done; done")  # fmt: skip
    finally:
        lab.inside("b", XT_OFF)
    assert tracing.trace is not None
    ends: dict[tuple[bool, int, int], list[dict[str, Any]]] = {}
    for record in tracing.trace.records:
        if record["type"] == "journey" and record["end"]["verdict"]:
            jsonschema.validate(record, SCHEMA)
            packet = record["tuple"]
            key = (":" in packet["saddr"], packet["proto"], packet["dport"])
            ends.setdefault(key, []).append(record["end"]["verdict"])
    for six in (False, True):
        for port, (table, chain, number, text) in XT_SAY.items():
            said, *later = ends[six, 17, port]
            assert (said["table"], said["rule_chain"], said["rule"]) == (table, chain, number)
            assert said["by_policy"] == (number is None)
            assert (said["rule_text"] or "").startswith("[") == (number is not None)
            assert (text or "") in (said["rule_text"] or "")
            assert bool(later) == (port == 7081)
        # The same rule has another number now.
        assert ends[six, 17, 7081][1]["rule"] in (2, None)
        assert ends[six, 17, 7090][0]["rule"] in (1, None)
        for said in ends[six, 6, 7084]:
            assert (said["rule_chain"], said["rule"]) == ("INPUT", 5)
            assert "tcp-reset" in said["rule_text"]
        (cut,) = ends[six, 17, 0]
        assert (cut["rule"], cut["by_policy"]) == (None, False)


SERVE = """
import socket
d = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)
d.bind(("::", 7011))
s = socket.socket()
s.bind(("0.0.0.0", 7010))
s.listen()
taken, _ = s.accept()
while taken.recv(100):
    pass
d.recv(100)
d.recv(100)
"""
