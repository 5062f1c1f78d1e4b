# SPDX-License-Identifier: Apache-2.0
"""A bounded sample of packets, as events of a session without a filter. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from ..record.event import Event, Icmp, Tuple
from .inner import inner_frame

ROWS_MAX = 4096
NUMBERS_MAX = 200_000
RECEIVED = "net:netif_receive_skb"
_CONSUMED = "skb:consume_skb"  # tells packets apart that had the same memory, one behind the other


@dataclass(slots=True)
class Row:
    """Packets alike: same place, flow and flags. ``frame``: of the first one; ``inner``: inside its
    tunnel; ``whole``: the frame is all of it. ``numbers``: of the packets; ``received``: of those
    that came in by the device; ``dropped``: of those that were dropped there, by reason and
    function.
    """

    netns: int
    ifname: str
    mark: int
    tuple: Tuple | None
    frame: bytes
    inner: bytes | None
    whole: bool
    numbers: set[int] = field(default_factory=set)
    received: set[int] = field(default_factory=set)
    dropped: dict[str, set[int]] = field(default_factory=dict)


class Sample:
    """Rows of packets. ``full``: no more are taken."""

    def __init__(self) -> None:
        self._rows: dict[tuple[object, ...], Row] = {}
        self._taken = 0

    def add(self, events: Iterable[Event]) -> None:
        for event in events:
            if self.full:
                return
            if not event.frame or event.func == _CONSUMED:
                continue
            row = self._row(event)
            if row is None:
                continue
            row.numbers.add(event.packet)
            self._taken += 1
            if event.func == RECEIVED:
                row.received.add(event.packet)
            if event.drop:
                row.dropped.setdefault(_words(event), set()).add(event.packet)

    @property
    def full(self) -> bool:
        return self._taken >= NUMBERS_MAX

    def _row(self, event: Event) -> Row | None:
        inner = inner_frame(event.frame)
        key = (
            event.netns,
            event.ifname,
            event.mark,
            _flow(event.tuple),
            event.tcp_flags,
            event.frame[12:16],  # EtherType, tag or class
            event.frame[22:23],  # TTL
            _inner_flow(inner),
        )
        row = self._rows.get(key)
        if row is None and len(self._rows) < ROWS_MAX:
            whole = len(event.frame) >= event.len
            row = self._rows[key] = Row(
                event.netns, event.ifname, event.mark, event.tuple, event.frame, inner, whole
            )
        return row

    def __iter__(self) -> Iterator[Row]:
        return iter(self._rows.values())

    @property
    def packets(self) -> int:
        return self.count(lambda _row: True)

    def count(self, wanted: Callable[[Row], bool]) -> int:
        """Packets in rows that are wanted, each once."""
        return len(set().union(*(row.numbers for row in self if wanted(row))))


def _words(event: Event) -> str:
    """Why it was dropped, and in which function."""
    where = event.location.symbol if event.location is not None else ""
    return " in ".join(filter(None, (event.reason_name, where)))


def _inner_flow(frame: bytes | None) -> bytes:
    """Protocol, addresses and ports where there are no options."""
    if frame is None:
        return b""
    if frame[12:14] == b"\x86\xdd":
        return frame[12:14] + frame[20:21] + frame[22:58]
    return frame[12:14] + frame[23:24] + frame[26:38]


def _flow(addresses: Tuple | None) -> Tuple | None:
    """Without what counts up from packet to packet."""
    if addresses is None or addresses.icmp is None:
        return addresses
    return addresses._replace(icmp=Icmp(addresses.icmp.type))
