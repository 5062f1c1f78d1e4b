# SPDX-License-Identifier: Apache-2.0
"""Tunnels: VXLAN, WireGuard, IPsec; fragments that never became whole. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from .bridges import NO_TARGET, behind
from .case import (
    ANY,
    VAGUE,
    Answers,
    Diagnosis,
    Drop,
    Fact,
    Finding,
    Reading,
    Verdict,
    link,
    setting,
    sysctl,
)

VXLANS = Reading("vxlans")


def _peers(drop: Drop) -> Reading:
    return Reading("wireguard", (drop.ifname,))


def _vxlan_needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.reason not in (NO_TARGET, *VAGUE):
        return (VXLANS,)
    ask = (VXLANS, link(drop.ifname))
    return ask if drop.tuple is None else (*ask, behind(drop))


def _no_remote(drop: Drop, answers: Answers) -> list[Finding]:
    """By its forwarding table, which a CNI or BGP fills where it does not learn."""
    device = answers.get(link(drop.ifname)) or {}
    if device.get("kind") != "vxlan":
        return []
    goal = (answers.get(behind(drop)) if drop.tuple is not None else None) or {}
    mac, name = goal.get("mac", ""), drop.ifname
    proof = (
        Fact(f"remote of {mac or 'the target'} in the FDB of {name}", _listed(goal.get("remotes"))),
        Fact("default remote", _listed(goal.get("default"))),
        Fact("FDB entries", goal.get("entries", 0)),
    ) if goal else ()  # fmt: skip
    told = drop.reason == NO_TARGET
    if goal.get("remotes") or goal.get("default"):
        what = f"{name} knows a remote for the frame's target now"
        verdict = Verdict.LIKELY if told else Verdict.NOT_THIS
        return [Finding(verdict, what, proof, "nothing, if packets pass now" if told else "")]
    what = f"{name} knows no remote for the frame's target"
    change = (
        f"bridge fdb append {mac or 'MAC'} dev {name} dst REMOTE, or a remote or group for it; see "
        "who is to fill its FDB (CNI, EVPN)"
    )
    return [Finding(Verdict.PROVEN if told else Verdict.LIKELY, what, proof, change)]


def _listed(remotes: list[str] | None) -> str:
    return ", ".join((remotes or [])[:4]) or "none"


def _vxlan(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.reason in (NO_TARGET, *VAGUE):
        return [] if drop.function.startswith("br_") else _no_remote(drop, answers)
    devices = answers.get(VXLANS)
    listed = ", ".join(f"{d['name']}: {d['vni']}" for d in (devices or [])[:6]) or "none"
    proof = (Fact("VNIs here", listed),) if devices is not None else ()
    if drop.reason == "VXLAN_VNI_NOT_FOUND":
        what = "no VXLAN device here has the packet's VNI"
        change = "give both ends the same VNI: ip link add … type vxlan id VNI"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    if drop.reason == "LOCAL_MAC":
        what = "a frame in the tunnel has the device's own MAC as its source: a loop, or a twin"
        return [Finding(Verdict.PROVEN, what, proof, "give each end its own MAC address")]
    what = "the VXLAN header has flags that no device here takes: another protocol, or GBP/GPE"
    change = "give both ends the same options (gbp, gpe), or another port"
    return [Finding(Verdict.PROVEN, what, proof, change)]


# WireGuard


def _wireguard(drop: Drop, answers: Answers) -> list[Finding]:
    peers = answers.get(_peers(drop))
    if peers is None or drop.tuple is None:
        return []
    moved = answers.moved(f"dev.{drop.ifname}.tx_errors", f"{drop.ifname} tx_errors")
    target = drop.tuple.daddr
    peer = _peer_of(peers, target)
    if peer is None:
        what = f"no peer of {drop.ifname} has {target} in its allowed-ips"
        change = f"wg set {drop.ifname} peer KEY allowed-ips …,{target} (the peer may use it, too)"
        proof = (Fact("peers", len(peers)), *moved)
        return [Finding(Verdict.PROVEN, what, proof, change)]
    proof = (Fact(f"{target} belongs to peer", peer["key"][:8]), *moved)
    if not peer["endpoint"]:
        what = f"the peer of {target} on {drop.ifname} has no endpoint: it must speak first"
        return [Finding(Verdict.PROVEN, what, proof, "give it an endpoint, or let it begin")]
    what = f"{target} has a peer with an endpoint: its handshake may fail"
    return [Finding(Verdict.LIKELY, what, proof, "see wg show: latest handshake, keys, the port")]


def _peer_of(peers: list[dict[str, Any]], address: str) -> dict[str, Any] | None:
    """The peer with the longest prefix that holds the address."""
    found = [
        (network.prefixlen, peer)
        for peer in peers
        for text in peer["allowed_ips"]
        if ip_address(address) in (network := ip_network(text, strict=False))
    ]
    return max(found, key=lambda one: one[0])[1] if found else None


# IPsec: what a counter of /proc/net/xfrm_stat means (net/xfrm/xfrm_proc.c,
# Documentation/networking/xfrm/xfrm_proc.rst), and what would change it.
_XFRM = {
    "XfrmInNoStates": ("no state (SA) matches the packet's SPI", "agree on SAs: ip xfrm state"),
    "XfrmInStateProtoError": (
        "a packet could not be decrypted or checked: other keys or algorithms",
        "agree on keys and algorithms",
    ),
    "XfrmInStateModeError": ("the state has another mode", "agree on tunnel or transport mode"),
    "XfrmInStateSeqError": (
        "a sequence number is outside of the replay window",
        "a larger replay window, or find what reorders or repeats packets",
    ),
    "XfrmInStateExpired": ("the state has expired", "see why no new one was agreed on"),
    "XfrmInStateMismatch": ("the state has another option, as UDP encapsulation", "agree on it"),
    "XfrmInStateInvalid": ("the state is not valid", "see ip xfrm state: it may be larval"),
    "XfrmInTmplMismatch": (
        "the packet came as its policy does not want it: in clear, or by another SA",
        "correct the policy's template, or send it through the tunnel",
    ),
    "XfrmInNoPols": ("no policy allows what an SA brought in", "add a policy: ip xfrm policy"),
    "XfrmInPolBlock": ("a policy blocks it", "correct that policy: what it guards is open then"),
    "XfrmInPolError": ("a policy could not be applied", "see ip xfrm policy"),
    "XfrmInHdrError": ("the IPsec header is broken", "see who cuts or changes packets"),
    "XfrmFwdHdrError": ("a packet to forward has a broken header", "see who changes packets"),
    "XfrmOutPolBlock": ("a policy blocks it on its way out", "correct that policy"),
    "XfrmOutNoStates": ("a policy wants a state and there is none", "bring the tunnel up"),
    "XfrmOutStateExpired": ("the state for its way out has expired", "see why none was agreed on"),
    "XfrmOutStateSeqError": ("sequence numbers are used up", "agree on a new state"),
    "XfrmOutBundleGenError": ("no route for the tunnel's outside", "add a route to the peer"),
    "XfrmOutBundleCheckError": ("the route for the tunnel's outside is stale", "see ip route"),
    "XfrmOutStateProtoError": ("a packet could not be encrypted", "see algorithms and modules"),
    "XfrmAcquireError": ("no state came when one was asked for", "see the IKE daemon's log"),
}


def _xfrm(drop: Drop, answers: Answers) -> list[Finding]:
    rose = {name: rise for name in _XFRM if (rise := answers.rise(f"xfrm.{name}"))}
    if not rose:
        if drop.reason.startswith("XFRM"):
            what = "an IPsec policy refused it; no counter says why"
            return [Finding(Verdict.LIKELY, what, (), "see ip xfrm policy and ip xfrm state")]
        return []
    name = max(rose, key=lambda counter: rose[counter])
    what, change = _XFRM[name]
    proof = tuple(f for one in rose for f in answers.moved(f"xfrm.{one}"))
    sure = len(rose) == 1
    said = f"IPsec: {what}"
    return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, said, proof, change)]


# Fragments


def _fragment_needs(drop: Drop) -> tuple[Reading, ...]:
    family = "ipv6/ip6frag" if drop.v6 else "ipv4/ipfrag"
    return (sysctl(f"net/{family}_high_thresh"), sysctl(f"net/{family}_time"))


def _fragments(drop: Drop, answers: Answers) -> list[Finding]:
    high = _fragment_needs(drop)[0].args[0]
    names = (
        ("Ip6ReasmTimeout", "Ip6ReasmFails") if drop.v6 else ("Ip.ReasmTimeout", "Ip.ReasmFails")
    )
    used = answers.counter("sockstat.FRAG.memory")
    proof = tuple(f for name in names for f in answers.moved(name))
    limit = answers.get(sysctl(str(high)))
    if used is not None and limit is not None and used >= int(limit):
        full = (Fact("bytes of fragments", used, int(limit)), *proof)
        what = "fragments fill the memory that they may have"
        return [Finding(Verdict.PROVEN, what, full, f"raise net.{str(high)[4:].replace('/', '.')}")]
    if drop.reason == "FRAG_TOO_FAR":
        what = "too many fragments of the sender's other packets came between those of this one"
        change = "send packets that fit, or raise net.ipv4.ipfrag_max_dist (ids may mix then)"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    if drop.reason == "DUP_FRAG":
        what = "the same fragment came twice"
        return [Finding(Verdict.PROVEN, what, proof, "see what repeats packets")]
    proof += setting(answers, str(_fragment_needs(drop)[1].args[0]))
    what = "the rest of the packet's fragments never came: they are lost or filtered on the way"
    change = "let fragments pass (a filter by ports sees none in them), or send packets that fit"
    return [Finding(Verdict.PROVEN, what, proof, change)]


DIAGNOSES = (
    Diagnosis(
        (
            ("VXLAN_VNI_NOT_FOUND", ANY),
            ("VXLAN_INVALID_HDR", ANY),
            ("LOCAL_MAC", ANY),
            (NO_TARGET, ANY),
            ("", "vxlan_xmit"),
            ("", "vxlan_xmit_one"),
        ),
        _vxlan_needs,
        _vxlan,
        "drivers/net/vxlan/vxlan_core.c: vxlan_rcv(), vxlan_xmit()",
    ),
    Diagnosis(
        (("", "wg_xmit"),),
        lambda drop: (_peers(drop),),
        _wireguard,
        "drivers/net/wireguard/device.c: wg_xmit()",
        lambda drop: drop.tuple.daddr if drop.tuple is not None else None,
    ),
    Diagnosis(
        (
            ("XFRM_POLICY", ANY),
            ("", "xfrm_input"),
            ("", "xfrm4_rcv_encap"),
            ("", "xfrm_lookup_with_ifid"),
            ("", "xfrm_output_resume"),
            ("", "esp_input_done2"),
        ),
        lambda drop: (),
        _xfrm,
        "net/xfrm/xfrm_input.c: xfrm_input(), net/xfrm/xfrm_policy.c: __xfrm_policy_check()",
    ),
    Diagnosis(
        (("FRAG_REASM_TIMEOUT", ANY), ("FRAG_TOO_FAR", ANY), ("DUP_FRAG", ANY)),
        _fragment_needs,
        _fragments,
        "net/ipv4/ip_fragment.c: ip_expire()",
    ),
)
