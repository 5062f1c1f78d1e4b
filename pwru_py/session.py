# SPDX-License-Identifier: Apache-2.0
"""One tracing session: plan, load, attach, read, account. The library's front door."""

from __future__ import annotations

import os
import threading
import time
import warnings
import weakref
from collections.abc import Iterator
from functools import cached_property
from types import TracebackType
from typing import TYPE_CHECKING

from .errors import NotFoundError, PwruError, UsageError
from .escape import quote
from .facts.function_sets import matcher
from .facts.return_filter import ReturnFilter
from .facts.roles import LIST_FREES, PIECE_FREES
from .kernel import netns, system
from .kernel.clock import WallClock
from .kernel.wake import Wake
from .options.config import Backend, Config
from .packets.account import Account
from .packets.arp import ArpWatch
from .packets.calls import Calls
from .packets.drops import tell
from .packets.identity import Identity
from .packets.steps import ClockSteps
from .packets.verdicts import Verdicts
from .plan.functions import Plan
from .programs.attached import Attached
from .programs.known import KernelTypes, kernel_types
from .programs.prepare import Prepared, prepare
from .programs.start import start
from .record.decode import Decoder, DropRules, Names
from .record.dropped_by import NoRules
from .record.event import BpfProgram, Dropped, Event, Losses, Summary

if TYPE_CHECKING:
    from .kernel.rules import RuleBook

_IDLE_S = 1.0
_ATTACHING_S = 0.1
_PROGRAMS_S = 1.0  # from one look for BPF programs to the next


def _forgotten(attached: Attached, owner: int) -> None:
    """A Tracer is gone, or the process ends, and nobody has closed it. A child has nothing to."""
    if os.getpid() == owner:
        warnings.warn("a Tracer was not closed: use it in a with block", ResourceWarning, 2)
        attached.close()


def _returns(event: Event, wanted: ReturnFilter) -> bool:
    returned = event.returned
    return returned is not None and wanted.matches(returned.value, returned.text)


