# SPDX-License-Identifier: Apache-2.0
"""Prepared → Loaded: the object opened, fitted, verified, its maps and its reader at hand."""

from __future__ import annotations

import errno
import struct
from collections.abc import Iterable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from mmap import PAGESIZE
from typing import NamedTuple

from ..arch.x86_64_sites import Site
from ..attach.argument_table import ArgumentTable, argument_table
from ..attach.conntrack import NAMES as CONNTRACK_PROGRAMS
from ..attach.conntrack import ConntrackPrograms
from ..attach.kprobe_perf import KprobePerf
from ..attach.tables import NAMES as TABLE_PROGRAMS
from ..attach.tables import TablePrograms
from ..attach.tracepoints import Tracepoints
from ..errors import LoadError, PrivilegeError
from ..facts.roles import EVERY_COPY, not_followed
from ..kernel.barrier import Barrier
from ..kernel.files import locked_memory_limit
from ..kernel.libbpf import BpfObject, Libbpf, Map, Program
from ..kernel.transport import QueueReader, Reader, RingReader
from ..kernel.wake import Wake
from ..options.config import Backend, Config
from ..record.layout import KernelConfig, RecordLayout
from .choose import ftrace_off
from .owners import OWNERS_MAX, RECEIVER_PROGRAM, owner_programs
from .prepare import Prepared
from .reads import PROGRAM as READ_PROGRAM
from .settings import make_settings
from .sites import find_sites
from .splice import OUTER, Spliced, hot_program, length, object_bytes, with_session
from .verifier_log import read_log

_KEY = struct.Struct("=Q")
_DROPS = "drop_skb"
_END = "end_life"
_PLACES = 4096  # where drops are counted by namespace and interface, too
_IN_TABLES = 4096  # packets in a table of netfilter at once
_JUDGED = 16384  # packets that conntrack has found invalid, until their memory is used anew
_CALLS = 16384  # of functions that have not returned, at once
_TAKEN = 16384  # packets whose socket was found
_OWNED_FLOWS = 65536  # of a group or a process, both directions in each namespace on the way
_TASKS = 4096  # in functions with an sk_buff at once
_LIVES = 65536  # packets under way
_RECEIVERS = 16384  # ways of packets that come to sockets whose owner is known
FLOWS_MAX = 16384
"""Flows of drops that are told apart: the least recently used gives way."""
_ENDS = ("end_kfree_skb", "end_consume_skb")  # where no program watches the allocator


@dataclass(frozen=True, slots=True)
class Loaded:
    """In the kernel, and attached to nothing.

    ``programs`` go to the plan's targets, ``points`` to the tracepoints beside them. ``followers``,
    ``drops`` (None: this kernel has no such tracepoint) and, last, ``enders`` go where their
    sections say. ``tables`` go to the plan's tables, and to the ``sites`` in some of them,
    ``conntrack`` to conntrack, ``owners`` where sockets are made and where they are found, ``end``
    where the plan says that packets end, ``reads`` where datagrams are read. ``entries``: what BPF
    programs of each kind get copies of. ``resources`` frees all.
    """

    prepared: Prepared
    programs: tuple[Program, ...]
    points: tuple[Program, ...]
    followers: tuple[Program, ...]
    enders: tuple[Program, ...]
    drops: Program | None
    tables: TablePrograms | None
    conntrack: ConntrackPrograms | None
    owners: tuple[Program, ...]
    end: Program | None
    reads: Program | None
    entries: dict[str, Program]
    sites: dict[str, Site]
    record: RecordLayout
    reader: Reader
    counters: Map
    dropped: Map
    flows: Map
    makers: Map
    tracked: Map
    switch: Map  # .bss of the object: the variable paused
    replacing: Map
    barrier: Barrier
    warnings: tuple[str, ...]
    resources: ExitStack

    def close(self) -> None:
        """Frees everything, whatever goes wrong on the way; may be called again."""
        self.resources.close()


