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
# Limits stay low until the tracer has read them, however long that takes.
LIMITS = {
    "net.ipv4.udp_mem": "0 0 0",
    "net.core.netdev_max_backlog": "4",
    "net.ipv4.neigh.default.gc_thresh3": "1",
    "net.netfilter.nf_conntrack_max": "1",
}
LOW = """
low() { sysctl -n $1 > /tmp/advice-$1; sysctl -qw "$1=$2"; }
"""
# One socket holds more than what each CPU may take in advance, 1 MB.
UDP_MEMORY = """
low net.ipv4.udp_mem '0 0 0'
ip netns exec b python3 -I -S -c '
import signal, socket
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.setsockopt(socket.SOL_SOCKET, 33, 1 << 23)  # SO_RCVBUFFORCE
s.bind(("127.0.0.1", 7008))
for n in range(400):
    s.sendto(bytes(8000), s.getsockname())
print(flush=True)
signal.pause()' > /tmp/advice-filled &
echo $! > /tmp/advice-filler
until [ -s /tmp/advice-filled ]; do sleep 0.1; done
"""
# The answer is made in a soft interrupt, all its 14 fragments before the next one begins.
BACKLOG = """
low net.core.netdev_max_backlog 4
in_a 'ping -c1 -W1 -s 20000 10.1.0.2'
"""
NEIGHBOURS = """
ip -n a neigh replace 10.1.0.2 lladdr $(ip netns exec b cat /sys/class/net/eth0/address) dev eth0
low net.ipv4.neigh.default.gc_thresh3 1
in_a 'for n in 3 4 5; do echo x > /dev/udp/10.1.0.$n/7011; done'
"""
CONNTRACK = """
ip netns exec b iptables-legacy -A INPUT -m conntrack --ctstate INVALID -j ACCEPT
low net.netfilter.nf_conntrack_max 1
in_a 'for n in 1 2 3; do echo x > /dev/udp/10.1.0.2/7002; done'
"""
AFTERWARDS = f"""
for name in {" ".join(LIMITS)}; do sysctl -qw "$name=$(cat /tmp/advice-$name)"; done
kill $(cat /tmp/advice-filler)
ip -n a neigh flush dev eth0 nud permanent
ip netns exec b iptables-legacy -D INPUT -m conntrack --ctstate INVALID -j ACCEPT
ip -n a link del wg0
ip link del br9; ip -n a link del v5; ip -n a link del v6
"""
# p5 is in no VLAN, p6 in VLAN 5 alone, and gets frames of VLAN 7.
VLANS = """
ip link add br9 type bridge vlan_filtering 1 vlan_default_pvid 0 && ip link set br9 up
for n in 5 6; do
    ip link add p$n type veth peer name v$n netns a
    ip link set p$n up master br9; ip -n a link set v$n up
done
bridge vlan add vid 5 dev p6
ip -n a link add v6.7 link v6 type vlan id 7 && ip -n a link set v6.7 up
ip -n a addr add 10.5.0.1/24 dev v5; ip -n a addr add 10.6.0.1/24 dev v6.7
ip -n a neigh replace 10.5.0.2 lladdr 02:00:00:00:00:09 dev v5
ip -n a neigh replace 10.6.0.2 lladdr 02:00:00:00:00:09 dev v6.7
in_a 'for n in 5 6; do echo x > /dev/udp/10.$n.0.2/7009; done'
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
    causes = (wireguard, esp, VLANS, UDP_MEMORY, BACKLOG, NEIGHBOURS, CONNTRACK)
    try:
        with lab.tracing("--drops", "--advice", "ip and not tcp or vlan") as tracing:
            done = lab.run("\n".join((IN_A, LOW, *causes)), timeout=240)
    finally:
        lab.run(AFTERWARDS)
    assert tracing.trace is not None
    print(done.stdout, done.stderr)  # where a test fails
    return tracing.trace


def said(trace: Trace, key: str, where: str = "") -> Said:
    """The advice for a reason, or a function; of one interface where several have any."""
    (found,) = (
        record
        for record in trace.records
        if record["type"] == "advice"
        and key in (record["reason"], record["function"])
        and where in ("", record["ifname"])
    )
    return dict(found)


def proof(told: Said, name: str) -> Said:
    """A fact of the first finding."""
    (fact,) = (one for one in told["findings"][0]["proof"] if one["name"] == name)
    return dict(fact)


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


@pytest.mark.kernels("6.12")
def test_limits_of_the_machine(lab: Lab, trace: Trace) -> None:
    """Each with the limit that was set, and how far it was passed."""
    told = said(trace, "CPU_BACKLOG", "vb")
    (first, *_) = told["findings"]
    assert (first["verdict"], "a CPU's backlog of packets is full" in first["what"]) == (
        "proven",
        True,
    )
    assert proof(told, "net.core.netdev_max_backlog")["value"] == 4
    assert proof(told, "softnet_stat dropped")["rise"] >= told["packets"] >= 1
    told = said(trace, "PROTO_MEM")
    assert told["findings"][0]["verdict"] == "proven"
    pages = proof(told, "pages in use")
    assert (pages["limit"], pages["value"] >= 256) == (0, True)
    assert proof(told, "MemErrors")["rise"] == told["packets"]
    told = said(trace, "NEIGH_CREATEFAIL")
    (first, *_) = told["findings"]
    assert (first["verdict"], first["what"]) == ("proven", "the table of neighbours is full")
    assert proof(told, "entries")["limit"] == 1
    assert proof(told, "table_fulls")["rise"] >= told["packets"] >= 1


@pytest.mark.kernels("6.12")
def test_vlans_of_a_bridge(lab: Lab, trace: Trace) -> None:
    """What no VLAN takes at all, and a VLAN that the port is not in."""
    none, other = (said(trace, "br_allowed_ingress", port) for port in ("p5", "p6"))
    assert none["findings"][0]["verdict"] == "proven"
    assert proof(none, "VLANs of p5")["value"] == "none"
    assert other["findings"][0]["verdict"] == "likely"
    assert proof(other, "VLANs of p6")["value"] == "5"
    for told in (none, other):
        assert told["findings"][0]["what"].startswith("br9 filters VLANs")
        assert told["findings"][0]["change"].startswith("bridge vlan add vid")
