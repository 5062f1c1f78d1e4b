# SPDX-License-Identifier: Apache-2.0
"""Bridges: states of ports, VLANs, where a frame's target lies, who takes what is flooded. Pure.

br_forward() and br_flood() end with a call that frees, so the kernel names their caller as the
place: ``br_handle_frame_finish`` stands for all of them.
"""

from __future__ import annotations

from typing import Any

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict

_STP = {0: "disabled", 1: "listening", 2: "learning", 3: "forwarding", 4: "blocking"}
_FORWARDING = 3
NO_TARGET = "NO_TX_TARGET"
"""Of bridges and of VXLAN: the function tells which."""
_INGRESS = ("__allowed_ingress", "br_allowed_ingress")
_FRAME = "br_handle_frame"
"""Frees before it looks where a frame goes."""


def port_of(ifname: str) -> Reading:
    """A port of a bridge, and the others."""
    return Reading("bridge_port", (ifname,))


def behind(drop: Drop) -> Reading:
    """Where the forwarding table (FDB) has the target."""
    assert drop.tuple is not None
    return Reading("fdb", (drop.ifname, drop.tuple.daddr, drop.mark))


def _needs(drop: Drop) -> tuple[Reading, ...]:
    own = port_of(drop.ifname)
    return (own,) if drop.tuple is None else (own, behind(drop))


def _bridge(drop: Drop, answers: Answers) -> list[Finding]:
    port = answers.get(port_of(drop.ifname))
    if port is None or (drop.reason == NO_TARGET and not drop.function.startswith("br_")):
        return []  # no port, or a tunnel that is one
    stated = _state(drop, port)
    vlans = _vlans(drop, port)
    forwards = port["state"] == _FORWARDING
    found = [*vlans, *stated] if drop.function in _INGRESS or forwards else [*stated, *vlans]
    if not forwards or drop.function in (*_INGRESS, _FRAME):
        return found
    goal = answers.get(behind(drop)) if drop.tuple is not None else None
    ways = [*_locked(drop, port), *_target(drop, port, goal or {})]
    refuses = port["filtering"] and not port["pvid"]  # untagged frames end before they go anywhere
    return [*found, *ways] if refuses else [*ways, *found]


def _state(drop: Drop, port: dict[str, Any]) -> list[Finding]:
    bridge, state, device = port["bridge"], port["state"], drop.ifname
    told = drop.reason == "BRIDGE_INGRESS_STP_STATE"
    proof = (Fact(f"STP state of {device} in {bridge}", _STP.get(state, str(state))),)
    if state != _FORWARDING:
        what = f"the port {device} of {bridge} is {_STP.get(state, state)}, not forwarding"
        change = "wait for STP, or see its topology; without STP a loop floods the network"
        return [Finding(Verdict.PROVEN if told else Verdict.LIKELY, what, proof, change)]
    if told:
        what = f"the port {device} did not forward then; it does now"
        return [Finding(Verdict.LIKELY, what, proof, "nothing: STP has settled")]
    return [Finding(Verdict.NOT_THIS, "the port forwards", proof)]


def _vlans(drop: Drop, port: dict[str, Any]) -> list[Finding]:
    bridge, device = port["bridge"], drop.ifname
    if port["filtering"]:
        vids = port["vlans"]
        listed = ", ".join(map(str, vids[:12])) or "none"
        pvid = f"untagged is VLAN {port['pvid']}" if port["pvid"] else "untagged frames are refused"
        proof = (Fact(f"VLANs of {device}", listed), Fact("pvid", port["pvid"] or "none"))
        what = f"{bridge} filters VLANs, and {device} is in {listed}; {pvid}"
        change = f"bridge vlan add vid N dev {device} (the port reaches that VLAN then)"
        sure = not vids and drop.function in _INGRESS
        return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]
    if drop.function in _INGRESS:
        return [Finding(Verdict.LIKELY, f"{bridge} filtered VLANs then; it does not now")]
    return [Finding(Verdict.NOT_THIS, f"{bridge} does not filter VLANs")]


def _locked(drop: Drop, port: dict[str, Any]) -> list[Finding]:
    if not port["locked"]:
        return []
    what = f"{drop.ifname} is locked: {port['bridge']} takes frames of senders in its FDB alone"
    change = f"bridge fdb add MAC dev {drop.ifname} master static (whoever has that MAC is let in)"
    return [Finding(Verdict.LIKELY, what, (Fact(f"locked of {drop.ifname}", "on"),), change)]


