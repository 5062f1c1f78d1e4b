# SPDX-License-Identifier: Apache-2.0
"""Sections that a session may ask for: who called, the packet within, raw structures."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from itertools import dropwhile, pairwise
from typing import Any, NamedTuple

from ..escape import escape
from ..facts.conntrack import EntryLayout
from ..facts.roles import (
    BEHIND_ENTRY,
    FREES_MEMORY,
    RETURN_TRAMPOLINES,
    RUNS_TRACEPOINT,
    TRACEPOINT_FRAMES,
)
from ..facts.structures import Compound, Structure
from . import contract
from .event import BpfProgram, Conntrack, Frame, Owner, Tuple
from .layout import CONNTRACKED, RecordLayout

NO_DETAILS: tuple[Any, ...] = (None, None, 0, (), None, None, None, None)
"""The last fields of an Event, in a session that asks for none of them."""


ENTRY_BYTES = 16
"""Of a function, before and with ftrace's call."""
_CONNTRACKED_VALUES = len(CONNTRACKED.names)


class Shapes(NamedTuple):
    """How the structures in records are made; None of those that are not in them."""

    sk_buff: Compound | None = None
    shared_info: Compound | None = None
    entry: EntryLayout | None = None


NO_SHAPES = Shapes()


def behind_tracepoint(frames: Iterable[Frame]) -> tuple[Frame, ...]:
    """A stack from the function on that the tracepoint is in; all of it where that is unknown."""
    stack = tuple(frames)
    for depth, frame in enumerate(stack):
        if RUNS_TRACEPOINT.fullmatch(frame.symbol):
            return tuple(dropwhile(_serves_tracepoint, stack[depth:]))
    return tuple(dropwhile(_serves_tracepoint, stack))


def _serves_tracepoint(frame: Frame) -> bool:
    return TRACEPOINT_FRAMES.fullmatch(frame.symbol) is not None


def from_entry(addrs: Sequence[int], entry: int) -> Sequence[int]:
    """A stack from the frame of the function at ``entry`` on, where it begins; none without it."""
    for first, addr in enumerate(addrs):
        if 0 <= addr - entry < ENTRY_BYTES:
            return addrs[first:]
    return ()


class Details:
    """Reads them of a record's ``sections``, the values behind its event.

    ``symbolize``: (address, innermost) of a stack. ``tuple_of``: struct event_tuple.
    """

    def __init__(
        self,
        record: RecordLayout,
        shapes: Shapes,
        symbolize: Callable[[int, bool], Frame],
        tuple_of: Callable[[bytes], Tuple | None],
    ) -> None:
        at = record.value_at
        self._caller_at = at[contract.SECTION_CALLER]
        self._tunnel_at = at[contract.SECTION_TUNNEL]
        self._cb_at = at[contract.SECTION_CB]
        self._skb_at = at[contract.SECTION_SKB]
        self._shared_at = at[contract.SECTION_SHARED]
        self._conntrack_at = at[contract.SECTION_CONNTRACK]
        self._entry_at = at[contract.SECTION_ENTRY]
        self._owner_at = at[contract.SECTION_OWNER]
        self.any = max(self._caller_at, self._tunnel_at, self._cb_at, self._skb_at,
                       self._shared_at, self._conntrack_at, self._owner_at) >= 0  # fmt: skip
        self.callers = self._caller_at >= 0
        self._shapes = shapes
        self._symbolize = symbolize
        self._tuple_of = tuple_of

    def read(
        self,
        sections: Sequence[Any],
        flags: int,
        func: str,
        location: Frame | None,
        program: BpfProgram | None = None,
    ) -> tuple[Any, ...]:
        """The last fields of the Event. ``func``, ``location``, ``program``: as it has them."""
        caller = None
        if self._caller_at >= 0 and program is not None:
            caller = self._program_caller(sections, program)
        elif self._caller_at >= 0:
            caller = self._caller(sections, flags, location)
        if program is not None and program.at_xdp:  # no sk_buff, no sections of one
            return (caller, *NO_DETAILS[1:])
        tunnel, tcp_flags, cb = None, 0, ()
        if self._tunnel_at >= 0:
            packed, tcp_flags = sections[self._tunnel_at : self._tunnel_at + 2]
            tunnel = self._tuple_of(packed)
        if self._cb_at >= 0:
            cb = tuple(sections[self._cb_at : self._cb_at + contract.CB_WORDS])
        return (
            caller,
            tunnel,
            tcp_flags,
            cb,
            _structure(self._shapes.sk_buff, sections, self._skb_at),
            # It lies behind the packet's bytes, which are freed before the sk_buff is.
            None
            if func in FREES_MEMORY
            else _structure(self._shapes.shared_info, sections, self._shared_at),
            None if func in BEHIND_ENTRY else self._conntrack(sections),
            self._owner(sections) if self._owner_at >= 0 else None,
        )

    def _owner(self, sections: Sequence[Any]) -> Owner | None:
        pid, _unused, comm = sections[self._owner_at : self._owner_at + 3]
        return Owner(pid, escape(comm)) if pid else None

    def _conntrack(self, sections: Sequence[Any]) -> Conntrack | None:
        if self._conntrack_at < 0 or self._shapes.entry is None:
            return None
        from .conntrack import decode_conntrack

        state, reply, has_entry, _unused, why = sections[
            self._conntrack_at : self._conntrack_at + _CONNTRACKED_VALUES
        ]
        entry = sections[self._entry_at] if has_entry else b""
        return decode_conntrack(self._shapes.entry, state, why, entry, reply=reply)

    def _caller(self, sections: Sequence[Any], flags: int, location: Frame | None) -> Frame | None:
        if location is not None or flags & contract.EVENT_DROP:
            return location
        if flags & contract.EVENT_TRACEPOINT:
            return self._tracepoint_caller(sections)
        return self.function_caller(sections)

    def function_caller(self, sections: Sequence[Any]) -> Frame | None:
        """Of a function: who called it."""
        addr = sections[self._caller_at]
        return self._called_from(addr) if addr else None

    def _program_caller(self, sections: Sequence[Any], program: BpfProgram) -> Frame | None:
        """Behind where the trampoline returns to, just after the program's entry."""
        words = sections[self._caller_at : self._caller_at + contract.CALLER_MAX]
        for word, following in pairwise(words):
            if 0 < word - program.addr < ENTRY_BYTES:
                return self._called_from(following) if following else None
        return None

    def _called_from(self, addr: int) -> Frame | None:
        """None for a trampoline, in which it lies, or with which it begins."""
        for innermost in (True, False):
            if RETURN_TRAMPOLINES.fullmatch(self._symbolize(addr, innermost).symbol):
                return None
        return self._symbolize(addr, False)

    def _tracepoint_caller(self, sections: Sequence[Any]) -> Frame | None:
        """The first frame behind those of the tracepoint is of the function that it is in."""
        stack = sections[self._caller_at : self._caller_at + contract.CALLER_MAX]
        frames = (self._symbolize(addr, depth == 0) for depth, addr in enumerate(stack) if addr)
        called = behind_tracepoint(frames)
        return self._called_from(called[1].addr) if len(called) > 1 else None


def _structure(shape: Compound | None, sections: Sequence[Any], at: int) -> Structure | None:
    return Structure(shape, sections[at]) if shape is not None and at >= 0 else None
