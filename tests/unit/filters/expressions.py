# SPDX-License-Identifier: Apache-2.0
"""The corpus: every primitive of pcap-filter(7) that has a meaning on Ethernet, combined.

Addresses, ports and numbers are those of packets.py, so that many expressions match something.
"""

from __future__ import annotations

import itertools

HOSTS = ("1.1.1.1", "10.0.0.2", "192.168.7.9", "2001:db8::1", "fe80::2", "224.0.0.5")
NETS = ("1.1.1.0/24", "10.0.0.0/8", "192.168", "10", "1.1.1.1/32", "2001:db8::/32", "fe80::/10")
PORTS = ("53", "80", "443", "5353", "0", "65535")
RANGES = ("50-60", "80-80", "0-65535", "443-6000")
MACS = ("02:00:00:00:00:01", "02:00:00:00:00:02", "ff:ff:ff:ff:ff:ff")
DIRECTIONS = ("", "src ", "dst ", "src or dst ", "src and dst ")
TRANSPORTS = ("tcp", "udp", "sctp")
IP_PROTOCOLS = ("1", "6", "17", "132", "50", "\\icmp", "\\tcp", "\\udp", "\\sctp", "\\esp", "\\ah")
ETHER_TYPES = ("0x800", "0x86dd", "0x806", "0x8100", "0x8847", "0x8863", "100", "\\ip", "\\arp")
_WORDS = """
ip ip6 arp rarp tcp udp icmp icmp6 igmp igrp pim vrrp carp ah esp sctp atalk aarp decnet iso stp
ipx netbeui lat moprc mopdl clnp esis isis l1 l2 iih lsp snp csnp psnp llc vlan mpls pppoed pppoes
geneve broadcast multicast
"""
WORDS = tuple(_WORDS.split())
LLC_TYPES = ("i", "s", "u", "rr", "rnr", "rej", "ui", "ua", "disc", "sabme", "test", "xid", "frmr")


def _addresses() -> list[str]:
    found = [f"{d}host {h}" for d in DIRECTIONS for h in HOSTS]
    found += [f"{p} {d}host {h}" for p in ("ip", "arp") for d in DIRECTIONS for h in HOSTS[:3]]
    found += [f"ip6 {d}host {h}" for d in DIRECTIONS for h in HOSTS[3:5]]
    found += [f"{d}net {n}" for d in DIRECTIONS for n in NETS]
    found += [f"{d}net 10.0.0.0 mask 255.255.0.0" for d in DIRECTIONS]
    found += [f"ip {d}net 1.1.1.0 mask 255.255.255.0" for d in DIRECTIONS[:3]]
    found += [f"ether {d}host {m}" for d in DIRECTIONS for m in MACS]
    found += [f"ether {w}" for w in ("broadcast", "multicast")]
    found += ["ip multicast", "ip6 multicast", "rarp src host 10.0.0.2"]
    return found


def _ports() -> list[str]:
    found = [f"{d}port {p}" for d in DIRECTIONS for p in PORTS]
    found += [f"{t} {d}port {p}" for t in TRANSPORTS for d in DIRECTIONS for p in PORTS[:3]]
    found += [f"{d}portrange {r}" for d in DIRECTIONS for r in RANGES]
    found += [f"{t} {d}portrange {r}" for t in TRANSPORTS for d in DIRECTIONS for r in RANGES[:2]]
    found += ["port domain", "tcp port http", "udp port 53 or tcp port 53"]
    return found


def _protocols() -> list[str]:
    found = list(WORDS)
    found += [f"{f} proto {p}" for f in ("ip", "ip6") for p in IP_PROTOCOLS]
    found += [f"proto {p}" for p in IP_PROTOCOLS]
    found += [f"ether proto {p}" for p in ETHER_TYPES]
    found += [f"llc {t}" for t in LLC_TYPES]
    found += [f"{d}host 1.1.1.1 and not {w}" for d in DIRECTIONS[:3] for w in WORDS[:8]]
    found += ["iso proto 0x81", "iso proto \\clnp", "decnet host 1.2", "decnet src 10.15"]
    return found


