# SPDX-License-Identifier: Apache-2.0
"""The values that a session yields: events, losses, the final account.

Tuples rather than dataclasses: they are made a hundred thousand times a second.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import NamedTuple


class Context(IntEnum):
    """What the CPU was doing when the function ran (``preempt_count``, linux/preempt.h)."""

    TASK = 0
    SOFTIRQ = 1
    HARDIRQ = 2
    UNKNOWN = 3


class TcpFlag(IntFlag):
    """The flag byte of a TCP header, RFC 9293 section 3.1 and RFC 3168."""

    FIN = 0x01
    SYN = 0x02
    RST = 0x04
    PSH = 0x08
    ACK = 0x10
    URG = 0x20
    ECE = 0x40
    CWR = 0x80


class Icmp(NamedTuple):
    """What an ICMP or ICMPv6 message is.

    ``type``: the number in its header. ``id``/``seq``: identifier and sequence number of an echo
    (or timestamp, information, address mask) request or reply, host byte order; None in other
    messages, which have none.
    """

    type: int
    id: int | None = None
    seq: int | None = None


class Tuple(NamedTuple):
    """Addresses and ports as the packet carries them at this event.

    ``saddr``/``daddr``: text (RFC 5952 for IPv6). ``sport``/``dport``: host byte order, 0 when
    the protocol has none or the packet is a later fragment (``has_ports`` tells). ``proto``: the
    IP protocol number, after IPv6 extension headers; -1 for ARP. ``icmp``: None unless the packet
    is an ICMP message with its header. ``fragment``: a later fragment, one without that header.
    ``label``: ``mpls 100`` or ``pppoe session 7`` of a packet with no IP within; addresses are ''
    then and ``proto`` is -1. ``arp``: the operation of an ARP packet, 1 a request, 2 a reply; 0 of
    others.
    """

    saddr: str
    daddr: str
    sport: int
    dport: int
    proto: int
    has_ports: bool
    icmp: Icmp | None = None
    fragment: bool = False
    label: str = ""
    arp: int = 0


class Verdict(NamedTuple):
    """What a table of netfilter, or in nf_tables one of its base chains, has said of a packet.

    ``family``: of nf_tables, as nft(8) calls it; '' of iptables, ip6tables, arptables. ``table``,
    ``chain``: names with control characters escaped, cut at 31 bytes; ``chain`` is '' of those.
    ``hook``: ``INPUT``. ``verdict``: ``ACCEPT``, ``DROP``, ``STOLEN``, ``QUEUE``. Of nf_tables, as
    it was then: ``table_handle``; ``rule``, the handle of the rule that said so, 0 where none is
    known; ``policy`` of the base chain, ``ACCEPT`` or ``DROP``.
    """

    family: str
    table: str
    chain: str
    hook: str
    verdict: str
    table_handle: int = 0
    rule: int = 0
    policy: str = ""


class Frame(NamedTuple):
    """One address of a kernel stack: ``symbol+offset [module]``; symbol '' when unknown."""

    addr: int
    symbol: str
    offset: int
    module: str


class Event(NamedTuple):
    """One packet in one function.

    ``skb``: the address of the sk_buff. ``ts_ns``: CLOCK_MONOTONIC, nanoseconds. ``wall_ns``:
    the same moment in nanoseconds since the epoch. ``netns``: inode number, 0 when neither
    skb->dev nor skb->sk knew. ``ifname``: '' when skb->dev is unset. ``proto``: skb->protocol,
    host byte order, 0 before the kernel sets it. ``mtu``/``len``: bytes. ``reason``: the drop
    reason that the function was given, -1 when it carries none; ``reason_name`` '' then.
    ``pid``: the process (thread group) id. ``comm`` and ``ifname`` have control characters
    escaped already. ``tuple`` is None when no IP header was found or tuples are off. ``drop``:
    the kernel's tracepoint skb:kfree_skb says that the packet is dropped (where it cannot be had,
    a function with a reason that means so). ``location``: who freed it then, None elsewhere; with
    the tracepoint ``func`` is ``skb:kfree_skb`` and ``addr`` the location's. ``packet``: its
    number, see ``packets.identity``; ``parent``: that of the packet it was made of, None where that
    is not known. ``verdict``: in a session with ``journey``, of a table that has just been left, or
    that drops the packet; ``func`` is the function that runs it then, and None elsewhere. ``dns``:
    in such a session the id of a DNS message (UDP port 53). ``netns_name``: what people call the
    namespace, in a session with ``output_netns_names``: ``host``, a name of ``ip netns``, a process
    inside; else ''. ``vlan``: in a session with ``journey`` the identifier of its outermost VLAN
    tag, None without one.
    """

    skb: int
    cpu: int
    pid: int
    comm: str
    context: Context
    func: str
    module: str
    addr: int
    ts_ns: int
    wall_ns: int
    netns: int
    mark: int
    ifindex: int
    ifname: str
    proto: int
    mtu: int
    len: int
    tuple: Tuple | None
    tcp_flags: int
    reason: int
    reason_name: str
    stack: builtins.tuple[Frame, ...]
    drop: bool = False
    location: Frame | None = None
    packet: int = 0
    parent: int | None = None
    verdict: Verdict | None = None
    dns: int | None = None
    netns_name: str = ""
    vlan: int | None = None


@dataclass(frozen=True, slots=True)
class Losses:
    """What was not shown, counted in the kernel since the start of the session.

    ``buffer_full``: events that matched but found the ring or queue full. ``track_full``:
    packets that could not be followed. ``recursion``: probe hits that are known to have been
    skipped because a probe already ran on that CPU (they may or may not have matched); None where
    nothing is known. ``recursion_whole``: there were no others; False where the kernel does not
    count all of them, or has not told yet.
    """

    buffer_full: int = 0
    track_full: int = 0
    recursion: int | None = None
    recursion_whole: bool = True

    @property
    def events(self) -> int:
        """Matched events that are known to be lost."""
        return self.buffer_full


class Flow(NamedTuple):
    """Drops of one flow. ``tuple``: None for packets without addresses."""

    tuple: Tuple | None
    packets: int


class Dropped(NamedTuple):
    """Drops of one kind. ``reason``: '' where the kernel has none. ``location``: who freed them.

    ``netns``, ``ifname``: where they were, as in an Event, in a session with ``top``. ``flows``: of
    16 384 flows in all, the last that had drops; the others have given way.
    """

    reason: str
    location: Frame
    packets: int
    netns: int = 0
    ifname: str = ""
    flows: tuple[Flow, ...] = ()


class FlowRow(NamedTuple):
    """Drops of one flow. ``rate``: packets a second since the last report."""

    tuple: Tuple | None
    packets: int
    rate: float


class DropRow(NamedTuple):
    """Drops of one reason, by one function, at one interface of one namespace.

    ``packets``: in all; ``share``: of all drops, 0 to 1. ``rate``: packets a second since the last
    report. ``last_ns``: when the last report was that had more of them, nanoseconds since the
    epoch, 0 never. ``flows``: the most frequent first, those that are known.
    """

    reason: str
    function: str
    netns: int
    ifname: str
    packets: int
    rate: float
    share: float
    last_ns: int
    flows: tuple[FlowRow, ...] = ()


@dataclass(slots=True)
class Summary:
    """The account of a whole session, kept up while it runs.

    ``packets``: an skb address from its first event to its end counts once; see ``Account``.
    ``packets_limited``: the number is rough, as the functions that free packets are not traced,
    some were freed where no tracepoint is, or too many packets were under way at once. ``drops``:
    reason name to packets; ``drop_places``: the same by reason and function, ``TTL at ip_forward``;
    ``drops_limited``: there may be more, as the kernel skipped hits. ``replies``: drops that are
    echo replies without a ping socket, of which raw sockets have had their copies; ``closings``:
    drops that may be the last packets of TCP connections, which TIME-WAIT takes in. ``pieces``:
    sk_buffs that were freed in a list and may be drops, or fragments of packets that arrived: this
    kernel does not tell. ``tagged``: hits that matched but for a VLAN tag, which moves all behind
    it (of a session with a pcap filter alone). ``silent``: of a session with ``drops``, counters of
    its namespace that tell of losses which are no drops, whatever the filter: name to how much they
    rose. ``attached``, ``failed``: functions.
    """

    events: int = 0
    packets: int = 0
    packets_limited: bool = False
    drops: dict[str, int] = field(default_factory=dict)
    drops_limited: bool = False
    drop_places: dict[str, int] = field(default_factory=dict)
    pieces: int = 0
    replies: int = 0
    closings: int = 0
    tagged: int = 0
    silent: dict[str, int] = field(default_factory=dict)
    losses: Losses = Losses()
    attached: int = 0
    failed: int = 0
