# SPDX-License-Identifier: Apache-2.0
"""Programs at devices, protocols nobody handles. Pure."""

from __future__ import annotations

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict

_PROTOCOLS = {
    0x0800: "IPv4",
    0x8847: "MPLS",
    0x8100: "802.1Q VLAN",
    0x88A8: "802.1ad VLAN",
    0x88CC: "LLDP",
    0x86DD: "IPv6",
    0x8863: "PPPoE discovery",
    0x8864: "PPPoE",
    0x88F7: "PTP",
    0x0004: "802.2 (STP and others)",
}


def programs_of(ifname: str) -> Reading:
    """What may drop at a device."""
    return Reading("programs", (ifname,))


def _program_needs(drop: Drop) -> tuple[Reading, ...]:
    return (programs_of(drop.ifname),)


def _program(drop: Drop, answers: Answers) -> list[Finding]:
    place = {"TC_INGRESS": "ingress", "TC_EGRESS": "egress"}.get(drop.reason, "xdp")
    return judge_programs(place, drop.ifname, answers)


def judge_programs(
    place: str, ifname: str, answers: Answers, moved: tuple[Fact, ...] = ()
) -> list[Finding]:
    """Which program of a device dropped at ``place``. ``moved``: counters that say so."""
    here = [p for p in answers.get(programs_of(ifname)) or [] if p["place"] == place]
    bpf = [p for p in here if p["bpf"]]
    proof = (*(Fact(f"{p['place']} of {ifname}", _called(p)) for p in here[:3]), *moved)
    what_is = "an XDP program" if place == "xdp" else "a tc filter or program"
    where = "receive path" if place == "xdp" else place
    change = "change that program: its owner (a CNI, a load balancer, DDoS protection) has reasons"
    if not here:
        what = f"{what_is} in the {where} of {ifname} dropped it; none is there now"
        return [Finding(Verdict.LIKELY, what, moved, "see ip -d link, tc filter show, bpftool net")]
    names = ", ".join(_called(p) for p in here[:3])
    what = f"in the {where} of {ifname} it was dropped by {names}"
    only = len(here) == 1
    if not only:
        what = f"in the {where} of {ifname} it was dropped by one of {names}"
    verdict = Verdict.PROVEN if only else Verdict.LIKELY
    if not bpf:
        change = "change that filter's action for this traffic"
    return [Finding(verdict, what, proof, change)]


def _called(program: dict[str, object]) -> str:
    number = f" (id {program['id']})" if program["id"] else ""
    return f"{'program' if program['bpf'] else 'filter'} {program['name'] or '?'}{number}"


# netkit: the sender's end runs its programs when the packet has the receiver's device already.


def _pair(drop: Drop) -> Reading:
    return Reading("netkit", (drop.ifname,))


def _netkit(drop: Drop, answers: Answers) -> list[Finding]:
    pair, device = answers.get(_pair(drop)), drop.ifname
    if pair is None:
        return []
    if not pair["carrier"]:
        what = f"the other end of {device} is down"
        down = Fact(f"{device} carrier", 0)
        return [
            Finding(Verdict.PROVEN, what, (down,), "ip link set … up, in the namespace it is in")
        ]
    end = "peer" if pair["primary"] else "primary"
    drops, found = pair["peer_drops"], [p for p in pair["programs"] if p["place"] == end]
    policy = Fact(f"policy of the {end} end", "drop" if drops else "pass")
    names = ", ".join(f"program {p['name'] or '?'} (id {p['id']})" for p in found[:3])
    change = "change that program or policy: its owner (a CNI) keeps pods apart by it"
    if not pair["primary"] and not drops:
        what = f"a BPF program of the other, primary end of {device} refused it, on the host"
        return [Finding(Verdict.LIKELY, what, (policy,), f"see bpftool net there; {change}")]
    if not found:
        sure = drops and pair["primary"]
        what = f"the {end} end of {device} drops what no program lets pass: its policy"
        if not drops:
            what = f"a BPF program of the {end} end of {device} refused it; none is there now"
        return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, (policy,), change)]
    proof = (*(Fact(f"netkit {end}", f"{p['name']} (id {p['id']})") for p in found[:3]), policy)
    what = f"at the {end} end of {device} it was refused by {names}"
    what += " or the policy, drop" if drops else ""
    sure = len(found) == 1 and not drops
    return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]


# Protocols


def _protocol(drop: Drop, answers: Answers) -> list[Finding]:
    kind = drop.ethertype
    name = _PROTOCOLS.get(kind, f"EtherType 0x{kind:04x}")
    what = f"nothing on this host handles {name} from {drop.ifname}"
    return [Finding(Verdict.PROVEN, what, (), "nothing, if no program here is meant to have it")]


DIAGNOSES = (
    Diagnosis(
        (
            ("XDP", ANY),
            ("TC_INGRESS", ANY),
            ("TC_EGRESS", ANY),
            ("", "do_xdp_generic"),
            ("", "netif_receive_generic_xdp"),
            ("", "veth_xdp_rcv_skb"),
        ),
        _program_needs,
        _program,
        "net/core/dev.c: do_xdp_generic(), sch_handle_ingress(), sch_handle_egress()",
    ),
    Diagnosis(
        (("", "netkit_xmit"),),
        lambda drop: (_pair(drop),),
        _netkit,
        "drivers/net/netkit.c: netkit_xmit()",
    ),
    Diagnosis(
        (("UNHANDLED_PROTO", ANY),),
        lambda drop: (),
        _protocol,
        "net/core/dev.c: __netif_receive_skb_core()",
        lambda drop: drop.ethertype,
    ),
)
