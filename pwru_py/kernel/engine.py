# SPDX-License-Identifier: Apache-2.0
"""A session's kernel side: what the system offers, the loaded object, its probes, its counters."""

from __future__ import annotations

import errno
import json
import os
import re
import struct
import time
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import TYPE_CHECKING, NamedTuple

from .. import layout
from ..btf import Btf
from ..config import Backend, Config, Transport
from ..errors import AttachError, FeatureUnsupportedError, FilterError, LoadError, PrivilegeError
from ..kallsyms import Symbols, blacklist, filter_functions
from ..layout import KernelConfig
from ..model import Frame, Losses
from ..plan import Attachable, Plan, Target, make_plan
from ..reasons import Reasons
from . import netns, system
from .features import Features
from .libbpf import BpfObject, Libbpf, Link, Program
from .probes import KprobeMulti, Kprobes, Probes
from .transport import QueueReader, Reader, RingReader

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

_NOP_INSN = 8
_BRANCH_OFFSET = struct.Struct("<h")


@dataclass(frozen=True, slots=True)
class Prepared:
    """Everything that is decided before anything is loaded."""

    btf: Btf
    features: Features
    backend: Backend
    plan: Plan
    symbols: Symbols | None
    compiled: dict[str, CompiledFilter]


class Place(NamedTuple):
    """Where the object takes a filter: file offset, and how many instructions at most."""

    offset: int
    capacity: int


OUTER, INNER_L2, INNER_L3 = "pcap_filter", "pcap_filter_inner_l2", "pcap_filter_inner_l3"


def filter_places() -> dict[str, Place]:
    """The stubs of ``bpf/filter.bpf.h`` by name."""
    places = json.loads(files("pwru_py.bpf").joinpath("pwru.bpf.json").read_text())
    return {stub: Place(**place) for stub, place in places.items()}


def compile_expression(expression: str, stub: str = OUTER) -> CompiledFilter:
    """A pcap expression, compiled for ``stub``. Raises FilterError. Imports libpcap only now."""
    from pwru_filters import (
        FilterSyntaxError,
        FilterTooLargeError,
        FilterUnsupportedError,
        compile_filter,
    )

    try:
        return compile_filter(expression, capacity=filter_places()[stub].capacity)
    except (FilterSyntaxError, FilterUnsupportedError, FilterTooLargeError) as error:
        raise FilterError(str(error)) from error


def prepare(config: Config) -> Prepared:
    """Reads the system and makes the plan. Raises a PwruError when tracing is impossible."""
    compiled = compile_all(config)  # a wrong expression needs no root to be told
    system.check_privileges()
    btf = system.vmlinux_btf(config.kernel_btf)
    features = Features.of(btf)
    backend = _choose_backend(config.backend, features)
    btfs = [btf, *system.module_btfs(btf, config.kmods, config.all_kmods)]
    wanted = re.compile(config.filter_func or ".*").fullmatch
    attachable, symbols = _attachable(backend)
    plan = make_plan(btfs, attachable, wanted)
    symbols, plan = _locate(plan, backend, symbols, attachable)
    return Prepared(btf, features, backend, plan, symbols, compiled)


def _choose_backend(asked: Backend, features: Features) -> Backend:
    if asked is Backend.KPROBE_MULTI and not features.kprobe_multi:
        raise FeatureUnsupportedError(
            "this kernel has no kprobe-multi (Linux 5.18 with CONFIG_FPROBE): "
            "use --backend kprobe, or leave it out",
            feature="kprobe-multi",
            since="5.18",
        )
    if asked is Backend.AUTO and features.kprobe_multi:
        return Backend.KPROBE_MULTI
    if asked is Backend.KPROBE_MULTI:
        return asked
    if system.kprobe_pmu() is None:
        raise FeatureUnsupportedError(
            "this kernel has no kprobes (CONFIG_KPROBE_EVENTS is off, or kprobes are disabled): "
            "nothing can be traced",
            feature="kprobes",
        )
    return Backend.KPROBE


def _attachable(backend: Backend) -> tuple[Attachable, Symbols | None]:
    """What may be probed, from tracefs, or from kallsyms where tracefs cannot be had."""
    listed = system.tracefs_file("available_filter_functions")
    refused = frozenset[str]()
    if backend is Backend.KPROBE:
        refused = frozenset(blacklist(system.read(system.BLACKLIST) or b""))
    functions: dict[tuple[str, str], list[int]] = {}
    if listed:
        functions = filter_functions(listed)
        return Attachable(functions, "available_filter_functions", refused), None
    symbols = read_symbols()
    for key, addrs in symbols.functions():
        functions[key] = addrs
    return Attachable(functions, "kallsyms", refused), symbols


