# SPDX-License-Identifier: Apache-2.0
"""Verdicts of netfilter join the drops that they cause, and the rules on the way. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..record.dropped_by import Rules, dropped_by, is_droppers, step_of
from ..record.event import Event, Step

_DROPS_MAX = 4096  # verdicts whose packets are not freed yet, and packets on their way
_STEPS_MAX = 1000  # of a packet


class Verdicts:
    """Takes the events of verdicts out, and gives what drops a packet to the event of its drop.

    The step of an event becomes its ``nf_path``; with ``drops`` that of the packet's drop.
    """

    def __init__(self, rules: Rules, *, drops: bool = False) -> None:
        self._rules = rules
        self._drops = drops
        self._last: dict[int, Event] = {}  # of a packet, its last verdict, which may drop it
        self._paths: dict[int, list[Step]] = {}

    def join(self, events: Iterable[Event]) -> Iterator[Event]:
        """In the order of the kernel: a verdict comes before the drop."""
        for event in events:
            if event.verdict is not None and event.verdict.step:
                yield from self._step(event)
            elif event.verdict is not None:
                self._note(event)
            elif event.drop:
                yield self._told(event)
            else:
                yield event

    def _step(self, event: Event) -> Iterator[Event]:
        assert event.verdict is not None
        step = step_of(event.netns, event.verdict, self._rules)
        if step is None:
            return
        if not self._drops:
            yield event._replace(verdict=None, nf_path=(step,))
            return
        path = self._paths.pop(event.packet, [])
        self._paths[event.packet] = [*path, step] if len(path) < _STEPS_MAX else path
        if len(self._paths) > _DROPS_MAX:
            del self._paths[next(iter(self._paths))]

    def _note(self, event: Event) -> None:
        assert event.verdict is not None
        self._last.pop(event.packet, None)
        if event.verdict.verdict in ("DROP", "QUEUE"):
            self._last[event.packet] = event
            if len(self._last) > _DROPS_MAX:
                del self._last[next(iter(self._last))]

    def _told(self, event: Event) -> Event:
        said = self._last.pop(event.packet, None)
        event = event._replace(nf_path=tuple(self._paths.pop(event.packet, ())))
        by = event.location.symbol if event.location is not None else ""
        if said is None or said.verdict is None or not is_droppers(said.verdict, by):
            return event
        told = dropped_by(said.netns, said.verdict, self._rules)
        return event._replace(netns=event.netns or said.netns, dropped_by=told)
