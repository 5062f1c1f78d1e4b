# SPDX-License-Identifier: Apache-2.0
"""``--rules``: the rules of arptables and ebtables, by the kernel's registers when it decides."""

from __future__ import annotations

import pytest

from tests.kernel.lab import Lab, Trace

ARP_RULES = """arptables-legacy -N DENY
arptables-legacy -A INPUT -s 10.1.0.91 -j DENY
arptables-legacy -A INPUT -s 10.1.0.92 -j mangle --mangle-ip-d 10.1.0.9 --mangle-target DROP
arptables-legacy -A INPUT -s ! 10.1.0.94 -j ACCEPT
arptables-legacy -A DENY -s 10.1.0.9 -j DROP
arptables-legacy -A DENY --opcode 1 -j DROP
arptables-legacy -P INPUT DROP"""
ARP_OFF = "arptables-legacy -P INPUT ACCEPT; arptables-legacy -F; arptables-legacy -X"
ARP_SEND = """python3 -c '
import socket
out = socket.socket(socket.AF_PACKET, socket.SOCK_RAW)
out.bind(("eth0", 0x0806))
mac = out.getsockname()[4].hex()
for host in (91, 92, 93, 94):
    asks = f"00010800060400 01 {mac} 0a0100{host:02x} 000000000000 0a010002"
    out.send(bytes.fromhex("ffffffffffff" + mac + "0806" + asks))'"""


def drops_by_sender(trace: Trace | None) -> dict[str, dict[str, object]]:
    assert trace is not None
    return {event["tuple"]["saddr"]: event["verdict"] for event in trace.events if event["drop"]}


@pytest.mark.representative("5.10", "newest")
def test_the_rule_of_arptables_that_drops(lab: Lab) -> None:
    """By a jump, a target that decides, the policy; what it accepts has none."""
    lab.guest.run("modprobe -a arptable_filter arpt_mangle")
    assert lab.inside("b", ARP_RULES).rc == 0
    try:
        with lab.tracing("--drops", "--rules", "arp") as tracing:
            lab.inside("a", ARP_SEND)
            lab.inside("b", "sleep 3")
    finally:
        lab.inside("b", ARP_OFF)
    assert "arptables" not in tracing.process.stderr()
    found = drops_by_sender(tracing.trace)
    told = {
        sender: (said["table"], said["hook"], said["rule_chain"], said["rule"], said["rule_text"])
        for sender, said in found.items()
        if said is not None
    }
    assert told["10.1.0.91"][:4] == ("filter", "INPUT", "DENY", 2)
    assert told["10.1.0.91"][4] == "[1:28] -A DENY -j DROP --opcode 1"
    assert told["10.1.0.92"][:4] == ("filter", "INPUT", "INPUT", 2)
    assert " -A INPUT -j mangle -s 10.1.0.92 " in str(told["10.1.0.92"][4])
    assert "10.1.0.93" not in told
    assert found["10.1.0.94"]["by_policy"], found
    assert {said["tool"] for said in found.values() if said is not None} == {"arptables"}


EB_RULES = """ebtables-legacy -N DENY; ebtables-legacy -N LAST -P DROP
ebtables-legacy -A DENY -p IPv4 --ip-proto udp --ip-dport 7119 -j DROP
ebtables-legacy -A DENY -p IPv4 --ip-proto udp --ip-dport 7111 --log-prefix x -j DROP
ebtables-legacy -A DENY -j RETURN
ebtables-legacy -A LAST -p ARP -j DROP
ebtables-legacy -A FORWARD -p ! IPv4 -j ACCEPT
ebtables-legacy -A FORWARD -p IPv4 --ip-proto ! udp -j ACCEPT
ebtables-legacy -A FORWARD -p IPv4 --ip-proto udp --ip-dport 7111:7112 -j DENY
ebtables-legacy -A FORWARD -p IPv4 --ip-proto udp --ip-dport 7113 -j LAST
ebtables-legacy -A FORWARD -p IPv4 --ip-proto udp --ip-dport 7114 -j ACCEPT
ebtables-legacy -A FORWARD -p IPv4 --ip-proto udp --ip-dport 7115 -j mark \\
    --mark-set 1 --mark-target DROP
ebtables-legacy -P FORWARD DROP"""
EB_OFF = """ebtables-legacy -P FORWARD ACCEPT; ebtables-legacy -F; ebtables-legacy -X
modprobe -r ebtable_filter"""


@pytest.mark.kernels("5.10", "6.12")  # 7.3 of Debian has no ebtables
def test_the_rule_of_ebtables_that_drops(lab: Lab) -> None:
    """By a jump, a target that decides, the policies of a chain of one's own and of the hook. What
    it lets pass, and iptables drops, is that one's.
    """
    lab.guest.run("modprobe -a ebtable_filter ebt_ip ebt_log ebt_mark iptable_filter")
    assert lab.run(EB_RULES).rc == 0
    lab.inside("b", "iptables-legacy -I INPUT -p udp --dport 7114 -j DROP")
    try:
        with lab.tracing("--drops", "--rules", "udp and dst portrange 7111-7115") as tracing:
            lab.inside(
                "a", "for p in 7111 7112 7113 7114 7115; do echo x > /dev/udp/10.1.0.2/$p; done"
            )
            lab.inside("b", "sleep 3")
    finally:
        lab.inside("b", "iptables-legacy -D INPUT -p udp --dport 7114 -j DROP")
        lab.run(EB_OFF)
    assert "ebtables" not in tracing.process.stderr()
    assert tracing.trace is not None
    told = {event["tuple"]["dport"]: event["verdict"] for event in tracing.trace.events}
    assert len(tracing.trace.events) == len(told) == 5
    where = {
        port: (said["table"], said["hook"], said["rule_chain"], said["rule"], said["by_policy"])
        for port, said in told.items()
    }
    assert where == {
        7111: ("filter", "FORWARD", "DENY", 2, False),
        7112: ("filter", "FORWARD", "FORWARD", None, True),
        7113: ("filter", "FORWARD", "LAST", None, True),
        7114: ("filter", "INPUT", "INPUT", 1, False),
        7115: ("filter", "FORWARD", "FORWARD", 6, False),
    }
    assert {port: said["tool"] for port, said in told.items()} == dict.fromkeys(
        where, "ebtables"
    ) | {7114: "iptables"}
    start, end = "[1:30] -A DENY -p IPv4 --ip-proto udp --ip-dport 7111 ", " -j DROP"
    assert told[7111]["rule_text"].startswith(start), told
    assert told[7111]["rule_text"].endswith(end), told
    assert told[7115]["rule_text"].endswith(" -j mark --mark-set 0x1 --mark-target DROP"), told
    assert told[7114]["rule_text"].endswith("-A INPUT -p udp -m udp --dport 7114 -j DROP"), told