def _locate(
    plan: Plan, backend: Backend, symbols: Symbols | None, attachable: Attachable
) -> tuple[Symbols | None, Plan]:
    """Fills in addresses where names alone do not do.

    kprobe-multi takes names, which the kernel resolves faster than we read kallsyms, if no other
    function anywhere bears one of them; kprobes are placed by address.
    """
    names = {target.name for target in plan.targets}
    shared = sum(name in names for name, _module in attachable.functions) > len(names)
    if not plan.targets or (backend is Backend.KPROBE_MULTI and not shared):
        return symbols, plan
    symbols = symbols or read_symbols()
    found = symbols.addresses((t.name, t.module) for t in plan.targets)
    targets, skipped = [], list(plan.skipped)
    for target in plan.targets:
        addrs = found.get((target.name, target.module), ())
        if len(addrs) == 1:
            targets.append(target._replace(addr=addrs[0]))
        else:
            skipped.append(plan.skip(target, f"{len(addrs) or 'no'} addresses in kallsyms"))
    return symbols, Plan(tuple(targets), tuple(skipped))


def read_symbols() -> Symbols:
    """All text symbols of the running kernel. Raises PrivilegeError when they are hidden."""
    symbols = Symbols(system.read("/proc/kallsyms") or b"")
    if not symbols.visible:
        raise PrivilegeError(
            "cannot read kernel addresses: /proc/kallsyms hides them, CAP_SYSLOG is missing "
            "(or kernel.kptr_restrict is 2)",
            ("CAP_SYSLOG",),
        )
    return symbols


