# SPDX-License-Identifier: Apache-2.0
"""A session's kernel side: the loaded object, its probes, its counters."""

from __future__ import annotations

import errno
import os
import struct
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

from ..attach.argument_table import ENDBR, ArgumentTable, argument_table
from ..attach.fentry_multi import FentryMulti
from ..attach.kprobe_events import Definitions, KprobeEvents
from ..attach.probes import KprobeMulti, Kprobes, Probes
from ..errors import AttachError, FeatureUnsupportedError, FilterError, LoadError, PrivilegeError
from ..escape import quote
from ..facts.drop_reasons import Reasons
from ..facts.kallsyms import Symbols
from ..kernel import bpf, system
from ..kernel.libbpf import BpfObject, Libbpf, Link, Program
from ..kernel.transport import QueueReader, Reader, RingReader
from ..options.config import Backend, Config, Transport
from ..plan.functions import Target
from ..record import contract
from ..record.event import Frame, Losses
from ..record.layout import FilterNeeds, KernelConfig, RecordLayout
from .attachable import find_symbols, read_symbols
from .prepare import Prepared
from .splice import INNER_L2, INNER_L3, OUTER, hot_program, object_bytes

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

_KEY = struct.Struct("=Q")
_PAGE_VARIABLES = (("page_offset_base", ""), ("vmemmap_base", ""))


