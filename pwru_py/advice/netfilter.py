# SPDX-License-Identifier: Apache-2.0
"""Netfilter: a full conntrack table, a rule or policy that may have done it. Pure.

Where the rule was not told with the drop, what is said of tables is likely at most.
"""

from __future__ import annotations

from typing import Any

from ..record.dropped_by import dropped_by_text
from ..record.event import DroppedBy
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
    setting,
    sysctl,
)

_COUNT, _MAX = "net/netfilter/nf_conntrack_count", "net/netfilter/nf_conntrack_max"
_BRIDGED = "net/bridge/bridge-nf-call-iptables"
_LIBERAL = "net/netfilter/nf_conntrack_tcp_be_liberal"
RULESET = Reading("ruleset")
LEGACY = Reading("legacy_tables")
_OPEN = "change that rule or policy for this traffic alone: what it guards is open then"
_TCP, _ICMP = 6, 1
_UNREACHABLE, _TOO_BIG = 3, 2  # types of ICMP and ICMPv6


def _needs(drop: Drop) -> tuple[Reading, ...]:
    names = (_COUNT, _MAX, _BRIDGED, _LIBERAL)
    return (*map(sysctl, names), RULESET, LEGACY, link(drop.ifname))


def _judge(drop: Drop, answers: Answers) -> list[Finding]:
    by = drop.dropped_by
    if by is not None:
        certain = bool(by.rule or by.by_policy)
        others = [] if certain else _rules(drop, answers)
        told = [_told(by), *_invalid(drop, answers), *others, *_bridged(drop, answers)]
        return _with_harm(told, drop)
    by_nft = drop.function == "nft_do_chain"
    full = [] if by_nft else _conntrack(answers)
    if full and full[0].verdict is not Verdict.NOT_THIS:
        return full
    return _with_harm([*_rules(drop, answers), *_bridged(drop, answers), *full], drop)


def _error(drop: Drop) -> tuple[int, int | None] | None:
    """Type and MTU of an ICMP error that tells a sender that its packets do not arrive."""
    packet = drop.tuple
    if packet is None or packet.icmp is None:
        return None
    wanted = _UNREACHABLE if packet.proto == _ICMP else _TOO_BIG
    return (packet.icmp.type, packet.icmp.mtu) if packet.icmp.type == wanted else None


def _with_harm(found: list[Finding], drop: Drop) -> list[Finding]:
    """What the drop of an ICMP error does to the one who waits for it, with the surest cause."""
    error = _error(drop)
    if error is None or not found:
        return found
    assert drop.tuple is not None
    kind, mtu = error
    name = "ICMP" if drop.tuple.proto == _ICMP else "ICMPv6"
    harm = f"so {drop.tuple.daddr} does not learn that its packets do not arrive, and waits"
    proof = [Fact(f"{name} type", kind)]
    if mtu is not None:
        harm = f"so {drop.tuple.daddr} does not learn that the way takes {mtu} bytes at most, and "
        harm += "its connections hang"
        proof.append(Fact("MTU told", mtu))
    change = f"let {name} type {kind} pass: an answer that tells where the way ends"
    first, *others = found
    first = first._replace(
        what=f"{first.what}; {harm}", proof=(*first.proof, *proof), change=change
    )
    return [first, *others]


def _told(by: DroppedBy) -> Finding:
    """Seen at the packet: the table at least, the rule or the policy where that is known."""
    what = f"dropped in {dropped_by_text(by)}"
    return Finding(Verdict.PROVEN, what, (), _OPEN)


def _invalid(drop: Drop, answers: Answers) -> list[Finding]:
    """Conntrack has found the packet invalid, and a rule may ask for that."""
    if drop.invalid is None:
        return []
    asked = drop.dropped_by is not None and "invalid" in drop.dropped_by.text.lower()
    why = f": {drop.invalid}" if drop.invalid else ", it does not say why"
    proof = answers.moved("conntrack.invalid", "conntrack invalid")
    change = "let both directions of the connection pass here"
    if drop.tuple is not None and drop.tuple.proto == _TCP:
        proof += setting(answers, _LIBERAL)
        change += (
            f", or {_LIBERAL.replace('/', '.')}=1: sequence numbers are not checked in its "
            "connections then"
        )
    verdict = Verdict.PROVEN if asked else Verdict.LIKELY
    return [Finding(verdict, f"conntrack finds the packet invalid{why}", proof, change)]