def _lengths() -> list[str]:
    found = [f"{w} {n}" for w in ("less", "greater") for n in (0, 42, 60, 64, 100, 1500)]
    found += [f"len {op} {n}" for op in ("<", "<=", "=", "!=", ">", ">=") for n in (60, 74)]
    return [*found, "len - 14 > 40", "len = ip[2:2] + 14", "ip[2:2] + 14 < len", "len / 2 > 30"]


def _encapsulations() -> list[str]:
    inner = ("ip", "tcp", "udp port 53", "host 1.1.1.1", "arp", "ip6")
    outer = (
        "vlan", "vlan 7", "vlan and vlan", "vlan 100 and vlan 7", "mpls", "mpls 16",
        "mpls 16 and mpls 17", "pppoes", "pppoes 3", "geneve", "geneve 5", "vlan and mpls",
    )  # fmt: skip
    found = [f"{o} and {i}" for o in outer for i in inner]
    found += [f"({o}) or {i}" for o in outer[:4] for i in inner[:3]]
    return [*found, "not vlan", "not vlan 7 and ip", "vlan and pppoes and ip and tcp"]


def _accesses() -> list[str]:
    layers = {"ether": 14, "ip": 20, "ip6": 40, "tcp": 13, "udp": 6, "icmp": 4, "arp": 8}
    found = [
        f"{layer}[{off}:{size}] {op} {value}"
        for (layer, last), size, (op, value) in itertools.product(
            layers.items(), (1, 2, 4), (("=", 6), (">", 0x1000), ("& 0xf0 !=", 0))
        )
        for off in (0, last)
    ]
    return found + [f"{layer}[{off}] = 0" for layer in layers for off in (250, 255, 256, 300, 1400)]


