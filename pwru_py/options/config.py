# SPDX-License-Identifier: Apache-2.0
"""What one session is asked to do: plain values, checked, no I/O."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum

from ..errors import UsageError
from ..escape import quote
from ..facts.conntrack import CtState
from ..facts.function_sets import INSIDE, matcher, plain_matcher
from ..facts.return_filter import ReturnFilter

PID_MAX = 1 << 22  # PID_MAX_LIMIT, include/linux/threads.h
TRACK_ENTRIES = 65536
COMM_MAX = 15  # TASK_COMM_LEN of include/linux/sched.h, without the zero


class Backend(StrEnum):
    """How the shared programs are attached. ``AUTO`` asks the kernel."""

    AUTO = "auto"
    KPROBE = "kprobe"
    KPROBE_MULTI = "kprobe-multi"
    FENTRY_MULTI = "fentry-multi"
    TRACEPOINT = "tracepoint"


class Engine(StrEnum):
    """Where the kernel's types come from. ``AUTO``: its own BTF, or ``kernel_btf``, else BCC.

    ``LIBBPF``: its own BTF or ``kernel_btf`` alone. ``BCC``: the kernel's headers.
    """

    AUTO = "auto"
    LIBBPF = "libbpf"
    BCC = "bcc"


class Transport(StrEnum):
    """How records leave the kernel. ``AUTO``: the ring buffer where the kernel has it."""

    AUTO = "auto"
    RING = "ring"
    QUEUE = "queue"


class Timestamp(StrEnum):
    """The TIME column: none, monotonic ns, ns since the skb's previous event, wall clock.

    ``EPOCH``: seconds since 1970. ``DELTA``, ``ELAPSED``: ns since the line before, the first line.
    """

    NONE = "none"
    CURRENT = "current"
    RELATIVE = "relative"
    ABSOLUTE = "absolute"
    EPOCH = "epoch"
    DELTA = "delta"
    ELAPSED = "elapsed"


class Rules(StrEnum):
    """Whether the rule that dropped a packet is told. ``TRACE``: by the kernel's tracing of rules,
    of nf_tables, too.
    """

    OFF = ""
    ON = "true"
    TRACE = "trace"


@dataclass(frozen=True, slots=True)
class Mark:
    """``skb->mark & mask == value & mask``; both are 32-bit, host byte order."""

    value: int
    mask: int = 0xFFFFFFFF

    def __post_init__(self) -> None:
        _number("mark", self.value), _number("mask", self.mask)
        if not (0 <= self.value <= 0xFFFFFFFF and 0 <= self.mask <= 0xFFFFFFFF):
            raise UsageError(f"mark {self.value:#x}/{self.mask:#x} does not fit 32 bits")

    @classmethod
    def parse(cls, text: str) -> Mark:
        """``M`` or ``M/MASK``, hexadecimal with 0x, else decimal. Raises UsageError."""
        value, slash, mask = text.partition("/")
        try:
            parsed = int(value, 0), int(mask, 0) if slash else 0xFFFFFFFF
        except ValueError:
            raise UsageError(
                f"cannot read mark {quote(text)}: give MARK or MARK/MASK, decimal or 0x hexadecimal"
            ) from None
        return cls(*parsed)


def _wrong(name: str, wanted: str, value: object) -> UsageError:
    return UsageError(f"`{name}` must be {wanted}, not {type(value).__name__}")


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise _wrong(name, "text", value)
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise UsageError(f"`{name}` holds half a character: {quote(value)}") from None
    if "\0" in value:
        raise UsageError(f"`{name}` holds a zero byte: {quote(value)}")
    return value


def _truth(name: str, value: object) -> bool:
    if not isinstance(value, bool):
        raise _wrong(name, "True or False", value)
    return value


def _number(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise _wrong(name, "a whole number", value)
    return value


def _mark(name: str, value: object) -> Mark | None:
    if value is not None and not isinstance(value, Mark):
        raise _wrong(name, "a Mark or None", value)
    return value


def _names(name: str, value: object) -> tuple[str, ...]:
    if not isinstance(value, (tuple, list)):
        raise _wrong(name, "a tuple of names", value)
    return tuple(_text(name, each) for each in value)


def _ct_states(name: str, value: object) -> tuple[CtState, ...]:
    check = _word(CtState)
    return tuple(CtState(check(name, each)) for each in _names(name, value))


def _word(words: type[StrEnum]) -> Callable[[str, object], StrEnum]:
    def check(name: str, value: object) -> StrEnum:
        if value not in list(words):
            allowed = ", ".join(words)
            raise UsageError(f"`{name}` cannot be {quote(str(value))}: give one of {allowed}")
        return words(str(value))

    return check


def _rules(name: str, value: object) -> StrEnum:
    if isinstance(value, bool):
        return Rules.ON if value else Rules.OFF
    return _word(Rules)(name, value)


# The type of a field to what makes its value, or refuses it.
_CHECKS: dict[str, Callable[[str, object], object]] = {
    "str": _text,
    "bool": _truth,
    "int": _number,
    "Mark | None": _mark,
    "tuple[str, ...]": _names,
    "tuple[CtState, ...]": _ct_states,
    "Backend": _word(Backend),
    "Engine": _word(Engine),
    "Rules": _rules,
    "Transport": _word(Transport),
}


_ARP_ALONE = re.compile(r"\s*arp\b(?!.*(\bor\b|\|\|))", re.DOTALL)


def is_arp(expression: str) -> bool:
    """Whether a pcap expression is for ARP alone: it begins with ``arp``, and has no ``or``."""
    return _ARP_ALONE.match(expression) is not None


@dataclass(frozen=True, slots=True)
class Config:
    """One tracing session. Every field has the default that the command line has.

    ``filter``: a pcap-filter(7) expression, empty for every packet.
    ``filter_tunnel_l2``/``_l3``: the same for the Ethernet frame and the IP packet inside a
    VXLAN, Geneve, GRE or IP-in-IP tunnel; a packet that carries no other one does not match.
    ``filter_func``: a regular expression for whole function names, empty for all; ``@core`` and the
    like in it are sets of functions (``facts.function_sets``).
    ``filter_netns``: ``/proc/PID/ns/net`` or another path, ``inode:N``, ``pid:N`` or a name
    known to ``ip netns``. ``filter_ifname``: looked up in that namespace, else the own one.
    ``filter_ct_state``: packets that are one of these to conntrack, ``filter_ct_mark``: whose entry
    has this mark (0 needs an entry, too); both as it is at each function.
    ``filter_cgroup``: packets of sockets that were made in this control group of cgroup v2 or below
    it, and the answers to them: its directory, its path in /proc/PID/cgroup, or ``pid:N``.
    ``filter_pid``, ``filter_comm``: packets of sockets that this process, that processes of this
    name, made (of those before the session, that have it), and the answers to them.
    ``filter_non_skb_funcs``: functions that take no sk_buff, shown where they run within one that
    has a packet that matches: names, regular expressions, or ``@inside`` for those of networking;
    ``filter_track_bpf_helpers``: those that BPF programs call. ``filter_track_skb_by_stackid``:
    functions with another sk_buff, too, matching or not.
    ``filter_skb_expr``: a condition on the sk_buff's fields, ``skb->dev->mtu > 1400``
    (docs/expressions.md); ``output_skb_metadata``: values that each event has, ``skb->mark``.
    ``filter_xdp_expr``, ``output_xdp_metadata``: the same of struct xdp_buff, at XDP.
    ``filter_trace_tc``, ``filter_trace_xdp``: BPF programs at tc (SCHED_CLS, SCHED_ACT), at XDP are
    traced, too, those that are loaded and those that come: an event where one begins
    (``Event.program``).
    ``drops``: packets that are dropped and nothing else, as the kernel's tracepoint tells of them.
    ``journey``: only what tells a packet's way from device to device and its end, by the kernel's
    tracepoints, and packets are followed (``packets.journey.Journeys`` puts the events together).
    ``top``: drops are counted in the kernel (``Tracer.dropped``), and no event comes; ``flows``: by
    flow, too.
    ``with_tracepoints``: the kernel's tracepoints that have an sk_buff are traced beside functions.
    ``rules``: of a packet that netfilter drops, which rule or policy did it (``Event.dropped_by``);
    packets that pass its tables cost more then. A journey knows it anyway. True, False or
    ``Rules.TRACE``, which knows a policy for certain, too, and what is decided by a module that
    came later, and switches on that the kernel traces the rules of nf_tables, in a namespace of its
    own: every packet there costs more, whoever's it is. ``output_nf_path``: each rule of nf_tables
    that matched, in the same way, and of iptables and ip6tables (``Event.nf_path``).
    ``kmods``: modules whose functions are traced too; ``all_kmods``: every loaded one.
    ``output_caller``: who called, ``output_tunnel``: the packet within a tunnel's packet,
    ``output_skb_cb``, ``output_skb``, ``output_skb_shared_info``: skb->cb and the structures; see
    ``Event``.
    ``output_conntrack``: events have what conntrack knows of the packet (``Event.conntrack``).
    ``output_owner``: events have whose socket the packet's is (``Event.owner``).
    ``output_return``: each event at a function is followed by one at its return
    (``Event.returned``); ``filter_return``: only returns come, of values such as ``< 0``,
    ``== -EINVAL`` or ``NF_DROP`` (``record.returns.ReturnFilter``).
    ``output_frame``: events have the beginning of the frame (``Event.frame``).
    ``limit_events``: end after so many, 0 for no limit.
    ``buffer_bytes``: the ring buffer (a power of two, from a page to 2 GiB) or, divided by the
    record's size, the queue. ``track_entries``: how many packets are followed at once.

    Raises UsageError for a value of another type, and for one that no session can have.
    """

    filter: str = ""
    filter_tunnel_l2: str = ""
    filter_tunnel_l3: str = ""
    filter_func: str = ""
    filter_netns: str = ""
    filter_ifname: str = ""
    filter_mark: Mark | None = None
    filter_ct_state: tuple[CtState, ...] = ()
    filter_ct_mark: Mark | None = None
    filter_cgroup: str = ""
    filter_pid: int = 0
    filter_comm: str = ""
    filter_track_skb: bool = False
    filter_track_skb_by_stackid: bool = False
    filter_non_skb_funcs: tuple[str, ...] = ()
    filter_track_bpf_helpers: bool = False
    filter_skb_expr: str = ""
    filter_xdp_expr: str = ""
    filter_return: str = ""
    filter_trace_tc: bool = False
    filter_trace_xdp: bool = False
    drops: bool = False
    journey: bool = False
    top: bool = False
    flows: bool = False
    with_tracepoints: bool = False
    rules: Rules = Rules.OFF
    kmods: tuple[str, ...] = ()
    all_kmods: bool = False
    kernel_btf: str = ""
    engine: Engine = Engine.AUTO
    backend: Backend = Backend.AUTO
    transport: Transport = Transport.AUTO
    output_tuple: bool = True
    output_stack: bool = False
    output_caller: bool = False
    output_tunnel: bool = False
    output_skb: bool = False
    output_skb_shared_info: bool = False
    output_skb_cb: bool = False
    output_netns_names: bool = False
    output_nf_path: bool = False
    output_skb_metadata: tuple[str, ...] = ()
    output_xdp_metadata: tuple[str, ...] = ()
    output_conntrack: bool = False
    output_owner: bool = False
    output_return: bool = False
    output_bpfmap: bool = False
    output_frame: bool = False
    limit_events: int = 0
    buffer_bytes: int = 16 << 20
    track_entries: int = TRACK_ENTRIES

    def __post_init__(self) -> None:
        for column in fields(self):
            value = _CHECKS[str(column.type)](column.name, getattr(self, column.name))
            object.__setattr__(self, column.name, value)
        self._check_ranges()

    @property
    def follows(self) -> bool:
        """Whether a packet that matched once is traced from there on."""
        return self.filter_track_skb or self.journey

    @property
    def traces_inside(self) -> bool:
        """Whether functions without an sk_buff are traced."""
        helpers = self.filter_track_bpf_helpers or self.output_bpfmap
        return bool(self.filter_non_skb_funcs) or helpers

    @property
    def knows_stacks(self) -> bool:
        """Whether it is noted which function another one runs within."""
        return self.traces_inside or self.filter_track_skb_by_stackid

    @property
    def traces_programs(self) -> bool:
        """Whether BPF programs are traced beside functions."""
        return bool(self.program_kinds)

    @property
    def program_kinds(self) -> tuple[str, ...]:
        """Of them those that are: ``tc``, ``xdp``."""
        wanted = {"tc": self.filter_trace_tc, "xdp": self.filter_trace_xdp}
        return tuple(kind for kind, asked in wanted.items() if asked)

    @property
    def has_field_expressions(self) -> bool:
        """Whether there is something to compile by the kernel's types."""
        return bool(
            self.filter_skb_expr
            or self.output_skb_metadata
            or self.filter_xdp_expr
            or self.output_xdp_metadata
        )

    @property
    def sees_returns(self) -> bool:
        """Whether functions are traced where they return, too."""
        return self.output_return or bool(self.filter_return) or self.output_bpfmap

    @property
    def tells_verdicts(self) -> bool:
        """Whether netfilter's tables are watched."""
        return bool(self.rules) or self.journey or self.output_nf_path

    @property
    def traces_rules(self) -> bool:
        """Whether the kernel is made to trace the rules of nf_tables."""
        return self.rules is Rules.TRACE or self.output_nf_path

    @property
    def chooses_owners(self) -> bool:
        """Whether packets are chosen by the process that their socket is of."""
        return bool(self.filter_pid or self.filter_comm)

    @property
    def knows_owners(self) -> bool:
        """Whether it is noted which process makes a socket."""
        return self.chooses_owners or self.output_owner

    @property
    def reads_entries(self) -> bool:
        """Whether conntrack's entries of packets are looked at."""
        return bool(self.output_conntrack or self.filter_ct_state or self.filter_ct_mark)

    @property
    def tells_invalid(self) -> bool:
        """Whether packets that conntrack found invalid are told from those that it has not had."""
        return self.output_conntrack or not {CtState.INVALID, CtState.NONE}.isdisjoint(
            self.filter_ct_state
        )

    @property
    def has_structures(self) -> bool:
        """Whether events have raw parts of an sk_buff."""
        return self.output_skb or self.output_skb_shared_info or self.output_skb_cb

    @property
    def watches_arp(self) -> bool:
        """Whether ARP requests without an answer are told: of drops, and where events come."""
        return self.drops and not self.top and is_arp(self.filter)

    @property
    def _asks_sk_buffs(self) -> str:
        """A filter that is set and asks what an sk_buff alone has; '' without one."""
        filters = {
            "filter_mark": self.filter_mark,
            "filter_ct_state": self.filter_ct_state,
            "filter_ct_mark": self.filter_ct_mark,
            "filter_cgroup": self.filter_cgroup,
            "filter_pid": self.filter_pid,
            "filter_comm": self.filter_comm,
            "filter_tunnel_l2": self.filter_tunnel_l2,
            "filter_tunnel_l3": self.filter_tunnel_l3,
        }
        return next((name for name, value in filters.items() if value), "")

    def _check_ranges(self) -> None:
        size = self.buffer_bytes
        if not 4096 <= size <= 1 << 31 or size & (size - 1):
            raise UsageError(
                f"buffer of {size} bytes is impossible: it must be a power of two "
                "from 4096 to 2147483648"
            )
        if self.engine is Engine.BCC and self.kernel_btf:
            raise UsageError(
                "types come from `kernel_btf` or from the kernel's headers: leave one of "
                "`kernel_btf` and `engine` out"
            )
        others = self.filter_func or self.backend not in (Backend.AUTO, Backend.TRACEPOINT)
        if self.drops and (others or self.with_tracepoints):
            raise UsageError(
                "one tracepoint of the kernel tells of `drops`: leave `filter_func`, "
                "`with_tracepoints` and `backend` out"
            )
        if self.journey and (others or self.with_tracepoints or self.drops):
            raise UsageError(
                "tracepoints of the kernel tell a `journey`: leave `filter_func`, "
                "`with_tracepoints`, `backend` and `drops` out"
            )
        if self.traces_programs and (self.drops or self.journey or self.filter_return):
            raise UsageError(
                "BPF programs are seen where they begin, which is no drop and no return: leave "
                "`filter_trace_tc` and `filter_trace_xdp` out, or `drops`, `journey` and "
                "`filter_return`"
            )
        if not self.filter_trace_xdp and (self.filter_xdp_expr or self.output_xdp_metadata):
            raise UsageError(
                "`filter_xdp_expr` and `output_xdp_metadata` are of frames at XDP: give "
                "`filter_trace_xdp` with them"
            )
        if self.filter_trace_xdp and self._asks_sk_buffs:
            raise UsageError(
                "at XDP there is no sk_buff, so no mark, no socket, no conntrack and no tunnel: "
                f"leave `filter_trace_xdp` or `{self._asks_sk_buffs}` out"
            )
        if self.top and (self.rules or self.output_nf_path):
            raise UsageError(
                "`top` counts, and tells no `rules` and no `output_nf_path`: leave it or them out"
            )
        if self.knows_stacks and (self.drops or self.journey or self.backend is Backend.TRACEPOINT):
            raise UsageError(
                "functions run within others, and tracepoints do not: leave "
                "`filter_non_skb_funcs`, `filter_track_bpf_helpers`, `output_bpfmap` and "
                "`filter_track_skb_by_stackid`, or `drops`, `journey` and `backend` out"
            )
        if self.filter_return:
            ReturnFilter.parse(self.filter_return)
        if self.sees_returns and (self.drops or self.journey):
            raise UsageError(
                "functions return, and tracepoints do not: leave `output_return`, `filter_return` "
                "and `output_bpfmap`, or `drops` and `journey` out"
            )
        if self.journey and (self.output_caller or self.output_tunnel or self.has_structures):
            raise UsageError(
                "a `journey` has lines of its own: leave `output_caller`, `output_tunnel`, "
                "`output_skb`, `output_skb_shared_info` and `output_skb_cb` out"
            )
        if self.top and not self.drops:
            raise UsageError("`top` counts drops: give `drops` with it")
        if self.flows and not self.top:
            raise UsageError("`flows` are counted with `top`: give both")
        if self.top and self.limit_events:
            raise UsageError("`top` counts, and no event comes: leave `limit_events` out")
        if self.output_conntrack and self.top:
            raise UsageError("`top` counts, and no event comes: leave `output_conntrack` out")
        if self.output_owner and (self.journey or self.top):
            raise UsageError(
                "`output_owner` is of events, which `journey` and `top` do not show: leave it out"
            )
        if not 0 <= self.filter_pid <= PID_MAX:
            raise UsageError(f"`filter_pid` is from 1 to {PID_MAX}, not {self.filter_pid}")
        if len(os.fsencode(self.filter_comm)) > COMM_MAX:
            kept = os.fsdecode(os.fsencode(self.filter_comm)[:COMM_MAX])
            raise UsageError(
                f"the kernel keeps {COMM_MAX} bytes of a process's name: give `filter_comm` "
                f"{quote(kept)}, as ps -o comm has it"
            )
        if self.output_skb_metadata and (self.journey or self.top):
            raise UsageError(
                "`output_skb_metadata` is of events, which `journey` and `top` do not show: "
                "leave it out"
            )
        if self.limit_events < 0:
            raise UsageError(f"a limit of {self.limit_events} events is impossible: 0 is no limit")
        try:
            matcher(self.filter_func)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"cannot read the pattern {quote(self.filter_func)}: {error}"
            ) from None
        for text in self.filter_non_skb_funcs:
            if text != INSIDE:
                plain_matcher(text)
        if not 1 <= self.track_entries <= 1 << 24:
            raise UsageError("the number of followed packets must be from 1 to 16777216")
