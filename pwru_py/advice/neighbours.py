# SPDX-License-Identifier: Apache-2.0
"""Neighbours: one that does not answer, a full queue, a full table; ARP unanswered. Pure."""

from __future__ import annotations

from .case import (
    ANY,
    Answers,
    Diagnosis,
    Drop,
    Fact,
    Finding,
    Reading,
    Verdict,
    link,
    number,
    route,
    setting,
    sysctl,
)

_DEAD = ("failed", "incomplete", "none")
_ALIVE = ("reachable", "delay", "probe", "permanent", "noarp", "stale")


def _way(drop: Drop) -> Reading:
    assert drop.tuple is not None
    return route(drop.tuple.daddr, "", "", drop.mark)


def _family(drop: Drop) -> str:
    return "ipv6" if drop.v6 else "ipv4"


def _gc(drop: Drop) -> str:
    return f"net/{_family(drop)}/neigh/default/gc_thresh3"


def _queue(drop: Drop, device: str) -> str:
    return f"net/{_family(drop)}/neigh/{device}/unres_qlen_bytes"


def _needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.tuple is None:
        return ()
    hop = Reading("next_hop", (drop.tuple.daddr, drop.mark))
    return (_way(drop), hop, sysctl(_gc(drop)), sysctl(_queue(drop, drop.ifname)))


def _silent(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    hop = answers.get(Reading("next_hop", (drop.tuple.daddr, drop.mark)))
    if hop is None:
        return []
    address, device, state = hop["address"], hop["dev"], hop["state"]
    proof: tuple[Fact, ...] = (Fact(f"neighbour {address} dev {device}", state),)
    told = drop.reason.startswith("NEIGH_") or drop.function in ("arp_error_report",)
    asks = "neighbour solicitation" if drop.v6 else "ARP"
    if state in _DEAD:
        what = f"{address}, the next hop, does not answer {asks} on {device}"
        direct = address == drop.tuple.daddr
        change = (
            f"see that {address} is up and in the same segment and VLAN as {device}"
            + ("" if direct else f", or route {drop.tuple.daddr} by another gateway")
        )  # fmt: skip
        if drop.reason == "NEIGH_QUEUEFULL":
            what += "; the packets that wait for it fill the queue"
            proof += setting(answers, _queue(drop, drop.ifname))
        return [Finding(Verdict.PROVEN if told else Verdict.LIKELY, what, proof, change)]
    if not told:
        return [Finding(Verdict.NOT_THIS, f"the next hop {address} answers", proof)]
    what = f"{address}, the next hop, did not answer {asks} then; it is known now"
    return [Finding(Verdict.LIKELY, what, proof, f"see why {address} answers late, on {device}")]


def _table(drop: Drop, answers: Answers) -> list[Finding]:
    table = "ndisc_cache" if drop.v6 else "arp_cache"
    entries, most = answers.counter(f"{table}.entries"), number(answers, _gc(drop))
    full = answers.rise(f"{table}.table_fulls")
    proof = (
        *((Fact("entries", entries, most),) if entries is not None else ()),
        *answers.moved(f"{table}.table_fulls"),
    )
    change = f"raise net.{_family(drop)}.neigh.default.gc_thresh3 (memory for each entry)"
    if full or (entries is not None and most is not None and entries >= most):
        return [Finding(Verdict.PROVEN, "the table of neighbours is full", proof, change)]
    what = "no entry could be made for the neighbour: a full table, or no memory"
    return [Finding(Verdict.LIKELY, what, proof, change)]


def arp_unanswered(ifname: str) -> tuple[tuple[Reading, ...], list[str]]:
    """What to read where requests for own addresses were not answered, and the sysctls' names."""
    names = [
        f"net/ipv4/conf/{device}/{name}"
        for device in ("all", ifname)
        for name in ("arp_ignore", "arp_filter")
    ]
    return tuple(map(sysctl, names)), names


def judge_arp(ifname: str, count: int, answers: Answers) -> list[Finding]:
    """Of ``count`` requests for own addresses that were not answered."""
    _, names = arp_unanswered(ifname)
    ignore = max(number(answers, n) or 0 for n in names if n.endswith("arp_ignore"))
    filters = max(number(answers, n) or 0 for n in names if n.endswith("arp_filter"))
    proof = tuple(fact for name in names for fact in setting(answers, name))
    if not ignore and not filters:
        what = "requests for own addresses were not answered; neither setting says so now"
        return [Finding(Verdict.LIKELY, what, proof, "see whether arptables or the route refuses")]
    which = "arp_ignore" if ignore else "arp_filter"
    what = f"{which} keeps {ifname} from answering ARP for addresses of other interfaces"
    change = (
        f"put the address on {ifname}, or set net.ipv4.conf.{ifname}.{which} (and all) to 0: then "
        "every interface answers for every address"
    )
    sure = bool(ignore) != bool(filters)
    return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]


def _other_needs(drop: Drop) -> tuple[Reading, ...]:
    return (link(drop.ifname),)


def _other(drop: Drop, answers: Answers) -> list[Finding]:
    """The kernel marks so a frame with another MAC, and one whose VLAN has no device: it takes the
    tag off (net/core/dev.c: __netif_receive_skb_core()), so nothing tells the two apart.
    """
    device = answers.get(link(drop.ifname))
    name = drop.ifname
    change = "see the sender's ARP entry (stale?), its VLAN, or the bridge that floods"
    if device is None:
        what = f"the frame was not for {name}: another target MAC, or a VLAN that has no device"
        return [Finding(Verdict.LIKELY, what, (), change)]
    vlans = ", ".join(map(str, device["vlans"])) or "none"
    proof = (
        Fact(f"{name} MAC", device["mac"]),
        Fact("VLAN devices on it", vlans),
        Fact("promiscuity", device["promiscuity"]),
    )
    what = f"the frame was not for {name}: another target MAC, or a VLAN that has no device here"
    return [Finding(Verdict.LIKELY, what, proof, change)]


DIAGNOSES = (
    Diagnosis(
        (
            ("NEIGH_FAILED", ANY),
            ("NEIGH_QUEUEFULL", ANY),
            ("NEIGH_DEAD", ANY),
            ("", "arp_error_report"),
            ("", "ndisc_error_report"),
            ("", "neigh_invalidate"),
            ("", "__neigh_event_send"),
        ),
        _needs,
        _silent,
        "net/core/neighbour.c: neigh_invalidate(), __neigh_event_send()",
        lambda drop: drop.tuple.daddr if drop.tuple is not None else None,
    ),
    Diagnosis(
        (("NEIGH_CREATEFAIL", ANY),),
        _needs,
        _table,
        "net/core/neighbour.c: neigh_alloc()",
    ),
    Diagnosis(
        (("OTHERHOST", ANY),),
        _other_needs,
        _other,
        "net/ipv4/ip_input.c: ip_rcv_core()",
    ),
)
