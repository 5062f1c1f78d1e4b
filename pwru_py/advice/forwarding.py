# SPDX-License-Identifier: Apache-2.0
"""Packets that cannot go on: too long, or at the end of their hops. Pure."""

from __future__ import annotations

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Verdict, peer, route
from .routing import output_needs, shown, target


def _mtu(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    found = answers.get(route(drop.tuple.daddr, "", "", drop.mark)) or {}
    mtu = found.get("mtu", 0)
    failed = "Ip6FragFails" if drop.v6 else "Ip.FragFails"
    out = "Icmp6OutPktTooBigs" if drop.v6 else "Icmp.OutDestUnreachs"
    proof: tuple[Fact, ...] = (*answers.moved(failed), *answers.moved(out))
    change = (
        f"raise the MTU of {found.get('dev') or 'the way out'}, or let the sender learn of it: "
        "ICMP must reach it; for TCP clamp the MSS"
    )
    told = drop.reason == "PKT_TOO_BIG"
    if mtu and drop.len_bytes > mtu:
        what = f"{drop.len_bytes} bytes do not fit the MTU of {found['dev']}, and may not be cut"
        proof = (Fact("length", drop.len_bytes, mtu), *proof)
        verdict = Verdict.PROVEN if told else Verdict.LIKELY
        return [Finding(verdict, what, proof, change)]
    if told:
        what = "the packet was too long for its way out; the MTU now would let it pass"
        return [
            Finding(Verdict.LIKELY, what, (Fact("length", drop.len_bytes, mtu), *proof), change)
        ]
    return []


def _ttl(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    goal = drop.tuple.daddr
    found = answers.get(route(goal, "", "", drop.mark)) or {}
    counter = "Ip6InHdrErrors" if drop.v6 else "Ip.InHdrErrors"
    proof = (Fact(f"route to {goal}", shown(found or None)), *answers.moved(counter))
    ended = "the packet's hop count (TTL) ended here"
    if found.get("dev") and found["dev"] == drop.ifname:
        what = f"{ended}, and its way leads back by {drop.ifname}: a routing loop"
        change = f"correct the route to {goal} here, or at {found.get('gateway') or 'its gateway'}"
        return [Finding(Verdict.LIKELY, what, proof, change)]
    return [
        Finding(
            Verdict.PROVEN,
            f"{ended}: a traceroute, a small TTL of the sender, or a loop before this host",
            proof,
            "see how the packet was sent, and whether it came by here before (--journey)",
        ),
        Finding(Verdict.NOT_THIS, f"a loop by {drop.ifname}: its way out is another device"),
    ]


_FRAME_BYTES = 18
"""What a frame may have beside its MTU: a header and a VLAN tag (is_skb_forwardable())."""


def _pair(drop: Drop, answers: Answers) -> list[Finding]:
    """From one end of a pair to the other: that is down, or has a smaller MTU."""
    end = answers.get(peer(drop.ifname))
    if end is None:
        what = f"the device behind {drop.ifname} did not take it: it is down, or has a smaller MTU"
        return [Finding(Verdict.LIKELY, what, (), "compare the MTU of both; see ip link")]
    named = f"{end['name']} in {end['netns']}" if end["netns"] else end["name"]
    if not end["up"]:
        what = f"{named}, the other end of {drop.ifname}, is down"
        return [Finding(Verdict.PROVEN, what, (), f"ip link set {end['name']} up, there")]
    room = end["mtu"] + _FRAME_BYTES
    proof = (
        *((Fact("frame bytes", drop.len_bytes, room),) if drop.len_bytes else ()),
        Fact(f"MTU of {named}", end["mtu"]),
    )
    if drop.len_bytes > room:
        what = f"a frame of {drop.len_bytes} bytes does not fit the MTU of {named}, the other end"
        change = f"give {drop.ifname} and {end['name']} the same MTU: nobody tells the sender of it"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    what = f"{named}, the other end of {drop.ifname}, did not take it then"
    return [Finding(Verdict.LIKELY, what, proof, "see whether its MTU or state has changed")]


DIAGNOSES = (
    Diagnosis(
        (
            ("", "__dev_forward_skb2"),
            ("", "__dev_forward_skb"),
            ("", "dev_forward_skb"),
            ("", "veth_xmit"),
        ),
        lambda drop: (peer(drop.ifname),),
        _pair,
        "net/core/dev.c: __dev_forward_skb2(), include/linux/netdevice.h: __is_skb_forwardable()",
    ),
    Diagnosis(
        (
            ("PKT_TOO_BIG", ANY),
            ("", "ip_fragment"),
            ("", "ip_forward"),
            ("", "ip6_fragment"),
        ),
        output_needs,
        _mtu,
        "net/ipv4/ip_forward.c: ip_forward(), net/ipv4/ip_output.c: ip_fragment()",
        target,
    ),
    Diagnosis(
        (("IP_INHDR", "ip_forward"), ("IP_INHDR", "ip6_forward")),
        output_needs,
        _ttl,
        "net/ipv4/ip_forward.c: ip_forward()",
        target,
    ),
)
