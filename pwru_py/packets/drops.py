# SPDX-License-Identifier: Apache-2.0
"""Drops as the kernel counts them, by reason and place, to what a summary says. Pure."""

from __future__ import annotations

from collections.abc import Collection, Iterable

from ..facts.roles import ECHO_REPLIES, NO_REASON, TAKE_LAST, UNSAID, is_piece
from ..record.event import Dropped, Summary


def tell(summary: Summary, dropped: Iterable[Dropped], lists: Collection[str]) -> None:
    """Puts all of them into ``summary``, in place of what it had."""
    drops: dict[str, int] = {}
    places: dict[str, int] = {}
    pieces = replies = closings = 0
    for reason, location, packets, *_where in dropped:
        if is_piece(reason, location.symbol, lists):
            pieces += packets
            continue
        name = reason or NO_REASON
        drops[name] = drops.get(name, 0) + packets
        place = f"{name} at {location.symbol}" if location.symbol else name
        places[place] = places.get(place, 0) + packets
        if reason in ("NO_SOCKET", "") and location.symbol in ECHO_REPLIES:
            replies += packets
        if reason == UNSAID and location.symbol in TAKE_LAST:
            closings += packets
    summary.drop_places = places
    summary.drops, summary.pieces = drops, pieces
    summary.replies, summary.closings = replies, closings