class Engine:
    """The loaded object and all that hangs on it; ``close`` leaves nothing behind."""

    reader: Reader

    def __init__(self, config: Config, prepared: Prepared) -> None:
        self.config = config
        self.prepared = prepared
        self.warnings: list[str] = []
        self.loaded = self.paused = False
        known, types = prepared.known, prepared.types
        self.reasons = Reasons(
            known.reasons,
            known.subsystems,
            lambda: (types.btf, *system.module_btfs(types.btf, (), every=True)),
        )
        self._symbols: Symbols | None = None
        self._modules: set[str] = set()
        self.probes = _probes(prepared)
        # A probe is told by the function's address, that of the call of ftrace behind ENDBR, or its
        # own, which a breakpoint has just passed.
        self._by_addr = {
            target.addr + away: target
            for away in (*(ip - 1 for ip in self.probes.ips), ENDBR, -ENDBR, 0)
            for target in prepared.plan.targets
            if target.addr
        }
        self._object: BpfObject | None = None
        self._links: list[Link] = []
        self._followers: list[Program] = []
        self._final: Losses | None = None
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
        elf = object_bytes(_programs(self.prepared), compiled)
        self._object = BpfObject(self._lib, elf, config.kernel_btf)
        self._choose_programs(settings)
        self._size_maps(settings)
        table = self._argument_table()
        self._object.map(".rodata").set_initial_value(settings.pack())
        try:
            self._object.load()
        except LoadError as error:
            raise _explain(error, compiled) from error
        for ip, arguments in table.crowded.items():
            self._object.map("crowded").update(_KEY.pack(ip), bytes([arguments]))
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
                "this kernel has no BPF ring buffer: use `transport`=queue",
                feature="ring buffer",
                since="5.8",
            )
        mark = config.filter_mark
        return KernelConfig(
            netns=netns_inode,
            ifindex=ifindex,
            mark=mark.value & mark.mask if mark else 0,
            mark_mask=mark.mask if mark else 0,
            filter=_needs(compiled.get(OUTER)),
            inner_l2=_needs(compiled.get(INNER_L2)),
            inner_l3=_needs(compiled.get(INNER_L3)),
            adjacent=features.adjacent,
            func_ip=self.prepared.backend is Backend.KPROBE_MULTI,
            track=config.filter_track_skb,
            tuple=config.output_tuple,
            record=RecordLayout.of(stack=config.output_stack),
            queue=queue,
            shared=self.prepared.backend is Backend.FENTRY_MULTI
            and len({target.module for target in self.prepared.plan.targets}) > 1,
            **self._page_variables(compiled),
        )

    def _page_variables(self, compiled: dict[str, CompiledFilter]) -> dict[str, int]:
        """Addresses that lead from a page to its bytes, if a filter looks at payload."""
        if not any(program.needs_payload for program in compiled.values()):
            return {}
        found: dict[str, int] = {}
        if self.prepared.features.small_pages and system.addresses_visible():
            found = {name: addr for addr, (name, _) in find_symbols(_PAGE_VARIABLES).items()}
        if len(found) < len(_PAGE_VARIABLES):
            self.warnings.append(
                "payload that lies in pages cannot be read on this kernel: a filter that looks "
                "there does not match"
            )
            return {}
        return found

    def _where(self) -> tuple[int, int]:
        """The namespace's inode and the interface's index to filter by, 0 for any."""
        config = self.config
        if not config.filter_netns and not config.filter_ifname:
            return 0, 0
        from ..kernel import netns

        if config.filter_netns:
            inode, path = netns.resolve(config.filter_netns)
            what = f"network namespace {config.filter_netns}"
            if not path:
                self.warnings.append(f"no process or name leads to {what} now")
            if config.filter_ifname and not path:
                raise FilterError(
                    f"cannot look for interface {quote(config.filter_ifname)} in {what}: "
                    "no process or name leads there, give it as pid:N or a path"
                )
        else:
            inode, path, what = netns.current_inode(), "", "this network namespace"
        if not config.filter_ifname:
            return inode, 0
        return inode, netns.ifindex(config.filter_ifname, path, what)

    def _choose_programs(self, settings: KernelConfig) -> None:
        """Loads only what this plan attaches."""
        assert self._object is not None
        compiled = self.prepared.compiled.get(OUTER)
        wanted = "trace_skb_any"
        if compiled and settings.simple and settings.adjacent:
            wanted = hot_program(compiled) or wanted
        btf = self.prepared.types.btf if settings.track else None
        for program in self._object.programs():
            kind, _, rest = program.name.partition("_")
            if program.name == wanted:
                self._program = program
            elif kind == "trace":
                program.set_autoload(False)
            elif btf is not None:
                count, _, function = rest.partition("_")
                found = btf.function(function)
                if found and len(btf.parameter_types(found.proto)) == int(count):
                    program.set_autoload(True)
                    self._followers.append(program)
        if self.prepared.backend is Backend.KPROBE_MULTI:
            self._program.set_kprobe_multi()
        elif self.prepared.backend is Backend.FENTRY_MULTI:
            self._program.set_tracing(self.prepared.features.fentry_multi)

    def _argument_table(self) -> ArgumentTable:
        """Puts it into the object, but for the crowded places, which go in when it is loaded."""
        assert self._object is not None
        if not self.probes.ips:
            return ArgumentTable(b"", {})
        table = argument_table(self.prepared.plan.targets, self.probes.ips)
        self._object.map(".rodata.arguments").set_initial_value(table.places)
        self._object.map("crowded").set_max_entries(max(1, len(table.crowded)))
        return table

    def _size_maps(self, settings: KernelConfig) -> None:
        assert self._object is not None
        ring, queue = self._object.map("ring"), self._object.map("queue")
        ring.set_autocreate(not settings.queue)
        queue.set_autocreate(settings.queue)
        ring.set_max_entries(self.config.buffer_bytes)
        queue.set_value_size(settings.record.bytes)
        queue.set_max_entries(max(1, self.config.buffer_bytes // settings.record.bytes))
        self._object.map("tracked").set_max_entries(
            self.config.track_entries if settings.track else 1
        )

    def _open_transport(self, settings: KernelConfig) -> None:
        assert self._object is not None
        if settings.queue:
            queue = self._object.map("queue")
            self.reader = QueueReader(queue, settings.record.bytes, self._wake_read)
        else:
            ring = self._object.map("ring")
            self.reader = RingReader(
                ring, self.config.buffer_bytes, settings.record.bytes, self._wake_read
            )
        self._counters = self._object.map("counters")
        self._paused = self._object.map(".bss")

    def attach(self) -> None:
        """Attaches all probes, or with kprobes the first ones while the rest follows."""
        self._links.extend(program.attach() for program in self._followers)
        self.probes.attach(self._program)
        if self.probes.failed and not self.probes.attached:
            target, number = self.probes.failed[0]
            raise AttachError(
                f"cannot attach anything: {target.name}: {os.strerror(number).lower()}"
                + (
                    f", and {len(self.probes.failed) - 1} more"
                    if len(self.probes.failed) > 1
                    else ""
                )
                + ": see `failures`, or try another `backend`",
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
        if self.prepared.backend is not Backend.FENTRY_MULTI or not bpf.wait_for_programs():
            time.sleep(0.01)

    def losses(self) -> Losses:
        """The kernel's counters, summed over CPUs."""
        if self._final is not None:
            return self._final
        read = self._counters.per_cpu_sum
        forgotten = read(contract.COUNT_TRACK_NEW) - read(contract.COUNT_TRACK_END)
        return Losses(
            buffer_full=read(contract.COUNT_BUFFER_FULL),
            track_full=read(contract.COUNT_TRACK_FULL)
            + max(0, forgotten - self.config.track_entries),
            recursion=self._skipped(read(contract.COUNT_NESTED) + read(contract.COUNT_UNKNOWN)),
        )

    def _skipped(self, counted: int) -> int | None:
        """With those that the program has counted itself; None: the kernel does not tell."""
        skipped = self.probes.skipped(self.paused)
        if self.prepared.features.misses or self.prepared.backend is Backend.FENTRY_MULTI:
            return self._program.recursion_misses() + (skipped or 0) + counted
        if skipped is None:
            return counted or None
        return skipped + counted

    def _read_symbols(self) -> None:
        self._modules = system.loaded_modules()
        self._symbols = read_symbols()

    def target_at(self, addr: int) -> Target | None:
        """The target probed at ``addr``, for records that do not name it."""
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


def _programs(prepared: Prepared) -> str:
    """Which of the package's objects: ``bpf/build.py``."""
    if prepared.backend is Backend.FENTRY_MULTI:
        return "fentry"
    return "typed" if prepared.features.typed_loads else "plain"


def _probes(prepared: Prepared) -> Probes:
    targets = prepared.plan.targets
    if prepared.backend is Backend.FENTRY_MULTI:
        return FentryMulti(targets, prepared.features.fentry_multi)
    if prepared.backend is Backend.KPROBE_MULTI:
        return KprobeMulti(targets)
    return kprobes(targets)


def kprobes(targets: Sequence[Target]) -> Probes:
    """By tracefs where it may be written."""
    tracefs, base = system.writable_tracefs(), system.text_start()
    if tracefs and base is not None:
        return KprobeEvents(targets, Definitions(tracefs, base))
    pmu = system.kprobe_pmu()
    assert pmu is not None
    return Kprobes(targets, pmu)


def _needs(compiled: CompiledFilter | None) -> FilterNeeds:
    if compiled is None:
        return FilterNeeds()
    return FilterNeeds(
        bytes=-(-compiled.frame_bytes // 8) * 8,  # the kernel copies whole words fastest
        on=True,
        link=compiled.needs_link,
        length=compiled.needs_length,
        payload=compiled.needs_payload,
    )


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
        "(the whole log: `log`)",
        log,
    )