def _target(drop: Drop, port: dict[str, Any], goal: dict[str, Any]) -> list[Finding]:
    """Where the frame was to go: to a port that the FDB knows, else to all that take unknown."""
    device, others = drop.ifname, {one["name"]: one for one in port["others"]}
    known = goal.get("port", "")
    where = Fact(f"FDB of {port['bridge']} has {goal.get('mac', '')} behind", known)
    if known == device:
        return [_hairpin(drop, port, (where,), sure=True)]
    if known in others and drop.reason != NO_TARGET:
        return _refused(drop, port, others[known], where)
    taking = [one for one in others.values() if not _why_not(port, one)]
    apart = [one for one in others.values() if port["isolated"] and one["isolated"]]
    kept = [_isolated(drop, apart[0], (), sure=False)] if apart else []
    if not taking:
        return [_nobody(drop, port)] if drop.reason == NO_TARGET else [*kept, _nobody(drop, port)]
    if drop.reason == NO_TARGET:
        listed = ", ".join(one["name"] for one in taking)
        return [Finding(Verdict.NOT_THIS, f"no port takes unknown frames: {listed} does now")]
    return [*kept, _hairpin(drop, port, (), sure=False)]


def _why_not(port: dict[str, Any], other: dict[str, Any]) -> str:
    """Why a port does not take what the bridge floods; '' where it does."""
    if other["state"] != _FORWARDING:
        return _STP.get(other["state"], str(other["state"]))
    if port["isolated"] and other["isolated"]:
        return "isolated, as this one"
    return "" if other["flood"] else "flood off"


def _nobody(drop: Drop, port: dict[str, Any]) -> Finding:
    bridge = port["bridge"]
    what = f"{bridge} does not know the frame's target, and no other port takes unknown frames"
    proof = tuple(Fact(f"{one['name']}", _why_not(port, one)) for one in port["others"][:4])
    change = (
        f"see that the target is up behind a port of {bridge}; bridge link set dev PORT flood on "
        "(PORT gets every frame to an unknown target then)"
    )
    told = drop.reason == NO_TARGET
    return Finding(
        Verdict.PROVEN if told else Verdict.LIKELY, what, proof or (Fact("other ports", 0),), change
    )


def _refused(drop: Drop, port: dict[str, Any], other: dict[str, Any], where: Fact) -> list[Finding]:
    """By the port behind which the FDB has the target."""
    name = other["name"]
    if other["state"] != _FORWARDING:
        state = _STP.get(other["state"], str(other["state"]))
        what = f"its target lies behind {name}, and that port is {state}, not forwarding"
        change = "wait for STP, or see its topology; without STP a loop floods the network"
        return [Finding(Verdict.PROVEN, what, (where, Fact(f"STP state of {name}", state)), change)]
    if port["isolated"] and other["isolated"]:
        return [_isolated(drop, other, (where,), sure=True)]
    if port["filtering"]:
        listed = ", ".join(map(str, other["vlans"][:12])) or "none"
        what = f"its target lies behind {name}, which is in VLANs {listed} alone"
        change = f"bridge vlan add vid N dev {name} (the port reaches that VLAN then)"
        return [Finding(Verdict.LIKELY, what, (where, Fact(f"VLANs of {name}", listed)), change)]
    return [Finding(Verdict.NOT_THIS, f"{name}, behind which its target lies, takes it", (where,))]


def _isolated(drop: Drop, other: dict[str, Any], proof: tuple[Fact, ...], *, sure: bool) -> Finding:
    name = other["name"]
    what = f"{drop.ifname} and {name} are isolated ports: none sends to the other"
    proof = (*proof, Fact(f"isolated of {drop.ifname} and {name}", "on"))
    change = f"bridge link set dev {name} isolated off (its host is no longer kept from the others)"
    return Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)


def _hairpin(drop: Drop, port: dict[str, Any], proof: tuple[Fact, ...], *, sure: bool) -> Finding:
    proof = (*proof, Fact(f"hairpin of {drop.ifname}", "on" if port["hairpin"] else "off"))
    if port["hairpin"]:
        return Finding(Verdict.NOT_THIS, f"{drop.ifname} reflects frames (hairpin)", proof)
    what = f"its target lies behind {drop.ifname}, by which it came: a bridge does not send it back"
    change = f"bridge link set dev {drop.ifname} hairpin on (for NAT back to the sender's own host)"
    return Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)


DIAGNOSES = (
    Diagnosis(
        (
            ("BRIDGE_INGRESS_STP_STATE", ANY),
            (NO_TARGET, ANY),
            *(("", name) for name in _INGRESS),
            ("", _FRAME),
            ("", "br_handle_frame_finish"),
            ("", "br_forward"),
            ("", "br_flood"),
        ),
        _needs,
        _bridge,
        "net/bridge/br_input.c: br_handle_frame_finish(), net/bridge/br_forward.c: br_flood()",
        lambda drop: drop.tuple.daddr if drop.tuple is not None else None,
    ),
)
