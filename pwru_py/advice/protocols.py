# SPDX-License-Identifier: Apache-2.0
"""Protocols above IP that nobody here handles, and IPv6 where it is off. Pure."""

from __future__ import annotations

from ipaddress import ip_address

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict, setting, sysctl
from .case import number as value_of

_MODULES = {
    4: ("IPIP", "modprobe ipip, and a tunnel for its sender: ip tunnel show"),
    41: ("IPv6 in IPv4 (SIT)", "modprobe sit, and a tunnel for its sender: ip tunnel show"),
    47: ("GRE", "modprobe ip_gre, and a tunnel for its sender: ip tunnel show"),
    50: ("ESP (IPsec)", "modprobe esp4 (IPv6: esp6), and states for it: ip xfrm state"),
    51: ("AH (IPsec)", "modprobe ah4 (IPv6: ah6), and states for it: ip xfrm state"),
    132: ("SCTP", "modprobe sctp, if a service here is meant to have it"),
}
"""Protocols that a module of the kernel handles."""
_PROGRAMS = {88: "EIGRP", 89: "OSPF", 103: "PIM", 112: "VRRP"}
"""Protocols that a program handles by a raw socket."""
_OFF = "disable_ipv6"


def _nobody(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    proto = drop.tuple.proto
    moved = answers.moved("Ip6InUnknownProtos" if drop.v6 else "Ip.InUnknownProtos")
    if proto in _MODULES:
        name, change = _MODULES[proto]
        what = f"nothing in this kernel handles {name}: its module is not loaded"
    elif proto in _PROGRAMS:
        name = _PROGRAMS[proto]
        what = f"no program here has a raw socket for {name}"
        change = f"start the daemon that speaks {name}, or have it sent elsewhere"
    else:
        what = f"nothing here handles IP protocol {proto}"
        change = "have it sent elsewhere, or load what handles it"
    return [Finding(Verdict.PROVEN, what, (Fact("IP protocol", proto), *moved), change)]


def _settings(drop: Drop) -> tuple[str, ...]:
    return tuple(f"net/ipv6/conf/{device}/{_OFF}" for device in ("all", drop.ifname))


def _off_needs(drop: Drop) -> tuple[Reading, ...]:
    return tuple(map(sysctl, _settings(drop)))


def _off(drop: Drop, answers: Answers) -> list[Finding]:
    proof = tuple(fact for name in _settings(drop) for fact in setting(answers, name))
    own = _settings(drop)[1]
    if value_of(answers, own) == 0:
        what = f"IPv6 was off on {drop.ifname} then; it is on now"
        return [Finding(Verdict.LIKELY, what, proof, "nothing, if packets pass now")]
    what = f"IPv6 is off on {drop.ifname}"
    change = (
        f"set {own.replace('/', '.')}=0 (the host has IPv6 addresses there then: filter IPv6, too)"
    )
    return [Finding(Verdict.PROVEN, what, proof, change)]


def _groups(drop: Drop) -> Reading:
    return Reading("memberships", (drop.ifname,))


def _is_multicast(drop: Drop) -> bool:
    return drop.tuple is not None and not drop.v6 and ip_address(drop.tuple.daddr).is_multicast


def _multicast(drop: Drop, answers: Answers) -> list[Finding]:
    if not _is_multicast(drop):
        return []
    assert drop.tuple is not None
    joined, group = answers.get(_groups(drop)), drop.tuple.daddr
    if joined is None:
        return []
    proof = (Fact(f"groups of {drop.ifname}", ", ".join(joined[:6]) or "none"),)
    if group in joined:
        return [Finding(Verdict.NOT_THIS, f"{drop.ifname} has joined {group}", proof)]
    what = f"nobody here has joined {group} on {drop.ifname}: multicast that others want"
    change = "nothing, if no program here is meant to have it; else it is to join on this interface"
    return [Finding(Verdict.LIKELY, what, proof, change)]


DIAGNOSES = (
    Diagnosis(
        (("", "ip_rcv_finish"), ("", "ip_rcv_finish_core")),
        lambda drop: (_groups(drop),) if _is_multicast(drop) else (),
        _multicast,
        "net/ipv4/route.c: ip_route_input_rcu()",
        lambda drop: drop.tuple.daddr if _is_multicast(drop) and drop.tuple is not None else None,
    ),
    Diagnosis(
        (("IP_NOPROTO", ANY),),
        lambda drop: (),
        _nobody,
        "net/ipv4/ip_input.c: ip_protocol_deliver_rcu()",
        lambda drop: drop.tuple.proto if drop.tuple is not None else None,
    ),
    Diagnosis(
        (("IPV6DISABLED", ANY),),
        _off_needs,
        _off,
        "net/ipv6/ip6_input.c: ip6_rcv_core()",
    ),
)