class Engine:
    """The loaded object and all that hangs on it; ``close`` leaves nothing behind."""

    reader: Reader

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.config = config
        self.prepared = prepared
        self.warnings: list[str] = []
        self.loaded = self.paused = False
        self.reasons = Reasons(
            prepared.btf, lambda: system.module_btfs(prepared.btf, (), every=True)
        )
        self._symbols = prepared.symbols
        self._modules: set[str] = set()
        self._by_addr = {t.addr: t for t in prepared.plan.targets if t.addr}
        self._object: BpfObject | None = None
        self._links: list[Link] = []
        self._followers: list[Program] = []
        self._programs: dict[int, Program] = {}
        self._final: Losses | None = None
        self.probes: Probes = KprobeMulti({}, (), cookies=False)
        self._wake_read, self._wake_write = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)

    # Loading

    def load(self) -> None:
        """Opens, configures and loads the object, opens the transport."""
        config, features = self.config, self.prepared.features
        compiled = self.prepared.compiled
        if OUTER in compiled and compiled[OUTER].needs_mac:
            self.warnings.append(
                "the filter asks for link addresses: on the sending side, until the kernel has "
                "made the link header, they count as 00:00:00:00:00:00"
            )
        settings = self._settings(compiled)
        self._lib = Libbpf()
        elf = splice(files("pwru_py.bpf").joinpath("pwru.bpf.o").read_bytes(), compiled)
        self._object = BpfObject(self._lib, elf, config.kernel_btf)
        self._choose_programs()
        self._size_maps(settings)
        self._object.map(".rodata").set_initial_value(settings.pack())
        try:
            self._object.load()
        except LoadError as error:
            raise _explain(error, compiled) from error
        self._open_transport(settings)
        self.loaded = True
        if config.output_stack:
            self._read_symbols()
        if not features.misses and self.prepared.backend is Backend.KPROBE_MULTI:
            self.warnings.append("this kernel does not count the probe hits that it skips")

    def _settings(self, compiled: dict[str, CompiledFilter]) -> KernelConfig:
        config, features = self.config, self.prepared.features
        netns_inode, ifindex = self._where()
        queue = config.transport is Transport.QUEUE or (
            config.transport is Transport.AUTO and not features.ring
        )
        if config.transport is Transport.RING and not features.ring:
            raise FeatureUnsupportedError(
                "this kernel has no BPF ring buffer: use --transport queue",
                feature="ring buffer",
                since="5.8",
            )
        mark = config.filter_mark
        return KernelConfig(
            netns=netns_inode,
            ifindex=ifindex,
            mark=mark.value & mark.mask if mark else 0,
            mark_mask=mark.mask if mark else 0,
            frame_bytes=_frame_bytes(compiled, OUTER),
            inner_l2_bytes=_frame_bytes(compiled, INNER_L2),
            inner_l3_bytes=_frame_bytes(compiled, INNER_L3),
            filter=OUTER in compiled,
            inner_l2=INNER_L2 in compiled,
            inner_l3=INNER_L3 in compiled,
            typed=features.typed_loads,
            func_ip=features.func_ip,
            cookie=features.cookie,
            track=config.filter_track_skb,
            tuple=config.output_tuple,
            stack=config.output_stack,
            queue=queue,
        )

    def _where(self) -> tuple[int, int]:
        """The namespace's inode and the interface's index to filter by, 0 for any."""
        config = self.config
        if not config.filter_netns and not config.filter_ifname:
            return 0, 0
        if config.filter_netns:
            inode, path = netns.resolve(config.filter_netns)
            what = f"network namespace {config.filter_netns}"
            if not path:
                self.warnings.append(f"no process or name leads to {what} now")
            if config.filter_ifname and not path:
                raise FilterError(
                    f"cannot look for interface {config.filter_ifname!r} in {what}: no process or "
                    "name leads there, give it as pid:N or a path"
                )
        else:
            inode, path, what = netns.current_inode(), "", "this network namespace"
        if not config.filter_ifname:
            return inode, 0
        return inode, netns.ifindex(config.filter_ifname, path, what)

    def _choose_programs(self) -> None:
        """Loads only what this plan attaches: a program for each argument position in use."""
        assert self._object is not None
        positions = {target.arg for target in self.prepared.plan.targets}
        multi = self.prepared.backend is Backend.KPROBE_MULTI
        for program in self._object.programs():
            kind, _, rest = program.name.partition("_")
            if kind == "skb":
                position = int(rest.removeprefix("arg"))
                program.set_autoload(position in positions)
                if multi:
                    program.set_kprobe_multi()
                if position in positions:
                    self._programs[position] = program
            elif self.config.filter_track_skb:
                count, _, function = rest.partition("_")
                found = self.prepared.btf.function(function)
                if found and len(self.prepared.btf.parameter_types(found.proto)) == int(count):
                    program.set_autoload(True)
                    self._followers.append(program)

    def _size_maps(self, settings: KernelConfig) -> None:
        assert self._object is not None
        ring, queue = self._object.map("ring"), self._object.map("queue")
        ring.set_autocreate(not settings.queue)
        queue.set_autocreate(settings.queue)
        ring.set_max_entries(self.config.buffer_bytes)
        queue.set_value_size(settings.record_bytes)
        queue.set_max_entries(max(1, self.config.buffer_bytes // settings.record_bytes))
        self._object.map("tracked").set_max_entries(
            self.config.track_entries if settings.track else 1
        )

    def _open_transport(self, settings: KernelConfig) -> None:
        assert self._object is not None
        if settings.queue:
            queue = self._object.map("queue")
            self.reader = QueueReader(queue, settings.record_bytes, self._wake_read)
        else:
            ring = self._object.map("ring")
            self.reader = RingReader(
                ring, self.config.buffer_bytes, settings.record_bytes, self._wake_read
            )
        self._counters = self._object.map("counters")
        self._paused = self._object.map(".bss")

    def attach(self) -> None:
        """Attaches all probes, or with kprobes the first ones while the rest follows."""
        targets = self.prepared.plan.targets
        cookies = self.prepared.features.cookie
        if self.prepared.backend is Backend.KPROBE_MULTI:
            self.probes = KprobeMulti(self._programs, targets, cookies)
        else:
            pmu = system.kprobe_pmu()
            assert pmu is not None
            self.probes = Kprobes(self._programs, targets, cookies, pmu)
        self._links.extend(program.attach() for program in self._followers)
        self.probes.attach()
        if self.probes.failed and not self.probes.attached:
            target, number = self.probes.failed[0]
            raise AttachError(
                f"cannot attach anything: {target.name}: {os.strerror(number).lower()}"
                + (
                    f", and {len(self.probes.failed) - 1} more"
                    if len(self.probes.failed) > 1
                    else ""
                )
                + ": see --debug, or try another --backend",
                number,
            )

    # Running

    def wake(self) -> None:
        """Ends a wait of the reader; safe in a signal handler."""
        self.probes.interrupt()
        try:
            os.write(self._wake_write, b"x")
        except (BlockingIOError, OSError):
            pass

    def pause(self) -> None:
        """Nothing is recorded from here on; what ran already has finished on return."""
        self.paused = True
        self._paused.update(b"\0\0\0\0", b"\1\0\0\0")
        time.sleep(0.01)

    def losses(self) -> Losses:
        """The kernel's counters, summed over CPUs."""
        if self._final is not None:
            return self._final
        read = self._counters.per_cpu_sum
        forgotten = read(layout.COUNT_TRACK_NEW) - read(layout.COUNT_TRACK_END)
        recursion = None
        if self.prepared.features.misses:
            recursion = sum(program.recursion_misses() for program in self._programs.values())
        return Losses(
            buffer_full=read(layout.COUNT_BUFFER_FULL),
            track_full=read(layout.COUNT_TRACK_FULL)
            + max(0, forgotten - self.config.track_entries),
            recursion=recursion,
        )

    def _read_symbols(self) -> None:
        self._modules = system.loaded_modules()
        self._symbols = read_symbols()

    def target_at(self, addr: int) -> Target | None:
        """The target probed at ``addr``: for kernels whose probes carry no cookie."""
        return self._by_addr.get(addr)

    def symbolize(self, addr: int, innermost: bool) -> Frame:
        """A stack's address: a return address points behind the call, the innermost does not."""
        assert self._symbols is not None
        at = addr if innermost else addr - 1
        symbol = self._symbols.lookup(at)
        # A module loaded since would be taken for its neighbour. Asked once for each address.
        if (symbol is None or symbol.module) and system.loaded_modules() != self._modules:
            self._read_symbols()
            symbol = self._symbols.lookup(at)
        if symbol is None:
            return Frame(addr, "", 0, "")
        offset = symbol.offset + (0 if innermost else 1)
        return Frame(addr, symbol.name, offset, symbol.module)

    def close(self) -> None:
        """Detaches and frees everything."""
        try:
            if self.loaded:
                self._final = self.losses()
        finally:
            self.probes.detach()
            while self._links:
                self._links.pop().destroy()
        if self.loaded:
            self.loaded = False
            self.reader.close()
        if self._object is not None:
            self._object.close()
            self._object = None
        for fd in (self._wake_read, self._wake_write):
            if fd >= 0:
                os.close(fd)
        self._wake_read = self._wake_write = -1


def compile_all(config: Config) -> dict[str, CompiledFilter]:
    """The config's expressions by the stub that takes them. Raises FilterError."""
    expressions = {
        OUTER: config.filter,
        INNER_L2: config.filter_tunnel_l2,
        INNER_L3: config.filter_tunnel_l3,
    }
    return {
        stub: compile_expression(expression, stub)
        for stub, expression in expressions.items()
        if expression.strip()
    }


def _frame_bytes(compiled: dict[str, CompiledFilter], stub: str) -> int:
    return compiled[stub].frame_bytes if stub in compiled else 0


def splice(elf: bytes, compiled: dict[str, CompiledFilter]) -> bytes:
    """The object with each filter at the end of its stub's no-ops (bpf/filter.bpf.h)."""
    if not compiled:
        return elf
    spliced = bytearray(elf)
    for stub, program in compiled.items():
        place, code = filter_places()[stub], program.code
        branch = place.offset + _NOP_INSN
        spare = place.capacity - len(code) // _NOP_INSN
        spliced[branch + 2 : branch + 4] = _BRANCH_OFFSET.pack(spare)
        end = place.offset + (2 + place.capacity) * _NOP_INSN
        spliced[end - len(code) : end] = code
    return bytes(spliced)


def _explain(error: LoadError, compiled: dict[str, CompiledFilter]) -> LoadError | PrivilegeError:
    """One line for a refused load; the whole log stays with it."""
    log = error.log
    if error.errno in (errno.EPERM, errno.EACCES) and "processed" not in log:
        return PrivilegeError(
            "the kernel refuses to load the program: operation not permitted; run it as root of "
            "the machine, not of a container or user namespace"
        )
    lines: Sequence[str] = [line.strip() for line in log.splitlines() if line.strip()]
    if "too many" in log or "too large" in log or "is too big" in log or "complexity" in log:
        size = " + ".join(f"{len(program.ebpf)} instructions" for program in compiled.values())
        return LoadError(
            f"the kernel refuses the program as too complex (filter: {size or 'none'}): "
            "use a shorter filter",
            log,
        )
    verdicts = [line for line in lines if "R" in line[:1] or "invalid" in line or "not" in line]
    last = next((line for line in reversed(lines) if line.startswith("processed")), "")
    hint = verdicts[-1] if verdicts else (lines[-1] if lines else str(error))
    return LoadError(
        f"the kernel refuses the program: {hint[:160]}{'; ' + last[:60] if last else ''} "
        "(the whole log: --debug)",
        log,
    )
