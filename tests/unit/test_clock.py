# SPDX-License-Identifier: Apache-2.0
"""The time of day of events: measured well, measured again when the clock is set."""

from __future__ import annotations

from pwru_py.kernel.clock import WallClock
from pwru_py.packets.steps import ClockSteps
from pwru_py.record.event import Event

from .output.samples import event as make_event

SECOND = 1_000_000_000


class Machine:
    """Two clocks; each look costs a while, and now and then an interrupt comes in between."""

    def __init__(self, offset_ns: int) -> None:
        self.now_ns, self.offset_ns, self.looks = 5 * SECOND, offset_ns, 0

    def _look(self) -> None:
        self.looks += 1
        self.now_ns += 400_000 if self.looks % 7 in (1, 2) else 30

    def monotonic_ns(self) -> int:
        self._look()
        return self.now_ns

    def wall_ns(self) -> int:
        self._look()
        return self.now_ns + self.offset_ns


def clock(machine: Machine) -> WallClock:
    return WallClock(machine.monotonic_ns, machine.wall_ns)


def test_an_interrupt_between_the_clocks_does_not_count() -> None:
    machine = Machine(1_700_000_000 * SECOND)
    assert abs(clock(machine).offset_ns() - machine.offset_ns) <= 30


def test_while_the_clock_is_not_set_the_offset_stays_as_it_is() -> None:
    machine = Machine(1_700_000_000 * SECOND)
    wall = clock(machine)
    looks = machine.looks
    assert len({wall.offset_ns() for _ in range(100)}) == 1
    assert machine.looks - looks == 300, "one bracket each, none measured anew"


def test_a_clock_that_is_set_is_measured_again() -> None:
    machine = Machine(1_700_000_000 * SECOND)
    wall = clock(machine)
    for step_ns in (3600 * SECOND, -7200 * SECOND, 1_000_000):
        machine.offset_ns += step_ns
        assert abs(wall.offset_ns() - machine.offset_ns) <= 30


def at(ts_s: int, packet: int, offset_s: int) -> Event:
    ts_ns = ts_s * SECOND
    return make_event(packet=packet, ts_ns=ts_ns, wall_ns=ts_ns + offset_s * SECOND)


def test_a_packet_keeps_the_clock_it_began_under() -> None:
    steps = ClockSteps()
    assert steps.settle([at(1, 1, 100)], 100 * SECOND) == [at(1, 1, 100)]
    later = [at(2, 1, 40), at(2, 2, 40), at(3, 1, 40), at(4, 3, 40)]
    settled = steps.settle(later, 40 * SECOND)
    assert [event.wall_ns // SECOND for event in settled] == [102, 42, 103, 44]
    assert steps.settle([at(5, 2, 40)], 40 * SECOND) == [at(5, 2, 40)]


def test_two_steps_while_a_packet_is_under_way() -> None:
    steps = ClockSteps()
    steps.settle([at(1, 1, 100)], 100 * SECOND)
    steps.settle([at(2, 1, 40), at(2, 2, 40)], 40 * SECOND)
    events = steps.settle([at(3, 1, 10), at(3, 2, 10), at(3, 3, 10)], 10 * SECOND)
    assert [event.wall_ns // SECOND for event in events] == [103, 43, 13]


def test_a_packet_that_lives_on_gets_the_new_clock_in_the_end() -> None:
    steps = ClockSteps()
    steps.settle([at(1, 1, 100)], 100 * SECOND)
    steps.settle([at(2, 1, 40)], 40 * SECOND)
    assert steps.settle([], 40 * SECOND) == []
    assert steps.settle([at(20, 1, 40)], 40 * SECOND) == [at(20, 1, 40)]
