# SPDX-License-Identifier: Apache-2.0
"""Routes: the reverse path, no route, forwarding, own addresses, MTU, TTL. Pure."""

from __future__ import annotations

import errno
from typing import Any

from .case import (
    ANY,
    Answers,
    Diagnosis,
    Drop,
    Fact,
    Finding,
    Reading,
    Verdict,
    number,
    route,
    setting,
    sysctl,
)
from .rules import facts, met, rules_for

_LOCAL = "local"
_FAMILY = {False: "ipv4", True: "ipv6"}


def _conf(drop: Drop, device: str, name: str) -> str:
    return f"net/{_FAMILY[drop.v6]}/conf/{device}/{name}"


def _source(drop: Drop) -> object:
    return (drop.tuple.saddr, drop.mark) if drop.tuple is not None else None


def target(drop: Drop) -> object:
    return (drop.tuple.daddr, drop.mark) if drop.tuple is not None else None


def shown(found: Any) -> str:
    """A route's answer in a few words."""
    if found is None:
        return "not read"
    if "error" in found:
        return {
            errno.ENETUNREACH: "no route",
            errno.EHOSTUNREACH: "unreachable",
            errno.EACCES: "prohibited",
            errno.EINVAL: "blackhole, or refused",
            errno.EXDEV: "refused: not the way back",
        }.get(found["error"], f"error {found['error']}")
    if found["type"] == _LOCAL:
        return "this host"
    via = f" via {found['gateway']}" if found.get("gateway") else ""
    table = f" table {found['table']}" if found.get("table", 254) not in (254, 255) else ""
    return f"dev {found['dev']}{via}{table}"


# The reverse path


def _back(drop: Drop) -> Reading:
    assert drop.tuple is not None
    return route(drop.tuple.saddr)


def _in(drop: Drop) -> Reading:
    """The lookup that the packet itself had."""
    assert drop.tuple is not None
    return route(drop.tuple.daddr, drop.tuple.saddr, drop.ifname, drop.mark)


def _rpf_needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.tuple is None or drop.v6:
        return ()
    names = [_conf(drop, device, "rp_filter") for device in ("all", drop.ifname)]
    return (*map(sysctl, names), _back(drop), _in(drop))


def _rpf(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None or drop.v6:
        return []
    names = [_conf(drop, device, "rp_filter") for device in ("all", drop.ifname)]
    values = [value for name in names if (value := number(answers, name)) is not None]
    back, mode = answers.get(_back(drop)), max(values, default=-1)
    lookup = answers.get(_in(drop)) or {}
    proof = (
        *(fact for name in names for fact in setting(answers, name)),
        Fact(f"route to {drop.tuple.saddr}", shown(back)),
        *answers.moved("TcpExt.IPReversePathFilter"),
    )
    told = drop.reason == "IP_RPFILTER"
    if not told and not answers.rise("TcpExt.IPReversePathFilter"):
        return []
    source, device = drop.tuple.saddr, drop.ifname
    away = back is not None and back.get("dev", "") != device
    if mode == 0:
        what = "rp_filter is off now: it was switched off since, or the route has changed"
        return [Finding(Verdict.LIKELY if told else Verdict.NOT_THIS, what, proof)]
    sure = told and mode > 0 and (lookup.get("error") == errno.EXDEV or (mode == 1 and away))
    if away and back is not None and "error" in back:
        what = f"the reverse path filter refused {source} on {device}: no route leads back to it"
        change = f"add a route to {source} by {device}"
    elif away:
        what = (
            f"the reverse path filter refused {source} on {device}: the way back leads elsewhere "
            f"({shown(back)})"
        )
        change = (
            f"route {source} by {device}, or set net.ipv4.conf.{device}.rp_filter=2 (loose: then "
            "a forged source passes if any route leads to it)"
        )
    else:
        what = f"the reverse path filter refused {source} on {device}; now the way back fits"
        change = "see whether routes or rules changed, or the answer takes a rule by mark"
        sure = False
    return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]


# Sources and destinations that cannot be


def _martian_needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.tuple is None:
        return ()
    names = ("accept_local", "route_localnet")
    settings = [
        sysctl(_conf(drop, device, name)) for device in ("all", drop.ifname) for name in names
    ]
    return (*settings, _back(drop), _in(drop))


