# SPDX-License-Identifier: Apache-2.0
"""What one session is asked to do: plain values, checked, no I/O."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, fields
from enum import StrEnum

from ..errors import UsageError
from ..escape import quote


class Backend(StrEnum):
    """How the shared programs are attached. ``AUTO`` asks the kernel."""

    AUTO = "auto"
    KPROBE = "kprobe"
    KPROBE_MULTI = "kprobe-multi"
    FENTRY_MULTI = "fentry-multi"
    TRACEPOINT = "tracepoint"


class Transport(StrEnum):
    """How records leave the kernel. ``AUTO``: the ring buffer where the kernel has it."""

    AUTO = "auto"
    RING = "ring"
    QUEUE = "queue"


class Timestamp(StrEnum):
    """The TIME column: none, monotonic ns, ns since the skb's previous event, wall clock."""

    NONE = "none"
    CURRENT = "current"
    RELATIVE = "relative"
    ABSOLUTE = "absolute"


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


def _word(words: type[StrEnum]) -> Callable[[str, object], StrEnum]:
    def check(name: str, value: object) -> StrEnum:
        if value not in list(words):
            allowed = ", ".join(words)
            raise UsageError(f"`{name}` cannot be {quote(str(value))}: give one of {allowed}")
        return words(str(value))

    return check


# The type of a field to what makes its value, or refuses it.
_CHECKS: dict[str, Callable[[str, object], object]] = {
    "str": _text,
    "bool": _truth,
    "int": _number,
    "Mark | None": _mark,
    "tuple[str, ...]": _names,
    "Backend": _word(Backend),
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
    ``filter_func``: a regular expression for whole function names, empty for all.
    ``filter_netns``: ``/proc/PID/ns/net`` or another path, ``inode:N``, ``pid:N`` or a name
    known to ``ip netns``. ``filter_ifname``: looked up in that namespace, else the own one.
    ``filter_cgroup``: packets of sockets that were made in this control group of cgroup v2 or below
    it, and the answers to them: its directory, its path in /proc/PID/cgroup, or ``pid:N``.
    ``drops``: packets that are dropped and nothing else, as the kernel's tracepoint tells of them.
    ``journey``: only what tells a packet's way from device to device and its end, by the kernel's
    tracepoints, and packets are followed (``packets.journey.Journeys`` puts the events together).
    ``top``: drops are counted in the kernel (``Tracer.dropped``), and no event comes; ``flows``: by
    flow, too.
    ``with_tracepoints``: the kernel's tracepoints that have an sk_buff are traced beside functions.
    ``kmods``: modules whose functions are traced too; ``all_kmods``: every loaded one.
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
    filter_cgroup: str = ""
    filter_track_skb: bool = False
    drops: bool = False
    journey: bool = False
    top: bool = False
    flows: bool = False
    with_tracepoints: bool = False
    kmods: tuple[str, ...] = ()
    all_kmods: bool = False
    kernel_btf: str = ""
    backend: Backend = Backend.AUTO
    transport: Transport = Transport.AUTO
    output_tuple: bool = True
    output_stack: bool = False
    output_netns_names: bool = False
    limit_events: int = 0
    buffer_bytes: int = 16 << 20
    track_entries: int = 65536

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
    def watches_arp(self) -> bool:
        """Whether ARP requests without an answer are told: of drops, and where events come."""
        return self.drops and not self.top and is_arp(self.filter)

    def _check_ranges(self) -> None:
        size = self.buffer_bytes
        if not 4096 <= size <= 1 << 31 or size & (size - 1):
            raise UsageError(
                f"buffer of {size} bytes is impossible: it must be a power of two "
                "from 4096 to 2147483648"
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
        if self.top and not self.drops:
            raise UsageError("`top` counts drops: give `drops` with it")
        if self.flows and not self.top:
            raise UsageError("`flows` are counted with `top`: give both")
        if self.top and self.limit_events:
            raise UsageError("`top` counts, and no event comes: leave `limit_events` out")
        if self.limit_events < 0:
            raise UsageError(f"a limit of {self.limit_events} events is impossible: 0 is no limit")
        try:
            re.compile(self.filter_func)
        except (re.error, OverflowError, RecursionError) as error:
            raise UsageError(
                f"cannot read the pattern {quote(self.filter_func)}: {error}"
            ) from None
        if not 1 <= self.track_entries <= 1 << 24:
            raise UsageError("the number of followed packets must be from 1 to 16777216")
