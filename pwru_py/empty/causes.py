# SPDX-License-Identifier: Apache-2.0
"""From evidence to causes, the likeliest first. Pure: a cause is told where its evidence is, and
as certain as that is."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from ..escape import quote
from ..facts.traffic import Routed, Translated
from ..output.summary import plural
from ..record.empty import Cause, Explanation
from .evidence import Dropped, Evidence, Matched, Namespace, Place, Sampled

_SHOWN = 3


def explain(evidence: Evidence) -> Explanation:
    """Causes and facts."""
    causes: dict[str, Cause] = {}
    rows = _SAMPLED if evidence.sampled is not None else _COUNTED
    for row in rows:
        for cause in row(evidence):
            causes.setdefault(cause.name, cause)
    if evidence.ask.drops and evidence.sampled is None and not causes:
        return Explanation((), ())  # nothing was dropped: good news needs no reason
    return Explanation(tuple(causes.values()), tuple(_facts(evidence)))


def packets(count: int) -> str:
    """``1 packet``, ``2 packets``."""
    return plural(count, "packet")


def _match(count: int) -> str:
    return f"{packets(count)} {'matches' if count == 1 else 'match'}"


def _sampled(evidence: Evidence) -> Sampled:
    assert evidence.sampled is not None
    return evidence.sampled


# With a sample


def _right_filter(evidence: Evidence) -> Iterator[Cause]:
    """Packets match: something else than the filter keeps them out."""
    ask, seen = evidence.ask, _sampled(evidence)
    count = seen.matching
    if not count:
        return
    if ask.drops:
        yield Cause("no drop", True, f"{_match(count)}, and none was dropped", count)
    elif ask.group:
        text = f"{_match(count)}, and none belongs to the control group or process asked for"
        yield Cause("group", False, text, count)
    elif ask.inner:
        text = f"{_match(count)} outside, and none carries what was asked for in a tunnel"
        yield Cause("tunnel", False, text, count)
    elif ask.entry:
        text = f"{_match(count)}, and none was seen with the state or mark of conntrack asked for"
        yield Cause("conntrack", False, text, count)
    elif ask.functions:
        sure = evidence.hits == 0
        yield from _dropped(evidence, sure=sure)
        text = f"{_match(count)}, and none came to a {evidence.target} of --filter-func"
        yield Cause("functions", sure, text, count)
    else:
        text = f"{_match(count)} where devices take them in and send them, yet none was traced"
        yield Cause("unexplained", False, text, count)


def _other_place(evidence: Evidence) -> Iterator[Cause]:
    ask, seen = evidence.ask, _sampled(evidence)
    if seen.matching or not seen.elsewhere:
        return
    if not any(place.netns == ask.netns_name and place.ifname for place in seen.elsewhere):
        yield from _dropped(evidence, sure=True)  # they never came to the namespace
    nearest = sorted(seen.elsewhere, key=lambda place: place.netns != ask.netns_name)
    places = " and ".join(_where(place) for place in nearest[:_SHOWN])
    count = max(place.packets for place in seen.elsewhere)
    namespaces = {place.netns for place in seen.elsewhere}
    asked = f"{ask.ifname} of {ask.netns_name}" if ask.ifname else ask.netns_name
    name = "interface" if ask.ifname and ask.netns_name in namespaces else "place"
    yield Cause(name, True, f"{_match(count)} on {places}, none on {asked}", count)


def _dropped(evidence: Evidence, *, sure: bool) -> Iterator[Cause]:
    """All that match, wherever they are: on their way to the place, or the function, asked for."""
    seen = _sampled(evidence)
    if not seen.dropped:
        return
    end = seen.dropped[0]
    if end.packets < max((seen.matching, *(place.packets for place in seen.elsewhere))):
        return
    where = f"on {_where(end)}" if end.ifname else f"in {end.netns}, at no device"
    text = f"{_match(end.packets)} and {'is' if end.packets == 1 else 'are'} dropped {where}"
    yield Cause("dropped", sure, f"{text}: {end.why}", end.packets)


def _other_mark(evidence: Evidence) -> Iterator[Cause]:
    seen = _sampled(evidence)
    if not seen.matching and seen.marks:
        mark, count = seen.marks[0]
        text = f"{_match(count)} with mark {mark:#x}, none with the mark asked for"
        yield Cause("mark", True, text, count)


_VARIANTS = {
    "swapped": "src and dst are swapped",
    "swapped ports": "the port is that of the other side",
    "swapped hosts": "the host is the other side",
    "tagged": "they carry a VLAN tag",
    "untagged": "they carry no VLAN tag there",
    "other tag": "they carry another VLAN tag",
    "pppoe": "they are in a PPPoE session",
    "mpls": "they are behind an MPLS label",
    "ipv6": "they are IPv6, not IPv4",
    "ipv4": "they are IPv4, not IPv6",
}
_FAMILIES = ("ipv6", "ipv4")
_SWAPPED = ("swapped", "swapped ports", "swapped hosts")


def _wrapped(evidence: Evidence) -> Iterator[Cause]:
    """What was asked for is in that place, behind a tag or inside of something."""
    seen = _sampled(evidence)
    if seen.matching:
        return
    for found in seen.variants:
        if found.kind not in (*_FAMILIES, *_SWAPPED):
            yield _variant(found.kind, found, certain=True)
    if seen.inner:
        text = f"{_match(seen.inner)} inside a tunnel: --filter-tunnel-pcap-l3 looks there"
        yield Cause("tunnel", True, text, seen.inner)


def _swapped(evidence: Evidence) -> Iterator[Cause]:
    """Behind another place: where packets go one way, the answers match the other way round."""
    seen = _sampled(evidence)
    if seen.matching:
        return
    for found in seen.variants:
        if found.kind in _SWAPPED:
            yield _variant("swapped", found, certain=True)


def _other_family(evidence: Evidence) -> Iterator[Cause]:
    seen = _sampled(evidence)
    if seen.matching or seen.hosts:
        return
    for found in seen.variants:
        if found.kind in _FAMILIES:
            yield _variant("family", found, certain=False)


def _variant(name: str, found: Matched, *, certain: bool) -> Cause:
    text = f"{_VARIANTS[found.kind]}: {_match(found.packets)} {quote(found.expression)}"
    return Cause(name, certain, text, found.packets)


def _address(pair: Translated, *, other: bool) -> str:
    address, port = (pair.other, pair.other_port) if other else (pair.address, pair.port)
    if pair.port == pair.other_port or not port:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def _translation(evidence: Evidence) -> Iterator[Cause]:
    seen = _sampled(evidence)
    if seen.matching:
        return
    for pair, count in seen.translated:
        text = (
            f"NAT: {_address(pair, other=False)} is {_address(pair, other=True)} there: "
            f"{_match(count)} with that"
        )
        yield Cause("translated", True, text, count)


def _taken_by_xdp(evidence: Evidence) -> Iterator[Cause]:
    """A device counted frames that never became packets."""
    seen = _sampled(evidence)
    if seen.matching:
        return
    became = {(place.netns, place.ifname): place.packets for place in seen.received}
    for namespace in evidence.namespaces:
        for device in namespace.devices:
            if not device.xdp or not _is_asked(evidence, namespace, device.ifname):
                continue
            count = became.get((namespace.name, device.ifname), 0)
            if device.received > count and not seen.missed:
                text = (
                    f"the XDP program {device.xdp} in the driver takes frames: "
                    f"{_device(namespace, device.ifname)} counted {device.received}, "
                    f"{packets(count)} came of them"
                )
                yield Cause("xdp", False, text, device.received - count)


def _wrong_clause(evidence: Evidence) -> Iterator[Cause]:
    """Which clause alone keeps packets out; where none does, at which they end."""
    seen = _sampled(evidence)
    if seen.matching:
        return
    left = max(seen.without, key=lambda found: found.packets, default=None)
    if left is not None and left.packets:
        text = (
            f"{packets(left.packets)} of {quote(left.expression)}, none of them {quote(left.kind)}"
        )
        yield Cause("clause", not seen.missed, text, left.packets)
        return
    before = ""
    count = 0
    for clause, through in seen.clauses:
        if before and count and not through:
            text = f"{packets(count)} of {quote(before)}, none of them {quote(clause)}"
            yield Cause("clause", not seen.missed, text, count)
            return
        before, count = f"{before} and {clause}" if before else clause, through


def _unsent(evidence: Evidence) -> Iterator[Cause]:
    """Nothing of the hosts named passed anywhere."""
    ask, seen = evidence.ask, _sampled(evidence)
    if not ask.hosts or seen.hosts or not seen.packets or seen.missed:
        return
    who = " or ".join(dict.fromkeys(host.address for host in ask.hosts))
    text = f"nothing was sent: of {packets(seen.packets)} seen none is of {who}"
    yield Cause("unsent", False, text)


def _quiet(evidence: Evidence) -> Iterator[Cause]:
    ask, seen = evidence.ask, _sampled(evidence)
    if seen.matching or seen.missed:
        return
    if not seen.packets:
        yield Cause("quiet", not _counted(evidence), "nothing was sent: no packet passed at all")
    elif not seen.here and ask.netns:
        where = f"{ask.ifname} of {ask.netns_name}" if ask.ifname else f"{ask.netns_name}"
        yield Cause("quiet", True, f"nothing passed on {where}: no packet at all")


# With counters alone, and with both


def _routes(evidence: Evidence) -> list[tuple[Namespace, Routed]]:
    return [(each, route) for each in evidence.namespaces for route in each.routes]


def _hosts_seen(evidence: Evidence) -> bool:
    """Whether a packet of theirs, or one that matches, passed somewhere."""
    seen = evidence.sampled
    return seen is not None and bool(seen.matching or seen.hosts)


def _no_route(evidence: Evidence) -> Iterator[Cause]:
    """The kernel refused packets, and refuses the host still."""
    if _hosts_seen(evidence):
        return
    refused = [(each, route) for each, route in _routes(evidence) if route.refused]
    for namespace, route in refused:
        if namespace.no_routes:
            text = (
                f"{route.refused} to {route.address} from {namespace.name}: "
                f"{packets(namespace.no_routes)} had no route there"
            )
            yield Cause("no route", False, text, namespace.no_routes)
    for namespace, route in refused:
        if evidence.ask.netns and namespace.asked and not namespace.no_routes:
            text = f"{route.refused} to {route.address} from {namespace.name}"
            yield Cause("no route", False, text)


def _had_no_route(evidence: Evidence) -> Iterator[Cause]:
    """Of whichever packets, hence the last: the host has a route by now."""
    for namespace, route in [] if _hosts_seen(evidence) else _routes(evidence):
        if namespace.no_routes and not route.refused:
            text = (
                f"{packets(namespace.no_routes)} to whichever address had no route from "
                f"{namespace.name}; there is one to {route.address} now"
            )
            yield Cause("no route", False, text, namespace.no_routes)


def _other_way(evidence: Evidence) -> Iterator[Cause]:
    """The route leaves by another device than the one that is looked at."""
    ask, seen = evidence.ask, evidence.sampled
    if not ask.ifname or (seen is not None and seen.matching):
        return
    for namespace, route in _routes(evidence):
        if namespace.asked and route.ifname and route.ifname != ask.ifname:
            text = f"the route to {route.address} leaves by {route.ifname}, not by {ask.ifname}"
            yield Cause("interface", False, text)


def _tagged(evidence: Evidence) -> Iterator[Cause]:
    if evidence.tagged:
        hits = plural(evidence.tagged, "hit")
        wanted = quote(f"vlan and ({evidence.ask.expression})")
        yield Cause("tagged", True, f"they carry a VLAN tag: {hits} would match {wanted}")


def _known_translation(evidence: Evidence) -> Iterator[Cause]:
    for pair in evidence.translated[:1]:
        text = (
            f"NAT: {_address(pair, other=False)} is {_address(pair, other=True)} behind it, as a "
            "connection tells"
        )
        yield Cause("translated", False, text)


def _has_xdp(evidence: Evidence) -> Iterator[Cause]:
    for namespace in evidence.namespaces:
        for device in namespace.devices:
            asked = _is_asked(evidence, namespace, device.ifname)
            if device.xdp and device.received and asked:
                text = (
                    f"the XDP program {device.xdp} in the driver of "
                    f"{_device(namespace, device.ifname)} had {device.received} frames first"
                )
                yield Cause("xdp", False, text, device.received)


def _counted(evidence: Evidence) -> int:
    """Packets that devices of the namespaces looked at counted."""
    return sum(
        device.received + device.sent
        for namespace in evidence.namespaces
        for device in namespace.devices
        if _is_asked(evidence, namespace, device.ifname)
    )


def _counted_nothing(evidence: Evidence) -> Iterator[Cause]:
    asked = [namespace for namespace in evidence.namespaces if namespace.asked]
    if evidence.ask.drops or not any(namespace.devices for namespace in asked):
        return
    if not _counted(evidence) and not any(namespace.no_routes for namespace in asked):
        where = evidence.ask.ifname or "a device"
        yield Cause(
            "quiet", True, f"nothing was sent: {where} of {asked[0].name} counted no packet"
        )


_Row = Callable[[Evidence], Iterator[Cause]]
_SAMPLED: tuple[_Row, ...] = (
    _right_filter, _tagged, _wrapped, _translation, _other_place, _other_mark, _swapped,
    _no_route, _taken_by_xdp, _other_way, _other_family, _quiet, _unsent, _wrong_clause,
    _had_no_route,
)  # fmt: skip
_COUNTED: tuple[_Row, ...] = (
    _tagged, _no_route, _other_way, _has_xdp, _known_translation, _counted_nothing,
    _had_no_route,
)  # fmt: skip
"""The likeliest first."""


def _is_asked(evidence: Evidence, namespace: Namespace, ifname: str) -> bool:
    """Whether it is where the session looks."""
    ask = evidence.ask
    return ask.ifname in ("", ifname) and (namespace.asked or not ask.netns)


def _device(namespace: Namespace, ifname: str) -> str:
    return f"{ifname} of {namespace.name}"


def _where(place: Place | Dropped) -> str:
    return f"{place.ifname or 'no device'} of {place.netns}"


# Facts


def _facts(evidence: Evidence) -> Iterator[str]:
    seen = evidence.sampled
    if seen is not None:
        yield from _sample_facts(evidence, seen)
    elif not evidence.ask.drops:
        yield from _counter_facts(evidence)
    skipped = f", {evidence.skipped} skipped" if evidence.skipped else ""
    failed = f", {evidence.failed} refused" if evidence.failed else ""
    hits = "" if evidence.hits is None else f"; {evidence.hits} hits, none matched"
    yield f"traced: {plural(evidence.attached, evidence.target)}{failed}{skipped}{hits}"


def _sample_facts(evidence: Evidence, seen: Sampled) -> Iterator[str]:
    if seen.clauses:
        told = (f"{quote(clause)} {count}" for clause, count in seen.clauses[:6])
        yield f"packets through the filter: {', then '.join(told)}"
    if seen.hosts:
        places = ", ".join(f"{_where(place)} ({place.packets})" for place in seen.hosts[:_SHOWN])
        who = " or ".join(dict.fromkeys(host.address for host in evidence.ask.hosts))
        yield f"packets of {who}: {places}"
    missed = f", {seen.missed} records missed" if seen.missed else ""
    unjudged = f", {seen.unjudged} not judged" if seen.unjudged else ""
    yield f"sampled: {packets(seen.packets)} in {seen.seconds:.1f} s{missed}{unjudged}"


def _counter_facts(evidence: Evidence) -> Iterator[str]:
    for namespace in evidence.namespaces:
        moved = [
            f"{device.ifname} {device.received} in {device.sent} out"
            for device in sorted(namespace.devices, key=lambda d: -d.received - d.sent)
            if device.received or device.sent
        ]
        if moved and namespace.asked:
            yield f"packets counted in {namespace.name}: {', '.join(moved[:_SHOWN])}"
    yield "--explain-empty samples packets, and says which part of the filter keeps them out"