class Tracer:
    """Traces packets while it is entered; iterating yields typed events.

    ::

        with Tracer(Config(filter="icmp")) as tracer:
            for event in tracer:
                print(event.func, event.tuple)

    Iteration ends after ``stop()``, once everything recorded until then has been yielded. Leaving
    the block detaches every probe, and so does forgetting the object, with a ResourceWarning.
    Entering raises a PwruError when it cannot trace, and leaves nothing attached then. A Tracer is
    entered once. After fork(2) the session stays that of the process that entered it: in another
    one reading raises a PwruError, and ``close`` does nothing.
    """

    def __init__(self, config: Config | None = None) -> None:
        self.config = Config() if config is None else config
        if not isinstance(self.config, Config):
            raise UsageError(f"a Tracer takes a Config, not {type(config).__name__}")
        self.summary = Summary()
        self._prepared: Prepared | None = None
        self._attached: Attached | None = None
        self._wake: Wake | None = None
        self._clock = WallClock()
        self._steps = ClockSteps()
        self._stopping = False
        text = self.config.filter_return
        self._wanted = ReturnFilter.parse(text) if text else None
        self._notes: list[str] = []
        self._counters: netns.Counters | None = None
        self._arp = ArpWatch(0)
        self._netns_names: netns.NetnsNames | None = None
        self._rules: RuleBook | None = None
        self._verdicts = Verdicts(NoRules())
        self._owner = 0
        self._noticed = 0.0
        self._lock = threading.Lock()

    # Life

    def compiles_types(self) -> bool:
        """Whether ``plan()`` has the kernel's types compiled first, which takes seconds, once."""
        return self._prepared is None and self._types.compiles

    @cached_property
    def _types(self) -> KernelTypes:
        return kernel_types(self.config)

    def plan(self) -> Plan:
        """What would be, or is, attached. Needs to read BTF and tracefs, attaches nothing."""
        if self._prepared is None:
            self._prepared = prepare(self.config, self._types)
        return self._prepared.plan

    def __enter__(self) -> Tracer:
        if self._wake is not None:
            raise PwruError("a tracer traces once: make another one")
        plan = self.plan()
        assert self._prepared is not None
        if not plan.targets:
            raise self.nothing_to_trace()
        self._notes = [
            f"{name} is part of this kernel, not a module: its functions are traced without `kmods`"
            for name in system.built_in(self.config.kmods)
        ]
        self._owner = os.getpid()
        wake = self._wake = Wake()
        if self._stopping:
            wake.set()
        if self.config.drops:
            where = self.config.filter_netns
            inode, path = netns.resolve(where) if where else (netns.current_inode(), "")
            self._counters = netns.Counters(path)
            self._notes += self._xdp_note(self._counters.xdp_programs())
            self._arp = ArpWatch(inode)
        rules = bool(plan.tables) and (bool(self.config.rules) or self.config.output_nf_path)
        if self.config.output_netns_names:
            self._netns_names = netns.NetnsNames(devices=False)
        if rules:
            from .kernel.rules import RuleBook

            self._rules = RuleBook(self.rules_replaced)
            self._verdicts = Verdicts(self._rules, drops=self.config.drops)
        try:
            attached = self._attached = start(self._prepared, wake)
            self._forgotten = weakref.finalize(self, _forgotten, attached, self._owner)
            self._begin(attached)
        except BaseException:
            self.close()
            raise
        return self

    def _begin(self, attached: Attached) -> None:
        """What depends on the functions that are traced in the end."""
        self._prepared = attached.prepared
        plan = attached.prepared.plan
        # Without a function that frees packets an address used again counts as the same one.
        ends = self.config.drops or plan.shows_ends or attached.sees_ends
        self.summary.packets_limited = not ends
        identity = Identity(ends=ends)
        reasons, names = attached.reasons, self._netns_names
        self._decoder = Decoder(
            plan.traced,
            Names(
                attached.target_at,
                reasons.name,
                reasons.is_drop,
                attached.locate,
                attached.symbolize,
                names.name if names is not None and self.config.output_netns_names else None,
            ),
            DropRules(
                attached.tells_drops,
                reasons.known,
                self._lists(attached),
            ),
            identity,
            skip=attached.reader.skip,
            stride=attached.reader.stride,
            record=attached.record,
            metadata=attached.prepared.field_expressions.values,
            xdp_metadata=attached.prepared.field_expressions.xdp_values,
            shapes=attached.shapes,
            calls=Calls(attached.return_types()) if self.config.sees_returns else None,
            inside=self.config.knows_stacks,
            programs=attached.programs.traced,
        )
        self._account = Account(self.summary, identity, drops=not attached.tells_drops)

    def _xdp_note(self, programs: dict[str, int]) -> list[str]:
        """What is lost before it is a packet: no tracepoint tells of it."""
        wanted = self.config.filter_ifname
        found = [
            f"{name} (program {number})"
            for name, number in sorted(programs.items())
            if wanted in ("", name)
        ]
        return [
            f"an XDP program runs in the driver of {', '.join(found)}: frames that it drops become "
            "no packets and are not seen; ethtool -S may count them"
        ] if found else []  # fmt: skip

    @staticmethod
    def _lists(attached: Attached) -> frozenset[str]:
        """Functions whose drops may be pieces of packets that arrived, on this kernel."""
        return PIECE_FREES if attached.reasons.knows_consumed else LIST_FREES

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Detaches every probe and frees everything; may be called again."""
        if self._wake is None or self._owner != os.getpid():
            return
        self._stopping = True
        self._wake.set()
        with self._lock:  # another thread may be reading
            try:
                if self._attached is not None and not self._attached.closed:
                    self._end(self._attached)
            finally:
                self._wake.close()
                if self._counters is not None:
                    self._counters.close()
                if self._rules is not None:
                    self._rules.close()

    def _end(self, attached: Attached) -> None:
        self._forgotten.detach()
        try:
            self._refresh()
            if self._counters is not None:
                self.summary.silent = self._counters.rises()
                ignored = self._arp.ignored(self._counters.own_addresses())
                for ifname, packets in ignored.items():
                    self.summary.silent[f"{ifname}: ARP requests ignored"] = packets
        finally:
            attached.close()

    def stop(self) -> None:
        """Ends the iteration soon, also from a signal handler or another thread."""
        if self._stopping or self._owner not in (0, os.getpid()):
            return
        self._stopping = True
        if self._wake is not None:
            self._wake.set()

    # Events

    def __iter__(self) -> Iterator[Event]:
        for batch in self.batches():
            yield from batch

    def batches(self, idle_s: float = _IDLE_S) -> Iterator[list[Event]]:
        """Events as they come out of the kernel, many at a time.

        An empty list says that nothing came for a while: once in the beginning, ten times a second
        while probes are being attached, else every ``idle_s`` seconds.
        """
        attached = self._reading()
        yield []  # attached: a caller learns of it before the first packet
        if self.config.traces_programs:
            idle_s = min(idle_s, _PROGRAMS_S)
        while not self._stopping:
            came = self._wait(attached, idle_s if attached.probes.done else _ATTACHING_S)
            if came:
                yield from self._read(attached)
            self._notice_programs(attached)
            if not self.config.top:  # its reports ask the kernel, and keys come between them
                self._refresh()
            if not came:
                yield []
        if attached.closed:  # closed meanwhile
            return
        # Probes still fire until they are detached, but record nothing from here on.
        attached.pause()
        while not self._limit_reached and self._wait(attached, 0):
            yield from self._read(attached)
        self._refresh()

    def _notice_programs(self, attached: Attached) -> None:
        """Those that have been loaded in the last second."""
        now = time.monotonic()
        if not self.config.traces_programs or now - self._noticed < _PROGRAMS_S:
            return
        self._noticed = now
        with self._lock:
            if not attached.closed:
                attached.programs.notice()

    def _wait(self, attached: Attached, seconds: float) -> bool:
        with self._lock:
            if os.getpid() != self._owner:
                raise self._not_ours()
            return not attached.closed and attached.reader.wait(seconds)

    def _runs(self, attached: Attached) -> Iterator[bytes]:
        runs = attached.reader.read()
        while True:
            with self._lock:
                run = next(runs, b"") if not attached.closed else b""
            if not run:
                return
            yield run

    def _read(self, attached: Attached) -> Iterator[list[Event]]:
        offset_ns = self._clock.offset_ns()
        limit, wanted = self.config.limit_events, self._wanted
        for run in self._runs(attached):
            events = self._decoder.decode(run, offset_ns)
            if self._rules is not None:
                events = [*self._verdicts.join(events)]
            if self.config.drops:  # not the pieces of packets that have arrived
                self._arp.see(events)
                events = [event for event in events if event.drop]
            if wanted is not None:
                events = [event for event in events if _returns(event, wanted)]
            if limit:
                events = events[: limit - self.summary.events]
            self._account.add(events)
            yield self._steps.settle(events, offset_ns)
            if self._limit_reached:
                self._stopping = True
            if self._stopping and not attached.paused:
                return

    @property
    def _limit_reached(self) -> bool:
        return 0 < self.config.limit_events <= self.summary.events

    def _running(self) -> Attached:
        if self._attached is None:
            raise PwruError("the tracer is not running: use it in a with block")
        return self._attached

    def _reading(self) -> Attached:
        attached = self._running()
        if self._owner != os.getpid():
            raise self._not_ours()
        if attached.closed:
            raise PwruError("the session has ended: read its events inside the with block")
        return attached

    def _not_ours(self) -> PwruError:
        return PwruError(
            f"this session belongs to process {self._owner}, which has forked: trace there, "
            "or make another one here"
        )

    # The account

    def losses(self) -> Losses:
        """What the kernel counted as lost so far."""
        self._refresh()
        return self.summary.losses

    def dropped(self) -> list[Dropped]:
        """Drops so far as the kernel counts them, exact, of each reason and place."""
        attached = self._reading()
        return [*attached.dropped()] if attached.tells_drops else []

    def rules_replaced(self, what: str = "xtables") -> int:
        """How many sets of x_tables' rules have been replaced since the session's start, from 1 up;
        of ``nft``, how many transactions there have been.

        0: one is just now, or the session is over. What a ``Placed`` says means the same rule as
        long as this number is its ``replaced``.
        """
        return self._attached.replaced(what) if self._attached is not None else 0

    def hits(self) -> int:
        """Runs of the programs so far, if the kernel counts them (``kernel.bpf.count_runs``)."""
        attached = self._running()
        return 0 if attached.closed else attached.hits()

    def _refresh(self) -> None:
        attached = self._running()
        if not attached.closed:
            self.summary.losses = attached.losses()
            self.summary.drops_limited = attached.drops_limited(self.summary.losses)
            self.summary.tagged = attached.tagged()
            self.summary.unbelieved = attached.unbelieved()
            if self.config.sees_returns:
                self.summary.unreturned = attached.unreturned()
            if attached.tells_drops:
                tell(self.summary, attached.dropped(), self._lists(attached))
            self.summary.failed = len(attached.failed)
            self.summary.attached = attached.probes.attached

    @property
    def bpf_programs(self) -> tuple[BpfProgram, ...]:
        """Those that are traced so far, see ``Config.filter_trace_tc``."""
        return tuple(self._running().programs.traced)

    @property
    def progress(self) -> tuple[int, int]:
        """(functions begun, functions in all); begun includes those that failed."""
        attached = self._running()
        return attached.probes.begun, attached.probes.total

    @property
    def backend(self) -> Backend:
        """The one in use: where the kernel refuses another, not the one asked for."""
        return self._running().prepared.way.backend

    @property
    def target(self) -> str:
        """What each thing traced is: a function, or a tracepoint."""
        assert self._prepared is not None
        return self._prepared.way.target

    @property
    def attached(self) -> bool:
        """Whether every function of the plan is attached or has failed."""
        return self._running().probes.done

    @property
    def detaching_is_slow(self) -> bool:
        """Whether it takes some grace periods of RCU for each function."""
        return self._running().probes.slow

    @property
    def failures(self) -> list[tuple[str, int]]:
        """(function, errno) of those that the kernel refused."""
        return [(target.name, number) for target, number in self._running().failed]

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a user should know about this session: one line each, the later ones at its end."""
        attached = self._running()
        later = (*attached.probes.warnings, *attached.programs.warnings)
        return (*self._notes, *attached.warnings, *later)

    def nothing_to_trace(self) -> NotFoundError:
        """The error for a plan without targets."""
        return NotFoundError(self._why_nothing())

    def _why_nothing(self) -> str:
        assert self._prepared is not None
        pattern, what = self.config.filter_func, self.target
        matches = matcher(pattern)
        skipped = [s for s in self._prepared.plan.skipped if matches(s.name)]
        if skipped:
            first = skipped[0]
            return f"cannot trace {first.name}: {first.why}; see `plan` for what can be traced"
        if not pattern:
            return f"found no {what} that takes an sk_buff and can be traced: see `plan`"
        no_match = (
            f"no {what} that takes an sk_buff matches {quote(pattern)} (the whole name must match)"
        )
        if self._types.made:
            return (
                f"{no_match}, of those that the kernel's headers or our list tell of: see `plan`, "
                "or give a file with BTF for exactly this kernel as `kernel_btf`"
            )
        return f"{no_match}: see `plan`, or name its module in `kmods`"
