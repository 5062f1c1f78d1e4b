# SPDX-License-Identifier: Apache-2.0
"""Drops to cases: which differ so far that their causes may, how many each stands for. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..facts.conntrack import CtState
from ..facts.meanings import bare_function, bare_reason
from ..record.event import Dropped, Event
from .case import Drop
from .table import diagnoses, variant

CASES_MAX = 32
"""In all; what comes behind them is counted alone."""
_SYN = 2
_VARIANTS_MAX = 4
"""Of one reason, function, device and namespace."""
_FLOWS_MAX = 4096
"""Whose case is remembered; then all are looked up again."""
_Kind = tuple[int, str, str, str]


class Case:
    """Drops that are taken to have one cause, by their first packet."""

    def __init__(self, number: int, drop: Drop) -> None:
        self.number = number
        self.drop = drop
        self.packets = 0


class Cases:
    """``netns``: of drops whose namespace is not known, an inode, 0 for none."""

    def __init__(self, netns: int = 0) -> None:
        self._netns = netns
        self._kinds: dict[_Kind, dict[object, Case]] = {}
        self._known: dict[object, Case | None] = {}
        self._crowd = Case(-1, Drop("", "", 0, ""))
        self.all: list[Case] = []

    def see(self, events: Iterable[Event]) -> Iterator[Case]:
        """Counts drops; yields each case that is new."""
        for event in events:
            if not event.drop:
                continue
            function = event.location.symbol if event.location is not None else event.func
            packet = event.tuple
            flow = packet and (packet.saddr, packet.daddr, packet.dport, packet.proto)
            where = (event.netns, event.ifname, event.mark, event.proto, event.tcp_flags & _SYN)
            key = (event.reason_name, function, where, flow, event.dropped_by, _invalid(event))
            case = self._known.get(key, _NEW)
            if case is _NEW:
                case = self._first(event, function)
                if len(self._known) >= _FLOWS_MAX:
                    self._known.clear()
                self._known[key] = case
                if case is not None and not case.packets and case is not self._crowd:
                    yield case
            if case is not None:
                case.packets += 1

    def _first(self, event: Event, function: str) -> Case | None:
        """The case of a flow that was not seen yet."""
        drop = Drop(
            bare_reason(event.reason_name),
            bare_function(function),
            event.netns or self._netns,
            event.ifname,
            event.tuple,
            event.mark,
            event.len,
            event.proto,
            event.tcp_flags,
            tuple(frame.symbol for frame in event.stack),
            event.dropped_by,
            _invalid(event),
        )
        return self._of(drop) if diagnoses(drop.reason, drop.function) else None

    def _of(self, drop: Drop) -> Case:
        """Its case, ``_crowd`` where there are too many."""
        kind = (drop.netns, drop.reason, drop.function, drop.ifname)
        known = self._kinds.setdefault(kind, {})
        which = variant(drop)
        case = known.get(which)
        if case is None:
            if len(known) >= _VARIANTS_MAX or len(self.all) >= CASES_MAX:
                return self._crowd
            case = known[which] = Case(len(self.all), drop)
            self.all.append(case)
        return case

    @property
    def left(self) -> int:
        """Drops that have a diagnosis and no case: there were too many."""
        return self._crowd.packets

    def count(self, dropped: Iterable[Dropped]) -> Iterator[Case]:
        """Takes what the kernel has counted, in a session without events; yields the cases."""
        for row in dropped:
            drop = Drop(
                bare_reason(row.reason),
                bare_function(row.location.symbol),
                row.netns or self._netns,
                row.ifname,
            )
            if not diagnoses(drop.reason, drop.function):
                continue
            flows = sorted(row.flows, key=lambda flow: -flow.packets)
            if not flows:
                yield from self._counted(drop, row.packets)
            for flow in flows:
                yield from self._counted(drop._replace(tuple=flow.tuple), flow.packets)

    def _counted(self, drop: Drop, packets: int) -> Iterator[Case]:
        case = self._of(drop)
        if not case.packets and case is not self._crowd:
            yield case
        case.packets += packets


def _invalid(event: Event) -> str | None:
    entry = event.conntrack
    return entry.why if entry is not None and entry.state is CtState.INVALID else None


_NEW = Case(-2, Drop("", "", 0, ""))
