# SPDX-License-Identifier: Apache-2.0
"""``--rules``: the rules of arptables, by what the kernel has in its registers when it decides."""

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
