# SPDX-License-Identifier: Apache-2.0
"""The time of an event in the mode that ``--timestamp`` asks for."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

from ..options.config import Timestamp
from ..record.event import Event

if TYPE_CHECKING:
    from datetime import tzinfo

ISO_CHARS = len("2026-11-20T09:03:46.123456+00:00")
ISO_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}[+-]\d\d:\d\d(:\d\d)?$"
TIME_OF_DAY_CHARS = len("09:03:46.123456")
_NS = 1_000_000_000
_TIME_OF_DAY = slice(len("2026-11-20T"), len("2026-11-20T") + TIME_OF_DAY_CHARS)


def iso_time(wall_ns: int, tz: tzinfo | None = None) -> str:
    """ISO 8601 with microseconds and the zone's offset, in the machine's zone when it is None."""
    from datetime import datetime

    second, ns = divmod(wall_ns, _NS)
    text = datetime.fromtimestamp(second, tz).astimezone(tz).isoformat()
    return f"{text[:19]}.{ns // 1000:06d}{text[19:]}"


class Stamp:
    """Times for one sink. Ask once for each event, in order: ``relative`` keeps account.

    ``tz``: the zone of ``absolute``, the machine's own when None. ``packets``: how many packets
    ``relative`` remembers; the one seen longest ago is forgotten first and starts from 0 again.
    """

    def __init__(self, mode: Timestamp, *, tz: tzinfo | None = None, packets: int = 65536) -> None:
        self.value: Callable[[Event], int | str] = self.current
        if mode is Timestamp.RELATIVE:
            self.value = self.relative
        elif mode is Timestamp.ABSOLUTE:
            self.value = self.absolute
        self._tz = tz
        self._packets = packets
        self._last: OrderedDict[int, int] = OrderedDict()
        self._second = -1
        self._date = self._offset = ""

    def text(self, event: Event) -> str:
        """``value`` as text."""
        return str(self.value(event))

    def current(self, event: Event) -> int:
        """CLOCK_MONOTONIC, nanoseconds."""
        return event.ts_ns

    def relative(self, event: Event) -> int:
        """Nanoseconds since the packet's previous event, 0 at its first."""
        last, packet, ts_ns = self._last, event.packet, event.ts_ns
        before = last.pop(packet, ts_ns)
        last[packet] = ts_ns
        if len(last) > self._packets:
            last.popitem(last=False)
        return ts_ns - before

    def absolute(self, event: Event) -> str:
        """ISO 8601 with microseconds and the zone's offset."""
        second, ns = divmod(event.wall_ns, _NS)
        if second != self._second:
            text = iso_time(second * _NS, self._tz)
            self._second, self._date, self._offset = second, text[:19], text[26:]
        return f"{self._date}.{ns // 1000:06d}{self._offset}"

    def time_of_day(self, event: Event) -> str:
        """``absolute`` without date and offset."""
        return self.absolute(event)[_TIME_OF_DAY]
