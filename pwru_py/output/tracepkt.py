# SPDX-License-Identifier: Apache-2.0
"""Hop lines in the form of tracepkt, the BCC tool that this project comes from.

A line each time that an ICMP echo message comes to another device, as it comes:
``[  4026531957]          docker0 request #17146.001 172.17.0.1 -> 172.17.0.2``, and for each table
of netfilter the same with ``filter.OUTPUT:ACCEPT`` behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from ..facts.roles import ENTRIES, QUEUED_TRACEPOINT
from ..record.event import Event
from .formats import format_said

_KINDS = {8: "request", 0: "reply", 128: "request", 129: "reply"}
_PACKETS_MAX = 4096


class HopLines:
    """Remembers where each packet was, to tell what is another device."""

    def __init__(self) -> None:
        self._at: dict[int, tuple[int, str]] = {}

    def lines(self, events: Iterable[Event]) -> Iterator[str]:
        """Those of a batch."""
        for event in events:
            if event.verdict is not None:
                line = hop_line(event)
                if line and not event.verdict.step:
                    yield f"{line} {format_said(event.verdict)}"
                continue
            if event.func != QUEUED_TRACEPOINT and event.func not in ENTRIES:
                continue
            place = (event.netns, event.ifname)
            line = hop_line(event)
            if line and self._at.get(event.packet) != place:
                yield line
            self._at[event.packet] = place
            if len(self._at) > _PACKETS_MAX:
                del self._at[next(iter(self._at))]


def hop_line(event: Event) -> str:
    """'' of what is no echo message."""
    packet = event.tuple
    if packet is None or packet.icmp is None or packet.icmp.type not in _KINDS:
        return ""
    kind, ident, sequence, _mtu = packet.icmp
    return (
        f"[{event.netns:>12}] {event.ifname:>16} {_KINDS[kind]:>7} "
        f"#{ident or 0:05}.{sequence or 0:03} {packet.saddr} -> {packet.daddr}"
    )
