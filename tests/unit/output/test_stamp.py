# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from pwru_py.options.config import Timestamp
from pwru_py.output.stamp import ISO_CHARS, TIME_OF_DAY_CHARS, Stamp

from .samples import event


def test_current_is_the_monotonic_clock() -> None:
    assert Stamp(Timestamp.CURRENT).value(event(ts_ns=5)) == 5


def test_relative_counts_from_the_packets_previous_event() -> None:
    stamp = Stamp(Timestamp.RELATIVE)
    times = [(1, 100), (2, 150), (1, 175), (1, 175), (2, 1150)]
    assert [stamp.value(event(packet=packet, ts_ns=ts)) for packet, ts in times] == [
        0,
        0,
        75,
        0,
        1000,
    ]


def test_relative_forgets_the_packet_seen_longest_ago() -> None:
    stamp = Stamp(Timestamp.RELATIVE, packets=2)
    times = [(1, 10), (2, 20), (1, 30), (3, 40), (1, 50), (2, 60)]
    assert [stamp.value(event(packet=packet, ts_ns=ts)) for packet, ts in times] == [
        0,
        0,
        20,
        0,
        20,
        0,
    ]


def test_epoch_delta_and_elapsed() -> None:
    """In ns; as text the seconds since 1970 have nine digits behind the point."""
    epoch = Stamp(Timestamp.EPOCH)
    assert epoch.value(event(wall_ns=1_000_000_005)) == 1_000_000_005
    assert epoch.text(event(wall_ns=1_000_000_005)) == "1.000000005"
    delta, elapsed = Stamp(Timestamp.DELTA), Stamp(Timestamp.ELAPSED)
    events = [event(packet=n, ts_ns=ts) for n, ts in enumerate((100, 150, 140, 1150))]
    assert [delta.value(e) for e in events] == [0, 50, -10, 1010]
    assert [elapsed.value(e) for e in events] == [0, 50, 40, 1050]
    assert delta.text(events[0]) == "-1050"


def test_absolute_is_the_events_own_time_in_the_given_zone() -> None:
    zone = timezone(timedelta(hours=5, minutes=30))
    stamp = Stamp(Timestamp.ABSOLUTE, tz=zone)
    assert stamp.value(event()) == "2026-11-20T14:53:46.123456+05:30"
    assert stamp.time_of_day(event()) == "14:53:46.123456"


def test_absolute_follows_daylight_saving() -> None:
    stamp = Stamp(Timestamp.ABSOLUTE, tz=ZoneInfo("Europe/Berlin"))
    before = int(datetime(2026, 10, 25, 0, 59, 59, tzinfo=UTC).timestamp()) * 10**9
    assert stamp.value(event(wall_ns=before)) == "2026-10-25T02:59:59.000000+02:00"
    assert stamp.value(event(wall_ns=before + 10**9)) == "2026-10-25T02:00:00.000000+01:00"


@pytest.mark.parametrize("zone", [UTC, None])
def test_absolute_has_a_fixed_width_and_reads_back(zone: timezone | None) -> None:
    text = str(Stamp(Timestamp.ABSOLUTE, tz=zone).value(event()))
    assert len(text) == ISO_CHARS
    assert datetime.fromisoformat(text).timestamp() == pytest.approx(1795166626.123456)
    assert len(Stamp(Timestamp.ABSOLUTE, tz=zone).time_of_day(event())) == TIME_OF_DAY_CHARS