def _martian(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    packet, back, device = drop.tuple, answers.get(_back(drop)), drop.ifname
    if back is not None and back.get("type") == _LOCAL and not packet.saddr.startswith("127."):
        proof = (
            Fact(f"{packet.saddr} is an address of", "this host"),
            *setting(answers, _conf(drop, device, "accept_local")),
        )
        accepts = any(number(answers, _conf(drop, d, "accept_local")) for d in ("all", device))
        what = f"a packet from {packet.saddr} came in by {device}, and that is an own address"
        change = "find the duplicate address or the loop; accept_local=1 lets forged ones in, too"
        return [Finding(Verdict.LIKELY if accepts else Verdict.PROVEN, what, proof, change)]
    if packet.saddr.startswith("127.") or packet.daddr.startswith("127."):
        proof = setting(answers, _conf(drop, device, "route_localnet"))
        allowed = any(number(answers, _conf(drop, d, "route_localnet")) for d in ("all", device))
        what = f"127.0.0.0/8 is not taken from {device}"
        change = (
            "send to an address of the host; route_localnet=1 opens services of 127.0.0.1 to "
            "neighbours"
        )
        return [Finding(Verdict.LIKELY if allowed else Verdict.PROVEN, what, proof, change)]
    proof = (Fact(f"{packet.saddr}->{packet.daddr} by {device}", shown(answers.get(_in(drop)))),)
    if drop.reason not in ("IP_INVALID_SOURCE", "IP_INVALID_DEST"):
        return []
    which = packet.saddr if drop.reason == "IP_INVALID_SOURCE" else packet.daddr
    what = f"no packet may have {which} as its {drop.reason[11:].lower().replace('dest', 'target')}"
    change = "correct the address where the packet was sent"
    return [Finding(Verdict.PROVEN, what, proof, change)]


# Packets that come in, and are not for this host


def _input_needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.tuple is None:
        return ()
    names = ("all", drop.ifname)
    forwarding = [sysctl(_conf(drop, device, "forwarding")) for device in names]
    return (*forwarding, _in(drop), route(drop.tuple.daddr), rules_for(drop))


def _input(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    target, device = drop.tuple.daddr, drop.ifname
    used = "all" if drop.v6 else device
    name = _conf(drop, used, "forwarding")
    forwarding, lookup = number(answers, name), answers.get(_in(drop))
    counter = "Ip6InAddrErrors" if drop.v6 else "Ip.InAddrErrors"
    proof = (*setting(answers, name), Fact(f"route to {target} for {device}", shown(lookup)))
    error = (lookup or {}).get("error", 0)
    if forwarding == 0 and drop.reason != "IP_INNOROUTES":
        off = (*setting(answers, name), *answers.moved(counter))
        told = drop.reason == "IP_INADDRERRORS" or error == errno.EHOSTUNREACH
        what = f"{target} is no address of this host, and it forwards nothing from {device}"
        change = (
            f"send it elsewhere, or set {name.replace('/', '.')}=1 (the host routes for others "
            "then: filter what it forwards)"
        )
        return [Finding(Verdict.PROVEN if told else Verdict.LIKELY, what, off, change)]
    finding = [_ON] if forwarding else []
    if error in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
        by_rule = _by_rule(drop, answers, error, came_in=True)
        told = _refused(drop, target, error, proof + _no_routes(drop, answers))
        return [*([by_rule] if by_rule is not None else [told]), *finding]
    if lookup is not None and "error" not in lookup and drop.reason.startswith("IP_IN"):
        what = f"the lookup failed; now {target} has a route: it was added since"
        return [Finding(Verdict.LIKELY, what, proof, "nothing, if packets pass now"), *finding]
    return finding if drop.reason else []


_ON = Finding(Verdict.NOT_THIS, "forwarding is on")


def _no_routes(drop: Drop, answers: Answers) -> tuple[Fact, ...]:
    return answers.moved("Ip6InNoRoutes") if drop.v6 else answers.moved("IpExt.InNoRoutes")


def _refused(drop: Drop, target: str, error: int, proof: tuple[Fact, ...]) -> Finding:
    """A route lookup that ends with an error now, as it did for the packet."""
    words = {
        errno.ENETUNREACH: (f"no route leads to {target}", f"add a route to {target}"),
        errno.EHOSTUNREACH: (f"an unreachable route holds {target}", "correct that route"),
        errno.EACCES: (f"a prohibit route or rule holds {target}", "correct it: see ip rule"),
        errno.EINVAL: (
            f"a blackhole route or rule holds {target}, or the source is refused",
            "correct it: see ip route get and ip rule",
        ),
    }
    what, change = words[error]
    sure = drop.reason in ("IP_INNOROUTES", "IP_OUTNOROUTES") or error != errno.EINVAL
    return Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)


def _by_rule(drop: Drop, answers: Answers, error: int, *, came_in: bool) -> Finding | None:
    """Where the target has a route for others: a rule keeps this packet from it."""
    assert drop.tuple is not None
    plain, found = answers.get(route(drop.tuple.daddr)), met(drop, answers, came_in=came_in)
    if plain is None or "error" in plain or not found or error == errno.EINVAL:
        return None
    target, first = drop.tuple.daddr, found[0]
    what = f"a routing rule keeps it from the route to {target} ({shown(plain)}): {first['text']}"
    proof = (*facts(found), Fact("the packet's own lookup", shown({"error": error})))
    sure = len(found) == 1 and not first["more"]
    change = "correct that rule, or the mark that it asks for, or add a route to its table"
    return Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)


