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
RFC3339_PATTERN = r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}[+-]\d\d:\d\d$"
TIME_OF_DAY_CHARS = len("09:03:46.123456")
EPOCH_CHARS = len("1763629426.123456789")
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
        values: dict[Timestamp, Callable[[Event], int | str]] = {
            Timestamp.RELATIVE: self.relative,
            Timestamp.ABSOLUTE: self.absolute,
            Timestamp.EPOCH: self.epoch,
            Timestamp.DELTA: self.delta,
            Timestamp.ELAPSED: self.elapsed,
        }
        self.value = values.get(mode, self.current)
        self._mode = mode
        self._before = self._first = 0  # 0: no event yet
        self._tz = tz
        self._packets = packets
        self._last: OrderedDict[int, int] = OrderedDict()
        self._second_ns = -1 << 62  # none yet
        self._date = self._offset = ""

    def text(self, event: Event) -> str:
        """``value`` as text; of ``epoch`` in seconds."""
        if self._mode is Timestamp.EPOCH:
            second, ns = divmod(event.wall_ns, _NS)
            return f"{second}.{ns:09d}"
        return str(self.value(event))

    def current(self, event: Event) -> int:
        """CLOCK_MONOTONIC, nanoseconds."""
        return event.ts_ns

    def relative(self, event: Event) -> int:
        """Nanoseconds since the packet's previous event, 0 at its first, and at XDP."""
        if not event.packet:
            return 0
        last, packet, ts_ns = self._last, event.packet, event.ts_ns
        before = last.pop(packet, ts_ns)
        last[packet] = ts_ns
        if len(last) > self._packets:
            last.popitem(last=False)
        return ts_ns - before

    def epoch(self, event: Event) -> int:
        """Nanoseconds since 1970."""
        return event.wall_ns

    def delta(self, event: Event) -> int:
        """Nanoseconds since the event before, 0 at the first."""
        before, self._before = self._before or event.ts_ns, event.ts_ns
        return event.ts_ns - before

    def elapsed(self, event: Event) -> int:
        """Nanoseconds since the first event."""
        self._first = self._first or event.ts_ns
        return event.ts_ns - self._first

    def absolute(self, event: Event) -> str:
        """ISO 8601 with microseconds and the zone's offset."""
        ns = event.wall_ns - self._second_ns
        if not 0 <= ns < _NS:
            ns = self._enter_second(event.wall_ns)
        return f"{self._date}.{ns // 1000:06d}{self._offset}"

    def rfc3339(self, event: Event) -> str:
        """The same with nanoseconds."""
        ns = event.wall_ns - self._second_ns
        if not 0 <= ns < _NS:
            ns = self._enter_second(event.wall_ns)
        return f"{self._date}.{ns:09d}{self._offset}"

    def _enter_second(self, wall_ns: int) -> int:
        """Nanoseconds within it; its text is kept."""
        ns = wall_ns % _NS
        self._second_ns = wall_ns - ns
        text = iso_time(self._second_ns, self._tz)
        self._date, self._offset = text[:19], text[26:]
        return ns

    def time_of_day(self, event: Event) -> str:
        """``absolute`` without date and offset."""
        return self.absolute(event)[_TIME_OF_DAY]
