# SPDX-License-Identifier: Apache-2.0
"""Loaded → Attached: the probes at work, until they are paused, counted and removed."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from contextlib import ExitStack

from ..attach.bpf_programs import BpfPrograms
from ..attach.conntrack import attach_conntrack
from ..attach.probes import Probes, attach_named_kprobe
from ..attach.tables import attach_tables
from ..attach.tracepoints import Tracepoints
from ..errors import AttachError, PrivilegeError
from ..escape import escape
from ..facts.btf import Btf
from ..facts.conntrack import find_whys
from ..facts.drop_reasons import Reasons
from ..facts.returned import ReturnTypes
from ..facts.roles import is_read
from ..kernel import bpf, system
from ..kernel.libbpf import Program
from ..kernel.wake import Wake
from ..plan.functions import Target
from ..record import contract
from ..record.decode import decode_tuple
from ..record.event import Dropped, Flow, Frame, Losses, Tuple
from ..record.layout import DROP_KEY, FLOW_KEY
from .addresses import Locations, Stacks, targets_by_addr
from .conntrack import conntrack_btfs
from .load import FLOWS_MAX, Loaded
from .owners import note_owners
from .reads import attach_reads
from .shapes import find_shapes


class Attached:
    """Every probe is attached or about to be; ``close`` leaves nothing behind."""

    def __init__(
        self,
        loaded: Loaded,
        probes: Probes,
        points: Tracepoints,
        programs: BpfPrograms,
        stacks: Stacks | None,
        drops: Program | None,
        warnings: tuple[str, ...],
        resources: ExitStack,
        *,
        sees_ends: bool,
    ) -> None:
        self.prepared = loaded.prepared
        self.probes = probes
        self._points = points
        self.programs = programs
        self.reader = loaded.reader
        self.warnings = warnings
        self.paused = self.closed = False
        self._loaded = loaded
        self._resources = resources
        known, types = self.prepared.known, self.prepared.types
        self.reasons = Reasons(
            known.reasons,
            known.subsystems,
            lambda: (types.btf, *types.module_btfs((), every=True)),
        )
        self._by_addr = targets_by_addr(self.prepared.plan.targets, probes.ips)
        self.symbolize = stacks.symbolize if stacks else None
        self.locate = Locations().locate
        self.tells_drops = drops is not None
        """Whether the kernel's own tracepoint tells of drops."""
        self.sees_ends = sees_ends
        """Whether it is seen where packets end, although no target tells."""
        self._drops = drops
        self.record = loaded.record
        self.shapes = find_shapes(self.prepared.config, types)

    @property
    def failed(self) -> list[tuple[Target, int]]:
        """What the kernel refused, with its errno."""
        return self.probes.failed + self._points.failed

    def target_at(self, addr: int) -> Target | None:
        """The target probed at ``addr``, for records that do not name it."""
        return self._by_addr.get(addr)

    def pause(self) -> None:
        """Nothing is recorded from here on; what ran already has finished on return."""
        self._loaded.switch.update(b"\0\0\0\0", b"\1\0\0\0")
        self._loaded.barrier.wait()
        self.paused = True

    def dropped(self) -> Iterator[Dropped]:
        """What the tracepoint has told so far."""
        flows = self._flows() if self.prepared.config.flows else {}
        kinds: dict[_Kind, int] = {}
        shown: dict[_Kind, dict[Tuple | None, int]] = {}
        for key, count in self._loaded.dropped.per_cpu_sums(DROP_KEY.size):
            location, reason, empty, *where = DROP_KEY.unpack(key)
            if is_read(self.locate(location).symbol, empty=bool(empty)):
                continue
            kind = location, reason, *where
            kinds[kind] = kinds.get(kind, 0) + count
            own = shown.setdefault(kind, {})
            for addresses, packets in flows.get(key, ()):
                own[addresses] = own.get(addresses, 0) + packets
        for kind, packets in kinds.items():
            location, reason, netns, ifname = kind
            name = self.reasons.name(reason) if reason != _NO_REASON else ""
            rows = tuple(Flow(*row) for row in shown[kind].items())
            yield Dropped(name, self.locate(location), packets, netns, escape(ifname), rows)
        left = self._loaded.counters.per_cpu_sum(contract.COUNT_DROPS_LEFT)
        if left:
            yield Dropped("at more places than can be told apart", Frame(0, "", 0, ""), left)

    def _flows(self) -> dict[bytes, list[tuple[Tuple | None, int]]]:
        """By drop_key."""
        found: dict[bytes, list[tuple[Tuple | None, int]]] = {}
        for key, packets in self._loaded.flows.entries(FLOW_KEY.size, FLOWS_MAX):
            drop, packed = FLOW_KEY.unpack(key)
            found.setdefault(drop, []).append((decode_tuple(packed), packets))
        return found

    def drops_limited(self, losses: Losses) -> bool:
        """Whether there may be more drops than were counted."""
        if self._drops is None:  # functions tell
            return bool(losses.buffer_full or losses.recursion or not losses.recursion_whole)
        nested = self._loaded.counters.per_cpu_sum(contract.COUNT_NESTED)
        return bool(nested or bpf.recursion_misses(self._drops.fd))

    def tagged(self) -> int:
        """Hits that match but for their VLAN tag."""
        return self._loaded.counters.per_cpu_sum(contract.COUNT_TAGGED)

    def unbelieved(self) -> int:
        """Hits that are not shown, as what the function got cannot be an sk_buff."""
        return self._loaded.counters.per_cpu_sum(contract.COUNT_NO_SKB)

    def unreturned(self) -> int:
        """Calls of functions whose returns are waited for."""
        read = self._loaded.counters.per_cpu_sum
        return max(0, read(contract.COUNT_CALLS) - read(contract.COUNT_RETURNS))

    def return_types(self) -> ReturnTypes:
        """How the values of functions are read."""
        return ReturnTypes(self._btf, self.reasons.name)

    def _btf(self, module: str) -> Btf | None:
        """The kernel's, or that of a module; None where that has none (before 5.11)."""
        types = self.prepared.types
        if not module:
            return types.btf
        if types.made or not system.has_module_btf(module):
            return None
        return next(iter(types.module_btfs((module,), every=False)), None)

    def hits(self) -> int:
        """Runs of the programs at targets and tracepoints, while the kernel counted them."""
        loaded, drops = self._loaded, self._drops
        programs = [*loaded.programs, *loaded.points, *([drops] if drops is not None else [])]
        fds = {*(each.fd for each in programs), *self.probes.copies, *self._points.copies}
        fds |= {*self.programs.copies}
        return sum(map(bpf.runs, fds))

    def losses(self) -> Losses:
        """The kernel's counters, summed over CPUs, until it is closed."""
        read = self._loaded.counters.per_cpu_sum
        skipped = self.probes.skipped(self._loaded.programs, final=self.paused)
        beside = self._points.skipped(self._loaded.points, final=self.paused)
        hits = (
            skipped.hits + beside.hits + read(contract.COUNT_NESTED) + read(contract.COUNT_UNKNOWN)
        )
        hits += bpf.recursion_misses(self._drops.fd) if self._drops is not None else 0
        hits += self.programs.skipped()
        return Losses(
            buffer_full=read(contract.COUNT_BUFFER_FULL),
            track_full=read(contract.COUNT_TRACK_FULL) + self._gave_way(),
            recursion=hits if hits or skipped.whole else None,
            recursion_whole=skipped.whole,
        )

    def _gave_way(self) -> int:
        """Followed packets whose place another one took: those that came and are not there.

        The map may take a place while it has free ones for other CPUs (kernel/bpf/bpf_lru_list.c):
        what is there is counted once recording has ended, before it is taken to be full.
        """
        read = self._loaded.counters.per_cpu_sum
        came = read(contract.COUNT_TRACK_NEW) - read(contract.COUNT_TRACK_END)
        if came and self.paused:
            return max(0, came - self._loaded.tracked.count())
        return max(0, came - self.prepared.config.track_entries)

    def replaced(self, what: str) -> int:
        """How many sets of rules of ``xtables`` have been replaced, from 1 up, or how many
        transactions of ``nft`` have been; 0: one is just now, or that cannot be told.
        """
        if self.closed:
            return 0
        counts = struct.unpack("=IIII", self._loaded.replacing.value(0, 16))
        begun, over = counts[2:] if what == "nft" else counts[:2]
        return over + 1 if begun == over else 0

    def close(self) -> None:
        """Detaches and frees everything, whatever goes wrong on the way; may be called again."""
        self.closed = True
        self._resources.close()