def output_needs(drop: Drop) -> tuple[Reading, ...]:
    return () if drop.tuple is None else (route(drop.tuple.daddr, "", "", drop.mark),)


def _output_needs(drop: Drop) -> tuple[Reading, ...]:
    if drop.tuple is None:
        return ()
    return (*output_needs(drop), route(drop.tuple.daddr), rules_for(drop))


def _output(drop: Drop, answers: Answers) -> list[Finding]:
    if drop.tuple is None:
        return []
    target = drop.tuple.daddr
    found = answers.get(route(target, "", "", drop.mark))
    counter = "Ip6OutNoRoutes" if drop.v6 else "Ip.OutNoRoutes"
    proof = (Fact(f"route to {target}", shown(found)), *answers.moved(counter))
    error = (found or {}).get("error", 0)
    if error in (errno.ENETUNREACH, errno.EHOSTUNREACH, errno.EACCES, errno.EINVAL):
        by_rule = _by_rule(drop, answers, error, came_in=False)
        return [_refused(drop, target, error, proof) if by_rule is None else by_rule]
    if found is None:
        return []
    what = f"{target} has a route now: no route is not the cause, or it was added since"
    return [Finding(Verdict.NOT_THIS, what, proof)]


DIAGNOSES = (
    Diagnosis(
        (
            ("IP_RPFILTER", ANY),
            ("", "ip_rcv_finish"),
            ("", "ip_rcv_finish_core"),
        ),
        _rpf_needs,
        _rpf,
        "net/ipv4/fib_frontend.c: fib_validate_source()",
        _source,
    ),
    Diagnosis(
        (
            ("IP_LOCAL_SOURCE", ANY),
            ("IP_INVALID_SOURCE", ANY),
            ("IP_INVALID_DEST", ANY),
            ("IP_LOCALNET", ANY),
            ("", "ip_rcv_finish"),
            ("", "ip_rcv_finish_core"),
            ("", "ip_handle_martian_source"),
        ),
        _martian_needs,
        _martian,
        "net/ipv4/route.c: ip_route_input_slow()",
        _source,
    ),
    Diagnosis(
        (
            ("IP_INADDRERRORS", ANY),
            ("IP_INNOROUTES", ANY),
            ("", "ip_error"),
            ("", "ip6_forward"),
        ),
        _input_needs,
        _input,
        "net/ipv4/route.c: ip_error(), net/ipv6/ip6_output.c: ip6_forward()",
        target,
    ),
    Diagnosis(
        (
            ("IP_OUTNOROUTES", ANY),
            ("", "dst_discard"),
            ("", "dst_discard_out"),
        ),
        _output_needs,
        _output,
        "net/ipv4/ip_output.c: __ip_queue_xmit(), net/ipv6/route.c: ip6_pkt_drop()",
        target,
    ),
)
