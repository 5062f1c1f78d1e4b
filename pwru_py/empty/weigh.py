# SPDX-License-Identifier: Apache-2.0
"""The sample beside what was asked for: how far each clause lets packets through, and what would
have matched. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence

from pwru_filters import (
    FilterError,
    Judge,
    Variant,
    split_clauses,
    variants,
    with_address,
    with_port,
)

from ..facts.traffic import Translated
from ..record.event import Tuple
from .evidence import Ask, Dropped, Matched, Place, Sampled
from .sample import Row, Sample

_LONG = 500  # characters of an expression that libpcap compiles at once
_TUNNEL_PORTS = (4789, 8472, 6081)


class Questions:
    """Every expression that is asked of a sample, compiled. An expression that libpcap refuses, or
    may take long for, is not asked.
    """

    def __init__(self, ask: Ask) -> None:
        self.ask = ask
        text = ask.expression if len(ask.expression) <= _LONG else ""
        self.whole = _judge(ask.expression)
        clauses = split_clauses(text)
        so_far = clauses.so_far if clauses is not None and len(clauses.texts) > 1 else ()
        self.so_far = [_judge(each) for each in so_far]
        self.clauses = clauses.texts if so_far and clauses is not None else ()
        alone = clauses.alone if so_far and clauses is not None else ()
        self.without = [
            (clause, _judge(_without(alone, index))) for index, clause in enumerate(alone)
        ]
        asked = [(each, _judge(each.expression)) for each in (variants(text) if text else ())]
        self.variants = [(variant, judge) for variant, judge in asked if judge is not None]


def _judge(expression: str) -> Judge | None:
    try:
        return Judge(expression)
    except FilterError:
        return None


def _without(clauses: Sequence[str], index: int) -> str:
    others = [each for number, each in enumerate(clauses) if number != index]
    return others[0] if len(others) == 1 else " and ".join(f"({each})" for each in others)


def weigh(
    sample: Sample,
    questions: Questions,
    *,
    seconds: float,
    missed: int,
    known: Iterable[Translated],
    name: Callable[[int], str],
    watched: Iterable[tuple[int, str]] = (),
) -> Sampled:
    """Counts. ``known``: what NAT makes of the hosts named, beside what the sample shows of it.
    ``name``: a namespace's. ``watched``: devices with an XDP program."""
    ask = questions.ask
    matching = _rows(sample, questions.whole)
    there = [row for row in matching if _is_place(ask, row)]
    here = [row for row in there if _is_mark(ask, row)]
    scope = [row for row in sample if _is_place(ask, row) and _is_mark(ask, row)]
    pairs = {**dict.fromkeys(known), **dict.fromkeys(_changes(sample, ask))}
    return Sampled(
        packets=sample.packets,
        seconds=seconds,
        missed=missed,
        unjudged=_unjudged(scope, questions.whole),
        here=_packets(scope),
        matching=_packets(here),
        elsewhere=_places([row for row in matching if not _is_place(ask, row)], name),
        marks=_marks([row for row in there if not _is_mark(ask, row)]),
        dropped=_dropped(matching, name),
        clauses=tuple(
            (clause, _packets(_rows(scope, judge)))
            for clause, judge in zip(questions.clauses, questions.so_far, strict=True)
        )
        if all(questions.so_far)
        else (),
        without=tuple(
            Matched(clause, judge.expression, _packets(_rows(scope, judge)))
            for clause, judge in questions.without
            if judge is not None
        ),
        variants=_variants(scope, questions.variants),
        inner=_packets(row for row in scope if _inner_matches(row, questions.whole)),
        translated=_translated(scope, ask, pairs),
        hosts=_places([row for row in sample if _has_host(row, ask)], name),
        received=tuple(
            Place(name(netns), ifname, len(_received(sample, netns, ifname)))
            for netns, ifname in watched
        ),
    )


def _rows(rows: Iterable[Row], judge: Judge | None) -> list[Row]:
    """Those that match."""
    if judge is None:
        return []
    return [row for row in rows if judge.verdict(row.frame, whole=row.whole)]


def _unjudged(rows: Iterable[Row], judge: Judge | None) -> int:
    if judge is None:
        return 0
    return _packets(r for r in rows if judge.verdict(r.frame, whole=r.whole) is None)