def _conntrack(answers: Answers) -> list[Finding]:
    """Whether the table of connections was full, or an entry was refused at its confirmation."""
    count, most = number(answers, _COUNT), number(answers, _MAX)
    if most is None:
        return []
    refused = answers.rise("conntrack.insert_failed") or 0
    # One that is refused at its confirmation counts as a drop, too: nf_ct_resolve_clash().
    dropped = max(0, (answers.rise("conntrack.drop") or 0) - refused)
    proof = (
        Fact("conntrack entries", count or 0, most),
        *answers.moved("conntrack.drop", "conntrack drop"),
        *answers.moved("conntrack.early_drop", "early_drop"),
    )
    change = (
        "raise net.netfilter.nf_conntrack_max (memory), shorten timeouts, or notrack what needs no "
        "state"
    )
    near = count is not None and count >= most
    if near or dropped:
        verdict = Verdict.PROVEN if near and dropped else Verdict.LIKELY
        return [Finding(verdict, "the table of connections (conntrack) is full", proof, change)]
    if refused:
        what = "two packets made the same connection at once, and the second one was dropped"
        lost = answers.moved("conntrack.insert_failed", "conntrack insert_failed")
        change = "for DNS: single-request-reopen in resolv.conf, or a resolver on each node"
        return [Finding(Verdict.LIKELY, what, lost, change)]
    return [Finding(Verdict.NOT_THIS, "the table of connections has room", proof)]


def _rules(drop: Drop, answers: Answers) -> list[Finding]:
    """Chains that drop: the one whose counter moved, the only one, or several."""
    chains = _chains(answers.get(RULESET), answers.end.get(RULESET))
    legacy = answers.get(LEGACY) or []
    if drop.function == "nft_do_chain":
        legacy = []
    families = ("ip6", "inet") if drop.v6 else ("ip", "inet")
    chains = [c for c in chains if c["family"] in (*families, "bridge", "netdev", "arp")]
    moved = [c for c in chains if c["rise"]]
    shown = moved or chains
    if answers.get(RULESET) is None and not legacy:
        what = "a rule, a policy or a module of netfilter dropped it; nft(8) cannot list rules here"
        return [Finding(Verdict.LIKELY, what, (), "see nft list ruleset, iptables-save")]
    if not shown and not legacy:
        what = "no chain of nf_tables drops now: the rule is gone, or a set, map or queue decides"
        return [Finding(Verdict.LIKELY, what, (), "see nft list ruleset, iptables-save")]
    names = [f"{c['family']} {c['table']}/{c['chain']}" for c in shown]
    names += [f"iptables {table}" for table in legacy]
    listed = ", ".join(names[:4]) + (f" and {len(names) - 4} more" if len(names) > 4 else "")
    proof = tuple(_fact(c) for c in shown[:3])
    liberal = setting(answers, _LIBERAL) if any("invalid" in c["drops"] for c in shown) else ()
    invalid = answers.rise("conntrack.invalid")
    if invalid and liberal:
        proof += (*answers.moved("conntrack.invalid", "conntrack invalid"), *liberal)
    if len(names) == 1:
        what = f"netfilter dropped it; {listed} is what drops in this namespace"
    else:
        what = f"netfilter dropped it; {listed} can have done so"
    return [Finding(Verdict.LIKELY, what, proof, _OPEN)]


def _fact(chain: dict[str, Any]) -> Fact:
    name = f"{chain['family']} {chain['table']}/{chain['chain']}"
    return Fact(name, chain["drops"], None, chain["rise"] or None)


def _chains(at: Any, end: Any) -> list[dict[str, Any]]:
    """Chains that drop, with how far the counters of their dropping rules rose meanwhile."""
    before = {(c["family"], c["table"], c["chain"]): c["packets"] for c in at or []}
    last = {(c["family"], c["table"], c["chain"]): c["packets"] for c in end or []}
    return [
        {**c, "rise": last.get(key, 0) - before[key]}
        for c in at or []
        if (key := (c["family"], c["table"], c["chain"])) in before
    ]


def _bridged(drop: Drop, answers: Answers) -> list[Finding]:
    device = answers.get(link(drop.ifname)) or {}
    in_bridge = device.get("master_kind") == "bridge" or any("br_nf" in f for f in drop.stack)
    if not in_bridge or not number(answers, _BRIDGED):
        return []
    what = f"{drop.ifname} belongs to a bridge, and bridged IPv4 goes through iptables here"
    name = _BRIDGED.replace("/", ".")
    change = f"accept it in FORWARD; {name}=0 ends that filter for all bridges"
    return [Finding(Verdict.LIKELY, what, setting(answers, _BRIDGED), change)]


DIAGNOSES = (
    Diagnosis(
        (("NETFILTER_DROP", ANY), ("", "nf_hook_slow"), ("", "nft_do_chain")),
        _needs,
        _judge,
        "net/netfilter/core.c: nf_hook_slow(), nf_conntrack_core.c: nf_conntrack_in()",
        lambda drop: (drop.dropped_by, drop.invalid, _error(drop)),
    ),
)