def load(prepared: Prepared, wake: Wake) -> Loaded:
    """Raises LoadError or PrivilegeError, and leaves nothing then."""
    warnings = _first_warnings(prepared)
    sites = find_sites(prepared.plan.tables, prepared.types.btf)
    settings = make_settings(prepared, sites, warnings)
    spliced = {**prepared.compiled, **prepared.field_expressions.code}
    elf = object_bytes(_object(prepared), spliced)
    if prepared.way.session:
        elf = with_session(elf, prepared.features)
    with ExitStack() as stack:
        bpf_object = stack.enter_context(BpfObject(Libbpf(), elf, prepared.types.file))
        chosen = _choose_programs(bpf_object, prepared, settings)
        if settings.track and prepared.types.own and prepared.choice.follows:
            warnings += _unseen(chosen.followers)
        table = _fit_maps(bpf_object, prepared, settings)
        try:
            bpf_object.load()
        except LoadError as error:
            if error.errno == errno.EPERM and prepared.types.locks_memory:
                locked = locked_memory_limit()
                if locked is not None:
                    raise _cannot_lock(locked) from error
            raise explain(error, spliced) from error
        for ip, arguments in table.crowded.items():
            bpf_object.map("crowded").update(_KEY.pack(ip), bytes([arguments]))
        reader = _open_reader(bpf_object, prepared, settings, wake)
        stack.callback(reader.close)
        barrier = stack.enter_context(Barrier())
        return Loaded(
            prepared,
            chosen.programs,
            chosen.points,
            chosen.followers,
            chosen.enders,
            chosen.drops,
            chosen.tables,
            chosen.conntrack,
            chosen.owners,
            chosen.end,
            chosen.reads,
            chosen.entries,
            sites,
            settings.record,
            reader,
            bpf_object.map("counters"),
            bpf_object.map("drops"),
            bpf_object.map("flows"),
            bpf_object.map("owners"),
            bpf_object.map("tracked"),
            bpf_object.map(".bss"),
            bpf_object.map(".bss.replacing"),
            barrier,
            tuple(warnings),
            stack.pop_all(),
        )


def _first_warnings(prepared: Prepared) -> list[str]:
    warnings = []
    outer = prepared.compiled.get(OUTER)
    if outer is not None and outer.needs_mac:
        warnings.append(
            "the filter asks for link addresses: on the sending side, until the kernel has made "
            "the link header, they count as 00:00:00:00:00:00"
        )
    config = prepared.config
    if (config.rules or config.output_nf_path) and not prepared.plan.tables:
        warnings.append(
            "rules of netfilter are not told: no table of netfilter is loaded, or functions "
            "cannot be probed here"
        )
    if config.journey and not prepared.plan.tables:
        warnings.append(
            "devices are seen, and how packets end; what routing and netfilter do between two "
            "devices shows as drops and as addresses that change"
        )
    if config.journey and not prepared.choice.follows:
        warnings.append("what fragments, segments and copies were made of is concluded, with a ?")
    if prepared.way.returns and prepared.features.fentry_multi:
        warnings.append(
            f"returns are traced by {prepared.way.words}: fentry-multi sees entries alone"
        )
    chosen = config.backend is Backend.AUTO and not (config.drops or config.journey)
    if prepared.way.tracepoints and chosen:
        why = ftrace_off() or KprobePerf.lacking(prepared.features, modules=False)
        points = len(prepared.plan.targets)
        warnings.append(
            f"{why or 'no function can be probed'}; the kernel's {points} tracepoints are traced "
            "instead: what happens to a packet between them is not seen"
        )
    if prepared.config.follows and not prepared.types.own:
        warnings.append(
            "this kernel has no BTF of its own: copies and clones of a packet are not followed, "
            "and an address used again is taken for the same packet"
        )
    return warnings


def _object(prepared: Prepared) -> str:
    """Which of the package's objects: ``bpf/build.py``."""
    if prepared.way.trampoline:
        return "fentry"
    return "typed" if prepared.features.typed_loads else "plain"


class _Chosen(NamedTuple):
    programs: tuple[Program, ...]
    points: tuple[Program, ...]
    followers: tuple[Program, ...]
    enders: tuple[Program, ...]
    drops: Program | None
    tables: TablePrograms | None
    conntrack: ConntrackPrograms | None
    owners: tuple[Program, ...]
    end: Program | None
    reads: Program | None
    entries: dict[str, Program]