def attach(loaded: Loaded, wake: Wake, warnings: tuple[str, ...]) -> Attached:
    """Attaches all probes, or with kprobes the first ones while the rest follows.

    Raises AttachError when nothing could be, and leaves nothing then, of ``loaded`` either.
    """
    prepared = loaded.prepared
    with ExitStack() as stack:
        stack.callback(loaded.close)
        config = prepared.config
        stacks = Stacks() if config.output_stack or config.output_caller else None
        probes = prepared.way.make(prepared.plan.targets, prepared.features, wake)
        for program in loaded.followers:
            stack.callback(program.attach().destroy)
        sees_ends, unseen = _attach_end(loaded, stack)
        drops, more = _attach_drops(loaded, stack)
        more += unseen
        if loaded.owners:
            more += tuple(note_owners(loaded.owners, loaded.makers, config, stack))
        points = Tracepoints.beside(prepared.plan, prepared.features, wake)
        for each, programs in ((points, loaded.points), (probes, loaded.programs)):
            stack.callback(each.detach)
            if not wake.is_set:
                each.attach(programs)
        bpf_programs = BpfPrograms(loaded.entries, wake)
        stack.callback(bpf_programs.detach)
        bpf_programs.notice()
        if loaded.tables is not None and not wake.is_set:
            more += tuple(
                attach_tables(
                    prepared.plan.tables,
                    loaded.tables,
                    loaded.sites,
                    stack,
                    trace=config.traces_rules,
                    steps=config.output_nf_path,
                )
            )
        if loaded.reads is not None and not wake.is_set:
            more += tuple(attach_reads(loaded.reads, prepared.plan.reads, stack))
        if loaded.conntrack is not None and not wake.is_set:
            whys = find_whys(conntrack_btfs(prepared.types))
            more += tuple(attach_conntrack(loaded.conntrack, whys, stack))
        for program in loaded.enders:
            stack.callback(program.attach().destroy)
        if probes.failed and not probes.attached:
            raise _nothing(probes.failed)
        told = (*warnings, *loaded.warnings, *more)
        resources = stack.pop_all()
        return Attached(
            loaded,
            probes,
            points,
            bpf_programs,
            stacks,
            drops,
            told,
            resources,
            sees_ends=sees_ends,
        )


