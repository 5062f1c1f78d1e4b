# SPDX-License-Identifier: Apache-2.0
"""``--advice`` where no namespace alone can make the cause: limits of the whole machine, and
devices that the machine's own kernel may not have. One tracer for all of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

Said = dict[str, Any]

IN_A = 'in_a() { ip netns exec a bash -c "$1"; }'
# The last of all: the limit stays low until the tracer has read it, however long that takes.
CONNTRACK = """
ip netns exec b iptables-legacy -A INPUT -m conntrack --ctstate INVALID -j ACCEPT
sysctl -n net.netfilter.nf_conntrack_max > /tmp/advice-max
sysctl -qw net.netfilter.nf_conntrack_max=1
in_a 'for n in 1 2 3; do echo x > /dev/udp/10.1.0.2/7002; done'
"""
AFTERWARDS = """
sysctl -qw net.netfilter.nf_conntrack_max=$(cat /tmp/advice-max)
ip netns exec b iptables-legacy -D INPUT -m conntrack --ctstate INVALID -j ACCEPT
ip -n a link del wg0
"""
WIREGUARD = """
modprobe wireguard
in_a 'ip link add wg0 type wireguard; ip addr add 10.7.0.1/24 dev wg0; ip link set wg0 up
python -m tests.kernel.inside.wireguard wg0 51820
python -m tests.kernel.inside.wireguard wg0 51820 {key} 10.1.0.2 10.7.0.2
echo x > /dev/udp/10.7.0.77/7003'
"""
ESP = """
modprobe -a esp4 xfrm_user
state='src 10.1.0.1 dst 10.1.0.2 proto esp spi 0x77 mode transport'
algorithm='auth hmac(sha256)'
ip -n a xfrm state add $state $algorithm 0x{mine} enc 'ecb(cipher_null)' ''
ip -n b xfrm state add $state $algorithm 0x{other} enc 'ecb(cipher_null)' ''
ip -n a xfrm policy add src 10.1.0.1 dst 10.1.0.2 proto udp dport 7006 dir out \\
    tmpl src 10.1.0.1 dst 10.1.0.2 proto esp mode transport
in_a 'for n in 1 2; do echo x > /dev/udp/10.1.0.2/7006; done'
ip -n a xfrm policy flush; ip -n a xfrm state flush; ip -n b xfrm state flush
"""


@pytest.fixture(scope="module")
def trace(lab: Lab) -> Trace:
    esp = ESP.format(mine="ab" * 32, other="cd" * 32)
    wireguard = WIREGUARD.format(key="42" * 32)
    script = "\n".join((IN_A, wireguard, esp, CONNTRACK))
    try:
        with lab.tracing("--drops", "--advice", "ip and not tcp") as tracing:
            done = lab.run(script, timeout=240)
    finally:
        lab.run(AFTERWARDS)
    assert tracing.trace is not None
    print(done.stdout, done.stderr)  # where a test fails
    return tracing.trace


def said(trace: Trace, key: str) -> Said:
    """The advice for a reason, or a function."""
    (found,) = (
        record
        for record in trace.records
        if record["type"] == "advice" and key in (record["reason"], record["function"])
    )
    return dict(found)


@pytest.mark.kernels("6.12")  # the others show the same
def test_a_full_table_of_connections(lab: Lab, trace: Trace) -> None:
    told = said(trace, "NETFILTER_DROP")
    (first, *_) = told["findings"]
    assert first["verdict"] == "proven", told
    assert first["what"] == "the table of connections (conntrack) is full"
    (rise,) = (one["rise"] for one in first["proof"] if one["name"] == "conntrack drop")
    assert rise >= told["packets"], told


@pytest.mark.kernels("6.12")
def test_tunnels(lab: Lab, trace: Trace) -> None:
    for key, words in (
        ("wg_xmit", "no peer of wg0 has 10.7.0.77 in its allowed-ips"),
        ("xfrm_input", "could not be decrypted or checked: other keys"),
    ):
        (first, *_) = said(trace, key)["findings"]
        assert (first["verdict"], words in first["what"]) == ("proven", True), first
