# SPDX-License-Identifier: Apache-2.0
"""Programs at devices, bridges, protocols nobody handles. Pure."""

from __future__ import annotations

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict, link

_STP = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
_FORWARDING = 3
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


# Bridges


def _bridge_needs(drop: Drop) -> tuple[Reading, ...]:
    return (link(drop.ifname), Reading("bridge_port", (drop.ifname,)))


def _bridge(drop: Drop, answers: Answers) -> list[Finding]:
    port = answers.get(Reading("bridge_port", (drop.ifname,)))
    device = drop.ifname
    if port is None:
        return []
    bridge, state = port["bridge"], port["state"]
    findings = []
    stated = Fact(f"STP state of {device} in {bridge}", _STP.get(state, str(state)))
    told = drop.reason == "BRIDGE_INGRESS_STP_STATE"
    if state != _FORWARDING:
        what = f"the port {device} of {bridge} is {_STP.get(state, state)}, not forwarding"
        change = "wait for STP, or see its topology; without STP a loop floods the network"
        verdict = Verdict.PROVEN if told else Verdict.LIKELY
        findings.append(Finding(verdict, what, (stated,), change))
    elif told:
        what = f"the port {device} did not forward then; it does now"
        findings.append(Finding(Verdict.LIKELY, what, (stated,), "nothing: STP has settled"))
    else:
        findings.append(Finding(Verdict.NOT_THIS, "the port forwards", (stated,)))
    if port["filtering"]:
        vids = port["vlans"]
        listed = ", ".join(map(str, vids[:12])) or "none"
        pvid = f"untagged is VLAN {port['pvid']}" if port["pvid"] else "untagged frames are refused"
        proof = (Fact(f"VLANs of {device}", listed), Fact("pvid", port["pvid"] or "none"))
        what = f"{bridge} filters VLANs, and {device} is in {listed}; {pvid}"
        change = f"bridge vlan add vid N dev {device} (the port reaches that VLAN then)"
        sure = not vids and drop.function == "__allowed_ingress"
        verdict = Verdict.PROVEN if sure else Verdict.LIKELY
        filtered = Finding(verdict, what, proof, change)
        ingress = drop.function in ("__allowed_ingress", "br_allowed_ingress")
        findings.insert(0 if ingress or state == _FORWARDING else len(findings), filtered)
    elif drop.function == "__allowed_ingress":
        off = Finding(Verdict.LIKELY, f"{bridge} filtered VLANs then; it does not now")
        findings.insert(0, off)
    else:
        findings.append(Finding(Verdict.NOT_THIS, f"{bridge} does not filter VLANs"))
    return findings


def _hairpin(drop: Drop, answers: Answers) -> list[Finding]:
    port = answers.get(Reading("bridge_port", (drop.ifname,)))
    if port is None:
        return []
    proof = (Fact(f"hairpin of {drop.ifname}", "on" if port["hairpin"] else "off"),)
    if port["state"] != _FORWARDING:
        return _bridge(drop, answers)
    if port["hairpin"]:
        return [Finding(Verdict.NOT_THIS, f"{drop.ifname} reflects frames (hairpin)", proof)]
    what = f"its target lies behind {drop.ifname}, by which it came: a bridge does not send it back"
    change = f"bridge link set dev {drop.ifname} hairpin on (for NAT back to the sender's own host)"
    return [Finding(Verdict.LIKELY, what, proof, change)]


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
        (
            ("BRIDGE_INGRESS_STP_STATE", ANY),
            ("", "__allowed_ingress"),
            ("", "br_allowed_ingress"),
            ("", "br_handle_frame"),
            ("", "br_handle_frame_finish"),
        ),
        _bridge_needs,
        _bridge,
        "net/bridge/br_input.c: br_handle_frame(), net/bridge/br_vlan.c: __allowed_ingress()",
    ),
    Diagnosis(
        (("", "br_forward"),),
        _bridge_needs,
        _hairpin,
        "net/bridge/br_forward.c: br_forward()",
    ),
    Diagnosis(
        (("UNHANDLED_PROTO", ANY),),
        lambda drop: (),
        _protocol,
        "net/core/dev.c: __netif_receive_skb_core()",
        lambda drop: drop.ethertype,
    ),
)
