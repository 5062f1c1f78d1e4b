# SPDX-License-Identifier: Apache-2.0
"""Journeys of packets that were made of one another, put together. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from typing import NamedTuple

from ..record.journey import Journey


class Relative(NamedTuple):
    """A journey within its family. ``depth``: 0, or one more than its parent's. ``since_ns``: the
    first sight of the one with depth 0 above it."""

    journey: Journey
    depth: int
    since_ns: int


class Families:
    """Holds journeys until all of their family are over.

    ``has_kin``: whether any packet of a family is under way. What is cut into segments is over
    before these begin, so a family is whole with the batch of events, not before.
    """

    def __init__(self, has_kin: Callable[[int], bool]) -> None:
        self._has_kin = has_kin
        self._held: dict[int, list[Journey]] = {}

    def add(self, journeys: Iterable[Journey]) -> None:
        for journey in journeys:
            self._held.setdefault(journey.family, []).append(journey)

    def whole(self) -> Iterator[list[Relative]]:
        """Families that are over: each parent before what was made of it."""
        for family in [family for family in self._held if not self._has_kin(family)]:
            yield _related(self._held.pop(family))


def _related(journeys: list[Journey]) -> list[Relative]:
    known = {journey.packet: journey for journey in journeys}
    made: dict[int | None, list[Journey]] = {}
    for packet in sorted(known):
        journey = known[packet]
        made.setdefault(journey.parent if journey.parent in known else None, []).append(journey)
    related: list[Relative] = []

    def place(journey: Journey, depth: int, since_ns: int) -> None:
        related.append(Relative(journey, depth, since_ns))
        for child in made.pop(journey.packet, ()):
            place(child, depth + 1, since_ns)

    for head in made.pop(None, ()):
        place(head, 0, head.begin_ns)
    return related
