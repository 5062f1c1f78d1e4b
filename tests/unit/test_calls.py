# SPDX-License-Identifier: Apache-2.0
"""Entries and returns of functions find each other, whatever was not seen between them."""

from __future__ import annotations

from typing import Any

from pwru_py.facts.returned import ReturnTypes
from pwru_py.packets.calls import Calls
from pwru_py.record.event import Event

from .output.samples import event as sample

STACK = 0xFFFFC90000004000
TASK, OTHER = 100, 200


class Thread:
    """Calls of one thread; the clock goes on by 10 ns an event."""

    now_ns = 0

    def __init__(self, calls: Calls, thread: int = TASK, cpu: int = 1) -> None:
        self.calls, self.thread, self.cpu = calls, thread, cpu

    def enter(self, func: str, sp: int, **changes: Any) -> Event:
        Thread.now_ns += 10
        event = sample(func=func, ts_ns=Thread.now_ns, cpu=self.cpu, **changes)
        return self.calls.enter(event, sp, self.thread)

    def leave(self, entry: Event, sp: int, value: int = 0, cpu: int = 1) -> Event | None:
        Thread.now_ns += 10
        now = Thread.now_ns
        return self.calls.leave(sp, entry.ts_ns, value, now, now + 5, cpu)


def calls(**limits: int) -> Calls:
    return Calls(ReturnTypes(lambda module: None), **limits)


def test_nesting() -> None:
    thread = Thread(calls())
    outer = thread.enter("outer", STACK - 8)
    inner = thread.enter("inner", STACK - 64)
    point = thread.enter("skb:kfree_skb", 0)
    assert (outer.depth, inner.depth, point.depth) == (0, 1, 2)
    left = thread.leave(inner, STACK - 64, 7, cpu=3)
    assert left is not None
    assert left.returned is not None
    assert (left.func, left.depth, left.cpu, left.returned.value) == ("inner", 1, 3, 7)
    assert left.returned.duration_ns == 20
    assert left.wall_ns == left.ts_ns + 5
    assert thread.enter("next", STACK - 64).depth == 1
    assert thread.leave(outer, STACK - 8) is not None
    assert thread.enter("first again", STACK - 8).depth == 0


def test_what_the_packet_was() -> None:
    """A return tells of the packet as the entry did, and has nothing that is of the entry alone."""
    thread = Thread(calls())
    entry = thread.enter("f", STACK - 8, packet=7, reason=2, reason_name="X", drop=True, cb=(1,))
    left = thread.leave(entry, STACK - 8)
    assert left is not None
    assert (left.packet, left.skb, left.tuple, left.ifname) == (
        7, entry.skb, entry.tuple, entry.ifname,
    )  # fmt: skip
    assert (left.reason, left.reason_name, left.drop, left.cb, left.stack) == (
        -1,
        "",
        False,
        (),
        (),
    )


def test_a_return_without_its_entry() -> None:
    thread = Thread(calls())
    entry = thread.enter("f", STACK - 8)
    assert thread.leave(entry, STACK - 16) is None
    assert thread.leave(entry, STACK - 8) is not None
    assert thread.leave(entry, STACK - 8) is None


def test_returns_that_were_not_seen() -> None:
    thread = Thread(calls())
    outer = thread.enter("outer", STACK - 8)
    lost = thread.enter("lost", STACK - 64)
    deeper = thread.enter("deeper", STACK - 128)
    assert thread.enter("sibling", STACK - 32).depth == 1  # above where "lost" was
    assert thread.leave(lost, STACK - 64) is None
    assert thread.leave(deeper, STACK - 128) is None
    assert thread.leave(outer, STACK - 8) is not None  # and with it what lies within
    assert thread.enter("again", STACK - 8).depth == 0


def test_the_same_function_again_at_the_same_place() -> None:
    thread = Thread(calls())
    first = thread.enter("f", STACK - 8)
    assert thread.enter("f", STACK - 8).depth == 0
    assert thread.leave(first, STACK - 8) is None


def test_a_function_that_was_jumped_to() -> None:
    """It returns to where the one that jumped would have; the kernel tells of it first."""
    thread = Thread(calls())
    jumps = thread.enter("jumps", STACK - 8)
    target = thread.enter("target", STACK - 8)
    assert (jumps.depth, target.depth) == (0, 1)
    assert [
        e and e.func for e in (thread.leave(target, STACK - 8), thread.leave(jumps, STACK - 8))
    ] == [
        "target",
        "jumps",
    ]


def test_threads_and_stacks() -> None:
    """An interrupt has a stack of its own, and lies within what it has interrupted."""
    known = calls()
    task, other = Thread(known), Thread(known, OTHER)
    task.enter("task", STACK - 64)
    assert other.enter("other", STACK + (1 << 20)).depth == 0
    assert task.enter("interrupt", STACK + (1 << 20)).depth == 1
    idle = [Thread(known, 0, cpu).enter("idle", STACK + (cpu << 20)).depth for cpu in (0, 1)]
    assert idle == [0, 0]


def test_memory_is_bounded() -> None:
    known = calls(limit=3)
    entries = [Thread(known, thread).enter("f", STACK + (thread << 20)) for thread in range(1, 6)]
    left = [
        Thread(known, thread).leave(entry, STACK + (thread << 20)) is not None
        for thread, entry in enumerate(entries, 1)
    ]
    assert left == [False, False, True, True, True]
    assert not known._open
    assert not known._threads
