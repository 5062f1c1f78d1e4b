# SPDX-License-Identifier: Apache-2.0
"""A network with most kinds of devices, for ``test_journey_devices``.

::

    netns p                root                   netns q                       netns r
    eth0 10.60.0.1 ─── jp ─ jbr ─ jq ─── eth0 10.60.0.2
                             ├─── ju ─── eth0 10.60.0.3 of u, with macvlan m1, m2
                             └─── jv ─── eth0 10.60.0.4 of v, with ipvlan i1, i2
    ev 10.20.0.1 ─────────────────────── ev 10.20.0.2 in VRF blue
    bond0 10.21.0.1 of s1, s2 ────────── bond0 10.21.0.2 of s1, s2
    nat0 10.31.0.1 ───────────────────── nat0 10.31.0.2, nr 10.30.0.1 ── eth0 10.30.0.2

Every 10.N.0.X has its fd00:N::X. q translates what goes to r.
"""

from __future__ import annotations

from collections import defaultdict

from tests.kernel.lab import Lab

SPACES = ("p", "q", "r", "u", "v", "m1", "m2", "i1", "i2")
TUNNELS = {
    "geneve": "geneve id 9 remote {four}",
    "geneve6": "geneve id 10 remote {six}",
    "gre": "gre local any remote {four}",
    "gretap": "gretap local any remote {four} key 5",
    "ip6gre": "ip6gre local {six_here} remote {six}",
    "ipip": "ipip local any remote {four}",
    "sit": "sit local any remote {four}",
    "ip6tnl": "ip6tnl local {six_here} remote {six} mode any",
    "wg0": "wireguard",
    "wg6": "wireguard",
}
NUMBERS = {name: number for number, name in enumerate(TUNNELS, 40)}
"""N of a tunnel's addresses."""

_MODULES = "geneve ip_gre ip6_gre ipip sit ip6_tunnel wireguard esp4 esp6 bonding tun vrf ipvlan"
_KEY = "aead rfc4106(gcm(aes)) 0x0102030405060708090a0b0c0d0e0f1011121314 128"
_NAT = """
add table inet n; add chain inet n p { type nat hook prerouting priority -100; }
add rule inet n p ip daddr 10.31.0.2 udp dport 53 dnat ip to 10.30.0.2:5353
add rule inet n p ip6 daddr fd00:31::2 udp dport 53 dnat ip6 to [fd00:30::2]:5353
add chain inet n q { type nat hook postrouting priority 100; }
add rule inet n q oifname nr masquerade
"""


class _Lines(defaultdict[str, list[str]]):
    """Commands of ip(8) by namespace, '' the host's."""

    def __init__(self) -> None:
        super().__init__(list)

    def up(self, space: str, device: str, number: int, host: int) -> None:
        """With addresses, ten times as fast as by single commands."""
        self[space] += [
            f"addr add 10.{number}.0.{host}/24 dev {device}",
            f"addr add fd00:{number}::{host}/64 dev {device} nodad",
            f"link set {device} up",
        ]

    def script(self) -> str:
        return "\n".join(
            f"ip {f'-n {space}' if space else ''} -batch - <<'EOF'\n" + "\n".join(lines) + "\nEOF"
            for space, lines in self.items()
        )


def _host(lines: _Lines) -> None:
    lines[""] += [f"netns add {space}" for space in SPACES]
    lines[""] += ["link add jbr type bridge vlan_filtering 1 mcast_snooping 0", "link set jbr up"]
    for space in "pquv":
        lines[""] += [
            f"link add j{space} type veth peer name eth0 netns {space}",
            f"link set j{space} master jbr up",
        ]


def _hosts(lines: _Lines) -> None:
    for space in SPACES:
        lines[space].append("link set lo up")
    for host, space in enumerate("pquv", 1):
        lines.up(space, "eth0", 60, host)
    for name, below, host, kind in (
        ("m1", "u", 21, "macvlan mode vepa"),
        ("m2", "u", 22, "macvlan mode vepa"),
        ("i1", "v", 31, "ipvlan mode l2"),
        ("i2", "v", 32, "ipvlan mode l2"),
    ):
        lines[below].append(f"link add link eth0 name {name} netns {name} type {kind}")
        lines.up(name, name, 60, host)
    for name in ("ev", "s1", "s2", "nat0"):
        lines["p"].append(f"link add {name} type veth peer name {name} netns q")
    lines["q"] += ["link add blue type vrf table 10", "link set blue up", "link set ev master blue"]
    lines["q"].append("link add nr type veth peer name eth0 netns r")
    lines.up("q", "nr", 30, 1)
    lines.up("r", "eth0", 30, 2)