def _choose_programs(bpf_object: BpfObject, prepared: Prepared, settings: KernelConfig) -> _Chosen:
    """Loads only what this plan attaches."""
    compiled = prepared.compiled.get(OUTER)
    wanted = "trace_skb_any"
    if compiled and settings.simple and settings.adjacent:
        wanted = hot_program(compiled) or wanted
    if settings.inside:
        wanted = "trace_inside"
    programs = {program.name: program for program in bpf_object.programs()}
    followers = _followers(prepared, settings, programs)
    traced = prepared.way.programs(prepared.plan.targets, wanted)
    points = Tracepoints.programs(prepared.plan.tracepoints, "")
    enders = () if prepared.choice.follows else _ENDS
    loaded = {*traced, *points, *followers, *enders}
    if prepared.features.kfree_skb_arguments:
        loaded.add(_DROPS)
    if settings.tables.on:
        loaded |= {*TABLE_PROGRAMS}
    judges = settings.conntrack.judges
    if judges:
        loaded |= {*CONNTRACK_PROGRAMS}
    owners = owner_programs(prepared.config)
    loaded |= {*owners}
    if settings.lives:
        loaded.add(_END)
    if settings.read_target:
        loaded.add(READ_PROGRAM)
    entries = _entries(prepared.config)
    loaded |= {*entries.values()}
    for name, program in programs.items():
        program.set_autoload(name in loaded)
    for name in traced:
        prepared.way.shape(programs[name], prepared.features)
    drops = programs[_DROPS] if _DROPS in loaded else None
    return _Chosen(
        tuple(programs[name] for name in traced),
        tuple(programs[name] for name in points),
        tuple(programs[name] for name in followers),
        tuple(programs[name] for name in enders),
        drops,
        TablePrograms(*map(programs.__getitem__, TABLE_PROGRAMS)) if settings.tables.on else None,
        ConntrackPrograms(*map(programs.__getitem__, CONNTRACK_PROGRAMS)) if judges else None,
        tuple(programs[name] for name in owners),
        programs[_END] if settings.lives else None,
        programs[READ_PROGRAM] if settings.read_target else None,
        {kind: programs[name] for kind, name in entries.items()},
    )


def _entries(config: Config) -> dict[str, str]:
    """What runs where BPF programs of these kinds begin."""
    return {kind: f"enter_{kind}" for kind in config.program_kinds}


def _followers(prepared: Prepared, settings: KernelConfig, names: Iterable[str]) -> tuple[str, ...]:
    """Programs that follow packets, or forget them: KIND_ARGUMENTS_FUNCTION.

    The kernel must have the function, with as many arguments, and BTF of its own, as it wants the
    number of the function's type. Where no program is let at functions, those at tracepoints.
    """
    if not prepared.choice.follows:
        return tuple(name for name in names if settings.track and name.startswith("watch_"))
    if not prepared.types.own:
        return ()
    judges = settings.conntrack.judges
    kinds = {"alloc"} if settings.track or settings.placed or judges else set()
    kinds |= {"child", "copy"} if settings.track or judges else set()
    found = [name for name in names if name.split("_")[0] in kinds and _has(name, prepared)]
    if EVERY_COPY in map(_function, found):
        found = [name for name in found if not name.startswith("copy_")]
    return tuple(found)


def _function(name: str) -> str:
    return name.split("_", 2)[2]


def _unseen(followers: Iterable[Program]) -> list[str]:
    lost = not_followed([_function(program.name) for program in followers])
    if not lost:
        return []
    return [f"not followed, as this kernel does not show where they are made: {', '.join(lost)}"]


def _has(name: str, prepared: Prepared) -> bool:
    _kind, count, function = name.split("_", 2)
    btf = prepared.types.btf
    found = btf.function(function)
    return found is not None and len(btf.parameter_types(found.proto)) == int(count)


