# SPDX-License-Identifier: Apache-2.0
"""``--advice`` where no namespace alone can make the cause: limits of the whole machine, and
devices that the machine's own kernel may not have. One tracer for all of them.
"""

from __future__ import annotations

from typing import Any

import pytest

from tests.kernel.lab import Lab, Trace

Said = dict[str, Any]

# Each limit is low for a moment: sysctl NAME VALUE, then what meets it. READ: as long as the tracer
# may take to read the state behind a drop, which nothing here shows.
READ = 4
LOW = """
low() { name=$1 old=$(sysctl -n $1); sysctl -qw "$1=$2"; shift 2; "$@"; sysctl -qw "$name=$old"; }
in_a() { ip netns exec a bash -c "$1"; }
"""
CONNTRACK = """
rule='INPUT -m conntrack --ctstate INVALID -j ACCEPT'
ip netns exec b iptables-legacy -A $rule
low net.netfilter.nf_conntrack_max 1 \\
    in_a 'for n in 1 2 3; do echo x > /dev/udp/10.1.0.2/7002; done; sleep {read}'
ip netns exec b iptables-legacy -D $rule
"""
NEIGHBOURS = """
low net.ipv4.neigh.default.gc_thresh3 3 \\
    in_a 'for n in $(seq 60 69); do ping -c1 -W2 10.1.0.$n & done >/dev/null; wait'
"""
MEMORY = """
ip netns exec b python3 -ISc 'import socket, time; s = socket.socket(2, 2); s.bind(("", 7004))
print("bound", flush=True); time.sleep(600)' >/tmp/bound & holds=$!
until grep -q bound /tmp/bound; do :; done
low net.ipv4.udp_mem '1 1 1' in_a 'python3 -ISc "import socket; s = socket.socket(2, 2)
for n in range(50): s.sendto(bytes(1400), (\\"10.1.0.2\\", 7004))"'
kill $holds
"""
BACKLOG = """
modprobe sch_netem
in_a 'tc qdisc add dev eth0 root netem delay 300ms'
low net.core.netdev_max_backlog 1 in_a 'python3 -ISc "import socket, time; s = socket.socket(2, 2)
for n in range(50): s.sendto(bytes(9), (\\"10.1.0.2\\", 7005))
time.sleep(1)"'
in_a 'tc qdisc del dev eth0 root'
"""
WIREGUARD = """
modprobe wireguard
in_a 'ip link add wg0 type wireguard; ip addr add 10.7.0.1/24 dev wg0; ip link set wg0 up
python -m tests.kernel.inside.wireguard wg0
python -m tests.kernel.inside.wireguard wg0 {key} 10.1.0.2 10.7.0.2
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
NETKIT = """
in_a 'python -m tests.kernel.inside.netkit kit; ip addr add 10.6.0.1/24 dev nk0; ip link set nk0 up
ip neigh replace 10.6.0.2 lladdr 02:00:00:00:00:06 dev nk0; echo x > /dev/udp/10.6.0.2/7007
ip link set kit up; echo x > /dev/udp/10.6.0.2/7007'
"""
VLANS = """
ip link set br0 type bridge vlan_filtering 1; bridge vlan del vid 1 dev va
in_a 'echo x > /dev/udp/10.1.0.2/7008; sleep {read}'
bridge vlan add vid 1 dev va pvid untagged; ip link set br0 type bridge vlan_filtering 0
"""


@pytest.fixture(scope="module")
def trace(lab: Lab) -> Trace:
    esp = ESP.format(mine="ab" * 32, other="cd" * 32)
    wireguard = WIREGUARD.format(key="42" * 32)
    conntrack, vlans = CONNTRACK.format(read=READ), VLANS.format(read=READ)
    script = LOW + conntrack + NEIGHBOURS + MEMORY + BACKLOG + wireguard + esp + NETKIT + vlans
    try:
        with lab.tracing("--drops", "--advice", "ip and not tcp") as tracing:
            done = lab.run(script, timeout=240)
    finally:
        lab.run("ip -n a link del wg0; ip -n a link del kit")
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


@pytest.mark.kernels("6.12")  # a later one shows the same; earlier ones have no netkit
def test_limits_of_the_whole_machine(lab: Lab, trace: Trace) -> None:
    for key, words, fact in (
        ("NETFILTER_DROP", "the table of connections (conntrack) is full", "conntrack drop"),
        ("NEIGH_CREATEFAIL", "the table of neighbours is full", "table_fulls"),
        ("PROTO_MEM", "all UDP sockets together may have no more memory", "MemErrors"),
        ("CPU_BACKLOG", "a CPU's backlog of packets is full", "softnet_stat dropped"),
    ):
        told = said(trace, key)
        (first, *_) = told["findings"]
        assert first["verdict"] == "proven", told
        assert words in first["what"]
        (rise,) = (one["rise"] for one in first["proof"] if one["name"] == fact)
        assert rise >= told["packets"], told


@pytest.mark.kernels("6.12")  # a later one shows the same; earlier ones have no netkit
def test_tunnels_netkit_and_vlans(lab: Lab, trace: Trace) -> None:
    for key, verdict, words in (
        ("wg_xmit", "proven", "no peer of wg0 has 10.7.0.77 in its allowed-ips"),
        ("xfrm_input", "proven", "could not be decrypted or checked: other keys"),
        ("QDISC_DROP", "proven", "nk0 has no carrier"),
        ("netkit_xmit", "proven", "the peer end of kit drops what no program lets pass"),
        ("__allowed_ingress", "proven", "br0 filters VLANs, and va is in none"),
    ):
        (first, *_) = said(trace, key)["findings"]
        assert (first["verdict"], words in first["what"]) == (verdict, True), first
