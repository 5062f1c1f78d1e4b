# SPDX-License-Identifier: Apache-2.0
"""Entries and returns of functions: which belong together, and how deep they lie. Pure."""

from __future__ import annotations

from typing import NamedTuple

from ..facts.returned import ReturnTypes
from ..record.event import Event, Returned

CALLS_MAX = 65536
_STACK_BYTES = 16384  # of a kernel's stack: of addresses farther apart nothing can be told


class _Call(NamedTuple):
    sp: int
    entered_ns: int
    func: str


class Calls:
    """Calls that are under way, at most ``limit``: the oldest gives way.

    A call is told from others by where its return address lies, and by when it began. On one stack
    an inner call lies below an outer one: what is not above a new call has returned unseen.
    """

    def __init__(self, types: ReturnTypes, limit: int = CALLS_MAX) -> None:
        self._types = types
        self._limit = limit
        self._open: dict[tuple[int, int], tuple[Event, int]] = {}
        self._threads: dict[int, list[_Call]] = {}

    def enter(self, event: Event, sp: int, thread: int) -> Event:
        """The same with its depth. ``sp`` 0: it is not at a function's entry."""
        key = thread or -1 - event.cpu
        calls = self._threads.get(key, [])
        if not sp:
            return event._replace(depth=len(calls))
        while calls and _is_over(calls[-1], sp, event.func):
            self._forget(calls.pop())
        event = event._replace(depth=len(calls))
        self._threads[key] = calls
        calls.append(_Call(sp, event.ts_ns, event.func))
        self._open[sp, event.ts_ns] = event, key
        if len(self._open) > self._limit:
            self._give_way()
        return event

    def leave(
        self, sp: int, entered_ns: int, register: int, ts_ns: int, wall_ns: int, cpu: int
    ) -> Event | None:
        """The event of a return: the packet is told as it was at the entry. None: not known."""
        found = self._open.pop((sp, entered_ns), None)
        if found is None:
            return None
        event, key = found
        calls = self._threads[key]
        while calls:
            call = calls.pop()
            if (call.sp, call.entered_ns) == (sp, entered_ns):
                break
            self._forget(call)
        if not calls:
            del self._threads[key]
        value = self._types.read(event.func, event.module, register)
        return event._replace(
            ts_ns=ts_ns,
            wall_ns=wall_ns,
            cpu=cpu,
            reason=-1,
            reason_name="",
            drop=False,
            stack=(),
            cb=(),
            sk_buff=None,
            shared_info=None,
            frame=b"",
            returned=Returned(*value, ts_ns - entered_ns),
        )

    def _forget(self, call: _Call) -> None:
        self._open.pop((call.sp, call.entered_ns), None)

    def _give_way(self) -> None:
        (sp, entered_ns), (_event, key) = next(iter(self._open.items()))
        del self._open[sp, entered_ns]
        calls = [c for c in self._threads[key] if (c.sp, c.entered_ns) != (sp, entered_ns)]
        if calls:
            self._threads[key] = calls
        else:
            del self._threads[key]


def _is_over(last: _Call, sp: int, func: str) -> bool:
    """At the same place is a function that the last one has jumped to, if it is another one."""
    if last.sp == sp:
        return last.func == func
    return 0 < sp - last.sp < _STACK_BYTES