_Kind = tuple[int, int, int, bytes]  # location, reason, namespace, interface
_NO_REASON = (1 << 32) - 1
_UNTOLD = "drops are told by functions, those of a list as one"


def _attach_drops(loaded: Loaded, stack: ExitStack) -> tuple[Program | None, tuple[str, ...]]:
    """The program at the tracepoint; None, and why, where there is none: functions tell then."""
    drops = loaded.drops
    if drops is None:
        return None, (f"{_UNTOLD}: this kernel's BTF has no tracepoint kfree_skb",)
    try:
        stack.callback(drops.attach().destroy)
    except AttachError as refusal:
        return None, (f"{_UNTOLD}: the tracepoint kfree_skb is refused: {refusal}",)
    return drops, ()


def _attach_end(loaded: Loaded, stack: ExitStack) -> tuple[bool, tuple[str, ...]]:
    """Whether packets are seen to end where no target tells, and what a user should know."""
    if loaded.end is None:
        return False, ()
    function = loaded.prepared.plan.ends
    try:
        stack.callback(attach_named_kprobe(loaded.end, function, leaves=False))
    except AttachError as refusal:
        return False, (f"where packets end is not seen: {function}: {refusal}",)
    return True, ()


def _nothing(failed: list[tuple[Target, int]]) -> AttachError | PrivilegeError:
    target, number = failed[0]
    if number == errno.EACCES and not system.has_capability(system.CAP_SYS_ADMIN):
        return PrivilegeError(
            "cannot attach kprobes: the kernel lets CAP_SYS_ADMIN alone have perf events: run it "
            "as root, or see kernel.perf_event_paranoid (2 or less is enough)",
            ("CAP_SYS_ADMIN",),
        )
    more = f", and {len(failed) - 1} more" if len(failed) > 1 else ""
    return AttachError(
        f"cannot attach anything: {target.name}: {os.strerror(number).lower()}{more}: "
        "see `failures`, or try another `backend`",
        number,
    )