def _ends(lines: _Lines, space: str, host: int) -> None:
    """What p and q both have: bond, VLAN, tunnels, IPsec."""
    other = 3 - host
    lines[space] += ["link add bond0 type bond mode active-backup", "link set s1 master bond0",
                     "link set s2 master bond0",
                     "link add link eth0 name eth0.7 type vlan id 7"]  # fmt: skip
    for device, number in (("eth0.7", 17), ("ev", 20), ("bond0", 21), ("nat0", 31)):
        lines.up(space, device, number, host)
    for name, kind in TUNNELS.items():
        told = kind.format(
            four=f"10.60.0.{other}", six=f"fd00:60::{other}", six_here=f"fd00:60::{host}"
        )
        lines[space].append(f"link add {name} type {told}")
        lines.up(space, name, NUMBERS[name], host)


def _ipsec(lines: _Lines, space: str, host: int) -> None:
    """Transport mode between .11 and .12, tunnel mode between 10.9.0.1 and 10.9.0.2."""
    other = 3 - host
    lines[space] += [
        f"addr add 10.60.0.1{host}/24 dev eth0",
        f"addr add fd00:60::1{host}/64 dev eth0 nodad preferred_lft 0",
        f"addr add 10.9.0.{host}/32 dev lo",
        f"addr add fd00:9::{host}/128 dev lo nodad",
        f"route add 10.9.0.{other} via 10.60.0.{other} src 10.9.0.{host}",
        f"route add fd00:9::{other} via fd00:60::{other} src fd00:9::{host}",
    ]
    for source, target in ((1, 2), (2, 1)):
        way = "out" if source == host else "in"
        for outer, inner in (("10.60.0.", "10.9.0."), ("fd00:60::", "fd00:9::")):
            whole = f"src {outer}1{source} dst {outer}1{target}"
            ends = f"src {outer}{source} dst {outer}{target} proto esp"
            lines[space] += [
                f"xfrm state add {whole} proto esp spi 0x1{source} mode transport {_KEY}",
                f"xfrm policy add {whole} dir {way} tmpl proto esp mode transport",
                f"xfrm state add {ends} spi 0x2{source} mode tunnel {_KEY}",
                f"xfrm policy add src {inner}{source} dst {inner}{target} dir {way} "
                f"tmpl {ends} mode tunnel",
            ]


def _wireguard(lab: Lab) -> None:
    """wg0 over IPv4, wg6 over IPv6; each carries both."""
    for name, address in (("wg0", "10.60.0."), ("wg6", "fd00:60::")):
        number, keys = NUMBERS[name], {}
        helper = f"python -m tests.kernel.inside.wireguard {name} {51820 + number}"
        for space in "pq":
            keys[space] = lab.inside(space, helper).stdout.strip()
        for space, peer, host in (("p", "q", 2), ("q", "p", 1)):
            lab.inside(
                space,
                f"{helper} {keys[peer]} {address}{host} 10.{number}.0.{host} fd00:{number}::{host}",
            )


def build(lab: Lab) -> None:
    lines = _Lines()
    _host(lines)
    _hosts(lines)
    for space, host in (("p", 1), ("q", 2)):
        _ends(lines, space, host)
        _ipsec(lines, space, host)
    lines["p"] += ["route add 10.30.0.0/24 via 10.31.0.2", "route add fd00:30::/64 via fd00:31::2"]
    quiet = " ".join(f"net.ipv6.conf.{name}.disable_ipv6=1" for name in ("jbr", "jp", "jq", "ju"))
    done = lab.run(
        f"modprobe -a {_MODULES}\n{lines.script()}\nsysctl -qw {quiet}\n"
        "for n in p q u v; do bridge vlan add vid 7 dev j$n; done\n"
        "bridge link set dev ju hairpin on\n"
        "ip netns exec q sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1\n"
        f"ip netns exec q nft -f - <<'EOF'\n{_NAT}EOF",
        timeout=120,
    )
    assert not done.stderr, done.stderr
    _wireguard(lab)


def destroy(lab: Lab) -> None:
    lab.run(f"for n in {' '.join(SPACES)}; do ip netns del $n; done; ip link del jbr")