def _packets(rows: Iterable[Row]) -> int:
    """Each once."""
    return len(set().union(*(row.numbers for row in rows)))


def _received(sample: Sample, netns: int, ifname: str) -> set[int]:
    rows = (row for row in sample if (row.netns, row.ifname) == (netns, ifname))
    return set().union(*(row.received for row in rows))


def _is_place(ask: Ask, row: Row) -> bool:
    return ask.netns in (0, row.netns) and ask.ifname in ("", row.ifname)


def _is_mark(ask: Ask, row: Row) -> bool:
    return row.mark & ask.mask == ask.mark & ask.mask


def _inner_matches(row: Row, judge: Judge | None) -> bool:
    return (
        judge is not None
        and row.inner is not None
        and bool(judge.verdict(row.inner, whole=row.whole))
    )


def _places(rows: list[Row], name: Callable[[int], str]) -> tuple[Place, ...]:
    """The busiest first."""
    found: dict[tuple[int, str], list[Row]] = {}
    for row in rows:
        found.setdefault((row.netns, row.ifname), []).append(row)
    places = [Place(name(n), ifname, _packets(own)) for (n, ifname), own in found.items()]
    return tuple(sorted(places, key=lambda place: -place.packets))


def _dropped(rows: list[Row], name: Callable[[int], str]) -> tuple[Dropped, ...]:
    """Where, and why, the most packets first."""
    found: dict[tuple[int, str, str], set[int]] = {}
    for row in rows:
        for why, numbers in row.dropped.items():
            found.setdefault((row.netns, row.ifname, why), set()).update(numbers)
    ends = [Dropped(name(n), ifname, why, len(all_)) for (n, ifname, why), all_ in found.items()]
    return tuple(sorted(ends, key=lambda end: -end.packets))


def _marks(rows: list[Row]) -> tuple[tuple[int, int], ...]:
    """Each mark with its packets, the most first."""
    found: dict[int, list[Row]] = {}
    for row in rows:
        found.setdefault(row.mark, []).append(row)
    counts = [(mark, _packets(own)) for mark, own in found.items()]
    return tuple(sorted(counts, key=lambda count: -count[1]))


def _variants(scope: list[Row], asked: Iterable[tuple[Variant, Judge]]) -> tuple[Matched, ...]:
    """Those that match, the most packets first."""
    found = [
        Matched(variant.kind, variant.expression, _packets(_rows(scope, judge)))
        for variant, judge in asked
    ]
    return tuple(sorted((m for m in found if m.packets), key=lambda m: -m.packets))


def _has_host(row: Row, ask: Ask) -> bool:
    return row.tuple is not None and any(
        host.address in (row.tuple.saddr, row.tuple.daddr) for host in ask.hosts
    )


def _changes(sample: Sample, ask: Ask) -> Iterable[Translated]:
    """Packets that carry a host's address at one place, and another one at another."""
    named = [row for row in sample if _has_host(row, ask)]
    for row in named:
        for other in sample:
            if other is row or other.tuple is None or row.numbers.isdisjoint(other.numbers):
                continue
            if row.tuple is not None:
                yield from _changed(row.tuple, other.tuple, ask)


def _changed(one: Tuple, two: Tuple, ask: Ask) -> Iterable[Translated]:
    if one.proto != two.proto or two.dport in _TUNNEL_PORTS:
        return
    for was, now, port, new_port in (
        (one.saddr, two.saddr, one.sport, two.sport),
        (one.daddr, two.daddr, one.dport, two.dport),
    ):
        if was != now and any(host.address == was for host in ask.hosts):
            yield Translated(was, now, port, new_port)


def _translated(
    scope: list[Row], ask: Ask, pairs: Iterable[Translated]
) -> tuple[tuple[Translated, int], ...]:
    """Each with the packets that the expression lets through with the other address, if any."""
    found: dict[Translated, int] = {}
    for pair in list(pairs)[:16]:
        changed = with_address(ask.expression, pair.address, pair.other)
        ports = (pair.port, pair.other_port) if pair.port and pair.other_port else (0, 0)
        if ports[0] != ports[1]:
            changed = with_port(changed, *ports)
        if changed != ask.expression and (packets := _packets(_rows(scope, _judge(changed)))):
            found[pair] = packets
    return tuple(sorted(found.items(), key=lambda item: -item[1]))
