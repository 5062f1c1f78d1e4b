# SPDX-License-Identifier: Apache-2.0
"""``--advice``: drops of a session to cases, questions about them, and what the answers prove."""

from __future__ import annotations

import time
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Protocol

from .advice import silent
from .advice.case import Advice, Answers, Drop, Reading
from .advice.collect import Case, Cases
from .advice.table import findings, readings
from .kernel.reader import Reader
from .record.event import Dropped, Event

_WAIT_S = 3.0
_AGAIN = ("qdiscs", "ruleset")
"""Kinds of readings with counters of their own: asked at the end, too."""
_COUNTERS, _SILENT = 1 << 20, 1 << 21
_UNKNOWN = "the kernel did not tell its namespace"
_UNREAD = "its state could not be read in time"


class Reads(Protocol):
    """What an ``Advisor`` needs of a ``Reader``."""

    def wait_ready(self) -> bool: ...
    def ask(self, question: dict[str, Any]) -> bool: ...
    def answers(self) -> list[dict[str, Any]]: ...
    def wait(self, until_s: float) -> list[dict[str, Any]]: ...
    @property
    def ended(self) -> bool: ...
    def close(self) -> None: ...


class Advisor:
    """Asks at the first drop of each case and at the end; never waits before the end.

    ``netns``: the namespace of the session, an inode: that of drops which do not tell theirs.
    """

    def __init__(self, reader: Reads, netns: int) -> None:
        self._reader = reader
        self._netns = netns
        self._cases = Cases(netns)
        self._asked: dict[int, tuple[Reading, ...]] = {}
        self._told: dict[int, dict[str, Any]] = {}

    def wait_ready(self) -> None:
        """Until the counters before are read."""
        self._reader.wait_ready()

    def see(self, events: Iterable[Event]) -> None:
        """Takes events as they come."""
        for case in self._cases.see(events):
            self._ask(case)
        self._take(self._reader.answers())

    def count(self, dropped: Iterable[Dropped]) -> None:
        """Takes what the kernel has counted, where no events come."""
        for case in self._cases.count(dropped):
            self._ask(case)

    def _ask(self, case: Case) -> None:
        if case.drop.netns:
            self._question(case.number, case.drop.netns, readings(case.drop))

    def _question(self, number: int, netns: int, asked: tuple[Reading, ...], **more: Any) -> None:
        question = {"id": number, "netns": netns, "readings": asked, **more}
        if self._reader.ask(question):
            self._asked[number] = asked

    def _take(self, answers: Sequence[dict[str, Any]]) -> None:
        for told in answers:
            self._told[told["id"]] = told

    def finish(self, risen: Mapping[str, int]) -> list[Advice]:
        """What is to be said. ``risen``: losses that are no drops, to how much they rose.

        It waits for answers, some seconds at most, and ends the process that reads.
        """
        spaces = {case.drop.netns for case in self._cases.all if case.drop.netns}
        if silent.known(risen):
            self._question(_SILENT, self._netns, silent.readings(risen))
            spaces.add(self._netns)
        ends = {netns: _COUNTERS + at for at, netns in enumerate(sorted(spaces))}
        for netns, number in ends.items():
            asked = (
                reading
                for case in self._cases.all
                if case.drop.netns == netns
                for reading in readings(case.drop)
                if reading.kind in _AGAIN
            )
            self._question(number, netns, tuple(dict.fromkeys(asked)), counters=True)
        self._wait()
        self._reader.close()
        said = [self._advise(case, ends.get(case.drop.netns, 0)) for case in self._cases.all]
        said += self._silent(risen, ends.get(self._netns, 0))
        return _joined(said)

    def _wait(self) -> None:
        until_s = time.monotonic() + _WAIT_S
        while self._asked.keys() - self._told.keys() and time.monotonic() < until_s:
            self._take(self._reader.wait(until_s))
            if self._reader.ended:
                break

    def _values(self, number: int) -> dict[Reading, Any]:
        told = self._told.get(number, {"values": []})
        return dict(zip(self._asked.get(number, ()), told["values"], strict=False))

    def _answers(self, number: int, end: int) -> Answers:
        last = self._told.get(end, {})
        return Answers(
            self._values(number), self._values(end), last.get("before"), last.get("after")
        )

    def _advise(self, case: Case, end: int) -> Advice:
        told = self._told.get(case.number)
        if not case.drop.netns:
            return Advice(case.drop, case.packets, note=_UNKNOWN)
        if told is None or told["error"]:
            note = told["error"] if told is not None else _UNREAD
            return Advice(case.drop, case.packets, note=note)
        found = findings(case.drop, self._answers(case.number, end))
        return Advice(case.drop, case.packets, told["name"], tuple(found))

    def _silent(self, risen: Mapping[str, int], end: int) -> list[Advice]:
        if _SILENT not in self._told:
            return []
        name = self._told[_SILENT]["name"]
        answers = self._answers(_SILENT, end)
        return [
            Advice(Drop(counter, "", self._netns, ifname), risen[key], name, tuple(found))
            for key, counter, ifname, found in silent.judge(risen, answers)
        ]

    @property
    def left(self) -> int:
        """Drops that would have had advice, and came behind too many others."""
        return self._cases.left

    def close(self) -> None:
        """Ends the process that reads; may be called again."""
        self._reader.close()


def _joined(said: Iterable[Advice]) -> list[Advice]:
    """Cases of which the same is said become one; the most frequent first."""
    found: dict[object, Advice] = {}
    for one in said:
        if not one.findings and not one.note:
            continue
        drop = one.drop
        words = tuple((f.verdict, f.what, f.change) for f in one.findings) or one.note
        key = (drop.reason, drop.function, drop.netns, drop.ifname, words)
        first = found.setdefault(key, one._replace(packets=0))
        found[key] = first._replace(packets=first.packets + one.packets)
    return sorted(found.values(), key=lambda one: -one.packets)


def advisor(netns: int, *, only: bool) -> Advisor:
    """One with a process that reads. ``only``: no other namespace is traced. Raises OSError."""
    return Advisor(Reader(netns if only else 0), netns)
