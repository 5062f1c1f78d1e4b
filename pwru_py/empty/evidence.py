# SPDX-License-Identifier: Apache-2.0
"""What is known when a session ends without an event. Values alone."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

from pwru_filters import Host

from ..facts.traffic import DeviceCount, Routed, Translated


@dataclass(frozen=True, slots=True)
class Ask:
    """What the session was to show.

    ``netns``: inode, 0 any; ``netns_name``: what people call it; ``ifname``: '' any. ``mark``,
    ``mask``: of the packet's mark, mask 0 any. ``group``, ``functions``, ``drops``, ``inner``,
    ``entry``: a control group or a process, a pattern of functions, drops alone, a tunnel's inner
    packet, or a state or mark of conntrack was asked for.
    """

    expression: str = ""
    hosts: tuple[Host, ...] = ()
    netns: int = 0
    netns_name: str = ""
    ifname: str = ""
    mark: int = 0
    mask: int = 0
    group: bool = False
    functions: bool = False
    drops: bool = False
    inner: bool = False
    entry: bool = False


class Place(NamedTuple):
    """A device in a namespace, by its name, and packets seen there. ``ifname`` '': at none."""

    netns: str
    ifname: str
    packets: int


class Dropped(NamedTuple):
    """Packets that were dropped at a place. ``why``: the kernel's reason, and the function."""

    netns: str
    ifname: str
    why: str
    packets: int


class Matched(NamedTuple):
    """Packets that another expression lets through."""

    kind: str
    expression: str
    packets: int


class Namespace(NamedTuple):
    """What one counted. ``asked``: it is the one that the session looks at, or its own.
    ``no_routes``: packets that had no route.
    """

    name: str
    asked: bool
    devices: tuple[DeviceCount, ...] = ()
    no_routes: int = 0
    routes: tuple[Routed, ...] = ()


@dataclass(frozen=True, slots=True)
class Sampled:
    """Packets of a sample, counted. ``missed``: records that were not read. ``unjudged``: packets
    whose beginning does not tell whether they match.

    ``here``: in the place that was asked for, whatever they are; ``matching``: those that match.
    ``elsewhere``, ``marks``: where, and with which marks, others match. ``dropped``: of all that
    match, wherever they are, those that were dropped. ``clauses``: each clause,
    and what the expression lets through up to its end; ``without``: what the others let through.
    ``variants``: expressions that match. ``inner``: packets with a matching one inside a tunnel.
    ``hosts``: where packets of the hosts named were. ``received``: at devices that have an XDP
    program, by namespace and device.
    """

    packets: int
    seconds: float
    missed: int = 0
    unjudged: int = 0
    here: int = 0
    matching: int = 0
    elsewhere: tuple[Place, ...] = ()
    marks: tuple[tuple[int, int], ...] = ()
    dropped: tuple[Dropped, ...] = ()
    clauses: tuple[tuple[str, int], ...] = ()
    without: tuple[Matched, ...] = ()
    variants: tuple[Matched, ...] = ()
    inner: int = 0
    translated: tuple[tuple[Translated, int], ...] = ()
    hosts: tuple[Place, ...] = ()
    received: tuple[Place, ...] = ()


@dataclass(frozen=True, slots=True)
class Evidence:
    """All of it. ``target``: what each thing traced is called. ``hits``: runs of the programs, None
    where nobody counts. ``tagged``: hits that match but for a VLAN tag. ``translated``: what NAT
    makes of the hosts named, as the kernel's connections tell.
    """

    ask: Ask
    target: str = "function"
    attached: int = 0
    failed: int = 0
    skipped: int = 0
    hits: int | None = None
    tagged: int = 0
    namespaces: tuple[Namespace, ...] = ()
    translated: tuple[Translated, ...] = ()
    sampled: Sampled | None = None