def _fit_maps(bpf_object: BpfObject, prepared: Prepared, settings: KernelConfig) -> ArgumentTable:
    """Sizes and first values; what of the table's crowded places is left goes in afterwards."""
    config = prepared.config
    ring, queue = bpf_object.map("ring"), bpf_object.map("queue")
    ring.set_autocreate(not settings.queue)
    queue.set_autocreate(settings.queue)
    ring.set_max_entries(_buffer_bytes(config))
    queue.set_value_size(settings.record.bytes)
    queue.set_max_entries(max(1, _buffer_bytes(config) // settings.record.bytes))
    bpf_object.map("tracked").set_max_entries(config.track_entries if settings.track else 1)
    bpf_object.map("places").set_max_entries(config.track_entries if settings.placed else 1)
    for inside in ("inside_of", "inside_at"):
        bpf_object.map(inside).set_max_entries(_IN_TABLES if settings.tables.on else 1)
    for judged in ("judged", "judging"):
        bpf_object.map(judged).set_max_entries(_JUDGED if settings.conntrack.judges else 1)
    bpf_object.map("calls").set_max_entries(_CALLS if prepared.way.returns else 1)
    bpf_object.map("owned").set_max_entries(_OWNED_FLOWS if settings.owned else 1)
    bpf_object.map("taken").set_max_entries(
        _TAKEN if RECEIVER_PROGRAM in owner_programs(config) else 1
    )
    bpf_object.map("owners").set_max_entries(OWNERS_MAX if config.knows_owners else 1)
    bpf_object.map("levels_of").set_max_entries(_TASKS if settings.inside else 1)
    bpf_object.map("lives").set_max_entries(_LIVES if settings.lives else 1)
    bpf_object.map("receivers").set_max_entries(_RECEIVERS if config.output_owner else 1)
    if config.top:
        bpf_object.map("drops").set_max_entries(_PLACES)
    if config.flows:
        bpf_object.map("flows").set_max_entries(FLOWS_MAX)
    bpf_object.map(".rodata").set_initial_value(settings.pack())
    if not prepared.way.ips:
        return ArgumentTable(b"", {})
    table = argument_table(prepared.plan.targets, prepared.way.ips)
    bpf_object.map(".rodata.arguments").set_initial_value(table.places)
    bpf_object.map("crowded").set_max_entries(max(1, len(table.crowded)))
    return table


def _open_reader(
    bpf_object: BpfObject, prepared: Prepared, settings: KernelConfig, wake: Wake
) -> Reader:
    size = settings.record.bytes
    if settings.queue:
        return QueueReader(bpf_object.map("queue"), size, wake.fd)
    return RingReader(bpf_object.map("ring"), _buffer_bytes(prepared.config), size, wake.fd)


def _buffer_bytes(config: Config) -> int:
    """What is counted in maps sends no event."""
    return PAGESIZE if config.top else config.buffer_bytes


def _cannot_lock(limit_bytes: int) -> PrivilegeError:
    return PrivilegeError(
        "cannot lock memory for the program's maps, which this kernel counts (before 5.11): the "
        f"limit is {limit_bytes >> 10} KiB: raise it (ulimit -l unlimited) or add CAP_SYS_RESOURCE",
        ("CAP_SYS_RESOURCE",),
    )


def explain(error: LoadError, spliced: Mapping[str, Spliced]) -> LoadError | PrivilegeError:
    """One line for a refused load; the whole log stays with it."""
    said = read_log(error.log)
    if error.errno in (errno.EPERM, errno.EACCES) and not said.processed:
        return PrivilegeError(
            "the kernel refuses to load the program: operation not permitted; run it as root of "
            "the machine, not of a container or user namespace"
        )
    if said.too_complex or (said.processed and error.errno == errno.E2BIG):
        size = " + ".join(f"{length(program)} instructions" for program in spliced.values())
        words = f"as too complex (filter: {size or 'none'}): use a shorter filter"
        return LoadError(f"the kernel refuses the program {words}", error.log, error.errno)
    if said.other_kernel:
        return LoadError(
            f"the BTF is not that of the running kernel: {said.reason[:160]}: give `kernel_btf` a "
            "file for exactly this kernel, or leave it out",
            error.log,
            error.errno,
        )
    reason = said.reason or str(error)
    processed = f"; {said.processed[:60]}" if said.processed else ""
    return LoadError(
        f"the kernel refuses the program: {reason[:160]}{processed} (the whole log: `log`)",
        error.log,
        error.errno,
    )