UGLY = tuple(
    """
    ip[ip[0]&0xf:2] = 0x4000
    ip[ip[0]&0xf] > 5
    ip[(ip[0]&0xf)<<2:2] = 53
    ip[((ip[0]&0xf)<<2)+2:2] = 53
    tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420
    tcp[((tcp[12] & 0xf0) >> 2) + 200:4] != 0
    tcp[tcpflags] & (tcp-syn|tcp-fin) != 0 and not src and dst net 10.0.0.0/8
    tcp[tcpflags] == tcp-syn
    tcp[tcpflags] & tcp-ack = tcp-ack
    tcp[13] & 7 != 0 or tcp[14:2] < 1000
    tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)
    icmp[icmptype] = icmp-echo
    icmp[icmptype] != icmp-echo and icmp[icmptype] != icmp-echoreply
    icmp[icmpcode] = 0
    icmp6[icmp6type] = icmp6-echo
    icmp6[0] = 128 or icmp6[0] = 129
    icmp6[icmp6type] == icmp6-neighborsolicit
    icmp6[4:2] > 10
    ether[0] & 1 = 0 and ip[16] >= 224
    ether[12:2] = 0x0800
    ether[6:4] = 0x02000000
    ether[ether[14]&0xf] = 0
    ether[ip[8]] = 0
    ip[ip[9]] = 3
    ip[ip[2:2]:4] > 5
    ip[ip[2:2]-1] = 0
    ip[ip[9]-6] = 0x45
    ip[ip[8]-64:4] & 0xf0000000 = 0x40000000
    ip[8] - 65 > 10
    ip[8] * ip[9] = 384
    ip[2:2] / ip[0] = 0
    ip[2:2] / (ip[9] - 6) = 0
    ip[2:2] % (ip[9] - 17) != 3
    ip[2:2] % 7 = 3
    ip[8] << ip[9] = 4096
    ip[8] << (ip[9] * 4) = 0
    ip[8] >> ip[9] = 1
    0xffffffff >> ip[9] = 0x3ffffff
    ip[8] ^ ip[9] = 70
    ip[8] | ip[9] = 70
    -ip[8] = 0xffffffc0
    -ip[8] < 5
    ip[8:4] & 0xff00ff00 = 0x40000000
    (ip[12:4] ^ ip[16:4]) & 0xffffff00 = 0
    ip[12:4] = ip[16:4]
    ip[12:4] > ip[16:4]
    ip[12:4] >= ip[16:4]
    tcp[0:2] = tcp[2:2]
    tcp[0:2] > tcp[2:2]
    tcp[4:4] & tcp[8:4] != 0
    udp[4:2] = ip[2:2] - 20
    udp[4:2] > 8 and udp[8] & 0x80 != 0
    ip[6:2] & 0x1fff = 0 and ip[9] = 17
    ip[6:2] & 0x3fff != 0
    ip[6:2] & 0x2000 != 0 or ip[6:2] & 0x1fff > 0
    ip and ip[0] & 0xf > 5
    ip6[6] = 44 or ip6[6] = 0
    ip6[ip6[6]:2] = 0
    ip6[40] = 6 and ip6[42:2] & 0xfff8 != 0
    ip[300] = 1 and ip[9] = 6
    ether[300:4] = 0 or ether[1000:2] != 0
    tcp[300] = 0
    ip[ip[300]] = 0
    tcp[ip[300]:2] = tcp[ip[8]:2]
    not (tcp or udp)
    not not ip
    ip and (tcp or udp) and not (port 80 or port 53)
    (tcp[0:2] >= 1024 and tcp[0:2] <= 65535) or udp[0:2] > 50
    host 1.1.1.1 and (port 80 or port 443) and not host 10.0.0.2
    ether src 02:00:00:00:00:01 and ip proto 6 and dst portrange 79-81
    arp[6:2] = 1
    arp and host 10.0.0.2
    arp[6:2] = 2 and arp[14:4] = 0x0a000002
    wlan[0] = 2
    ppp[0] = 3
    link[12:2] = 0x806
    sctp[0:2] = 80
    sctp and port 80
    igmp[0] = 0x16
    pim[0] & 0xf = 0
    vrrp[0] = 0x21
    vlan and ether[14:2] & 0xfff = 7
    1 = 1
    ip[0] - ip[0] = 0
    ip[0] = 0x45 and ip[0] = 0x46
    icmp or udp port 53 or tcp port 80 or arp or ip6
    tcp dst port 80 or udp dst port 53 or icmp6
    dst host 1.1.1.1 and tcp
    udp and dst port 53
    tcp or icmp
    """.strip().splitlines()
)


def _lists() -> list[str]:
    hosts = [f"host 10.{n >> 8}.{n & 255}.2" for n in range(100)]
    ports = [str(n) for n in range(40, 100, 3)]
    return [
        " or ".join(hosts[:10]),
        " or ".join(hosts),
        "not (" + " or ".join(hosts[:30]) + ")",
        "tcp port (" + " or ".join(ports) + ")",
        "udp and (" + " or ".join(f"dst port {p}" for p in ports) + ")",
        "ip host (" + " or ".join(f"10.0.0.{n}" for n in range(60)) + ")",
        " and ".join(f"not port {p}" for p in ports),
        " or ".join(f"ether host 02:00:00:00:00:{n:02x}" for n in range(20)),
        " or ".join(f"ip6 net 2001:db8:{n:x}::/48" for n in range(20)),
    ]


def _pairs() -> list[str]:
    left = ("tcp", "host 1.1.1.1", "net 10", "port 80", "not vlan", "ip6", "greater 60", "icmp")
    right = ("udp port 53", "src host 10.0.0.2", "ip[8] > 5", "portrange 1-100", "arp", "multicast")
    return [f"{a} {j} {b}" for a in left for j in ("and", "or", "and not") for b in right]


def corpus() -> tuple[str, ...]:
    """All expressions, each once; a few are refused by libpcap ("" is accepted)."""
    ugly = [line.strip() for line in UGLY]
    groups = (
        [""], _addresses(), _ports(), _protocols(), _lengths(), _encapsulations(), _accesses(),
        ugly, _lists(), _pairs(),
    )  # fmt: skip
    return tuple(dict.fromkeys(itertools.chain.from_iterable(groups)))
