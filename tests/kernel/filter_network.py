# SPDX-License-Identifier: Apache-2.0
"""The network in which filters are tried.

::

    netns fr    p0 ══════ p1                    raw frames from p0: the mark says which
    netns fa    sa ══════ sb    netns fb        10.0.0.2  1.1.1.1   2001:db8::1  ::2
                sa.7      sb.7                  VLAN 7: the tag stays beside the packet
                sa.q.7    sb.q.7                802.1ad 100, in it VLAN 7
                fi, fs    gi, gs                ipip, sit: no link layer
                ft, fw, lo                      tun, WireGuard

Neighbours are known but for 1.1.1.3, so ARP comes when a test asks for it.
"""

from __future__ import annotations

MAC_A, MAC_B = "02:00:00:00:00:01", "02:00:00:00:00:02"

_QUIET = """
sysctl -qw net.ipv6.conf.default.router_solicitations=0 net.ipv6.conf.default.accept_dad=0
sysctl -qw net.ipv6.conf.all.forwarding=0
ip link set lo up
"""


def _quiet(namespace: str) -> str:
    return f"ip netns add {namespace}\nip netns exec {namespace} bash -ec '{_QUIET}'\n"


def _side(ns: str, port: str, mac: str, peer_mac: str, here: str, there: str) -> str:
    """One end: ``here`` and ``there`` are the last digits of the addresses."""
    own, other = ("10.0.0.2", "1.1.1.1") if here == "1" else ("1.1.1.1", "10.0.0.2")
    tunnels = "f" if ns == "fa" else "g"
    return f"""
ip -n {ns} link set {port} address {mac} up
ip -n {ns} addr add {own}/32 dev {port}
ip -n {ns} route add {other} dev {port} src {own}
ip -n {ns} neigh add {other} lladdr {peer_mac} dev {port} nud permanent
ip -n {ns} addr add 2001:db8::{here}/64 dev {port} nodad
ip -n {ns} neigh add 2001:db8::{there} lladdr {peer_mac} dev {port} nud permanent
ip -n {ns} link add link {port} name {port}.7 type vlan id 7
ip -n {ns} link add link {port} name {port}.q type vlan proto 802.1ad id 100
ip -n {ns} link set {port}.q up
ip -n {ns} link add link {port}.q name {port}.q.7 type vlan id 7
for vlan in 7 q.7; do
    net=$([ $vlan = 7 ] && echo 7 || echo 100)
    ip -n {ns} link set {port}.$vlan up
    ip -n {ns} addr add 10.$net.0.{here}/24 dev {port}.$vlan
    ip -n {ns} neigh add 10.$net.0.{there} lladdr {peer_mac} dev {port}.$vlan nud permanent
    ip -n {ns} addr add 2001:db8:$net::{here}/64 dev {port}.$vlan nodad
    ip -n {ns} neigh add 2001:db8:$net::{there} lladdr {peer_mac} dev {port}.$vlan nud permanent
done
ip -n {ns} link add {tunnels}i type ipip local {own} remote {other}
ip -n {ns} link add {tunnels}s type sit local {own} remote {other}
ip -n {ns} link set {tunnels}i up
ip -n {ns} link set {tunnels}s up
ip -n {ns} addr add 10.8.0.{here}/24 dev {tunnels}i
ip -n {ns} addr add 2001:db8:8::{here}/64 dev {tunnels}s nodad
"""


SETUP = (
    "set -e\nmodprobe -a veth 8021q ipip sit tun wireguard sch_ingress cls_matchall act_gact\n"
    + _quiet("fr")
    + _quiet("fa")
    + _quiet("fb")
    + f"""
ip -n fr link add p0 type veth peer name p1 address {MAC_B}
ip netns exec fr sysctl -qw net.ipv6.conf.p0.disable_ipv6=1 net.ipv6.conf.p1.disable_ipv6=1
ip -n fr link set p0 up
ip -n fr link set p1 up
tc -n fr qdisc add dev p1 clsact
tc -n fr filter add dev p1 ingress matchall action ok
ip link add sa netns fa type veth peer name sb netns fb
"""
    + _side("fa", "sa", MAC_A, MAC_B, "1", "2")
    + _side("fb", "sb", MAC_B, MAC_A, "2", "1")
    + """
ip -n fa route add 255.255.255.255 dev sa src 10.0.0.2
ip -n fa route add 1.1.1.3 dev sa src 10.0.0.2
ip -n fb addr add 1.1.1.3/32 dev sb
ip -n fa route add 224.0.0.0/4 dev sa src 10.0.0.2
ip -n fa tuntap add dev ft mode tun
ip -n fa link set ft up
ip -n fa addr add 10.9.0.1/24 dev ft
ip -n fa addr add 2001:db8:9::1/64 dev ft nodad
ip -n fa link add fw type wireguard
ip -n fa link set fw up
ip -n fa addr add 10.6.0.1/24 dev fw
ip -n fa addr add 2001:db8:6::1/64 dev fw nodad
"""
)

TEARDOWN = "for ns in fr fa fb; do ip netns del $ns; done"

PORTS = (
    *(("fr", port) for port in ("p0", "p1")),
    *(("fa", port) for port in ("sa", "sa.7", "sa.q", "sa.q.7", "fi", "fs", "ft", "fw", "lo")),
    *(("fb", port) for port in ("sb", "sb.7", "sb.q", "sb.q.7", "gi", "gs")),
)
EXACT = ("p0", "p1", "sa", "sb")
"""Where a socket with libpcap's cBPF listens for each expression."""
