# SPDX-License-Identifier: Apache-2.0
"""The values that a session yields: events, losses, the final account.

Tuples rather than dataclasses: they are made a hundred thousand times a second.
"""

from __future__ import annotations

import builtins
from dataclasses import dataclass, field
from enum import IntEnum, IntFlag
from typing import NamedTuple

from ..facts.conntrack import CtState
from ..facts.structures import Structure


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
    messages, which have none. ``mtu``: of an error for a packet that was too long, the MTU that it
    did not fit; None in others, and where the sender tells none.
    """

    type: int
    id: int | None = None
    seq: int | None = None
    mtu: int | None = None


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


class Placed(NamedTuple):
    """Where x_tables has a rule. ``family``: ``ip``, ``ip6``, ``arp``, of ebtables ``bridge``.
    ``offset``: bytes from the table's first rule, of ebtables from its first chain. ``replaced``:
    how many sets of rules had been replaced then, any tables'.
    """

    family: str
    offset: int
    replaced: int


class Verdict(NamedTuple):
    """What a table of netfilter, or in nf_tables one of its base chains, has said of a packet.

    ``family``: of nf_tables, as nft(8) calls it; '' of x_tables and ebtables. ``table``,
    ``chain``: names with control characters escaped, cut at 31 bytes; ``chain`` is '' of those.
    ``hook``: ``INPUT``. ``verdict``: ``ACCEPT``, ``DROP``, ``STOLEN``, ``QUEUE``. Of nf_tables, as
    it was then: ``table_handle``; ``rule``, the handle of the rule that said so, 0 where none is
    known; ``policy`` of the base chain, ``ACCEPT`` or ``DROP``. Of the others: ``placed``, the rule
    that said so, None where none is known; ``hot``: no rule did, a match of one dropped the packet.
    ``by_policy``: the chain's was seen to have decided. ``step`` is '' of the whole; on its way
    ``rule`` of one that matched, with the verdict ``CONTINUE`` where it has none or
    ``JUMP``, ``GOTO``, ``RETURN``, and ``policy``. ``net_cookie`` tells the namespace from one that
    had its inode number before; 0: not known. ``replaced``, of nf_tables: how many transactions
    had been, 0 where one was meanwhile. ``tool``: whose table it is, ``iptables``, ``ip6tables``,
    ``arptables``, ``ebtables``; '' of nf_tables.
    """

    family: str
    table: str
    chain: str
    hook: str
    verdict: str
    table_handle: int = 0
    rule: int = 0
    policy: str = ""
    placed: Placed | None = None
    hot: bool = False
    net_cookie: int = 0
    step: str = ""
    by_policy: bool = False
    replaced: int = 0
    tool: str = ""


class DroppedBy(NamedTuple):
    """What in netfilter dropped a packet: ``verdict``, and behind it a rule, or ``by_policy`` that
    of the chain.

    ``rule``: of nf_tables its handle, of x_tables its number in its chain, from 1; 0: not known.
    ``chain``: the one that has it, ``text``: as nft or iptables-save lists it, '' where nothing
    does. ``why``: in words what is not known; '' where all is certain.
    """

    verdict: Verdict
    rule: int = 0
    chain: str = ""
    text: str = ""
    by_policy: bool = False
    why: str = ""


class Step(NamedTuple):
    """A rule that a packet has met, or a chain's policy. ``chain``: that has the rule, ``text``: as
    nft or iptables-save lists it; both '' where nothing lists it, and of a policy. Of iptables
    ``verdict.rule`` is its number in its chain, and ``verdict.verdict`` what the rule says: the
    name of its target where that is none of the kernel's verdicts, '' where it is not known.
    """

    verdict: Verdict
    chain: str = ""
    text: str = ""


class Conntrack(NamedTuple):
    """What a packet is to conntrack, and its entry's members; those behind ``state`` are None, ''
    or () without an entry.

    ``state``: ``INVALID`` is certain: ``nf_conntrack_in()`` let this packet go without an entry, in
    this namespace; ``NONE``: it has no entry, and no more is known. ``reply``: it goes in the
    direction of the answer. ``status``: names of bits (``facts.conntrack``). ``mark``, ``zone``:
    None too where the kernel has none. ``tcp_state``: '' of other protocols. ``original``,
    ``answer``: the two directions' addresses. ``why``: with ``INVALID`` what the kernel would
    log, without the values in it; '' where it says nothing.
    """

    state: CtState
    reply: bool | None = None
    status: builtins.tuple[str, ...] = ()
    mark: int | None = None
    zone: int | None = None
    tcp_state: str = ""
    original: Tuple | None = None
    answer: Tuple | None = None
    why: str = ""


class Owner(NamedTuple):
    """A process, as the one that made a socket, or had it when the session began.

    ``pid``: of its thread group. ``comm``: its name then, at most 15 bytes, control characters
    escaped.
    """

    pid: int
    comm: str


class BpfProgram(NamedTuple):
    """A BPF program that packets are given to.

    ``kind``: ``tc`` (of types SCHED_CLS, SCHED_ACT), ``xdp``. ``id``: as bpftool(8) has it.
    ``name``: of its function, control characters escaped. ``addr``: of its entry, 0 not known.
    """

    kind: str
    id: int
    name: str
    addr: int

    @property
    def at_xdp(self) -> bool:
        """Whether what it is given is no sk_buff yet."""
        return self.kind == "xdp"


class Frame(NamedTuple):
    """One address of a kernel stack: ``symbol+offset [module]``; symbol '' when unknown."""

    addr: int
    symbol: str
    offset: int
    module: str


class SkbValue(NamedTuple):
    """A value of ``output_skb_metadata``, ``output_xdp_metadata``. ``expression``: as it was given.

    ``value``: numbers in host byte order; an address, a pointer (``0x…``), a string (control
    characters escaped), an enum's name as text; None where it could not be read.
    """

    expression: str
    value: int | str | bool | None


class Returned(NamedTuple):
    """What a function has returned, by the type that BTF gives it.

    ``value``: the number; of a pointer that is an error its errno, below 0; None of a structure and
    of nothing. ``text``: ``-EPERM``, ``NF_DROP``, ``NETDEV_TX_OK``, ``true``, ``NULL``,
    ``ERR_PTR(-ENOENT)``, another pointer or a number as it is; '' of nothing. ``duration_ns``: from
    its entry to its return, with what tracing took within.
    """

    value: int | None
    text: str
    duration_ns: int


class MapAccess(NamedTuple):
    """What a function works on that is given a BPF map.

    ``id``, ``name``: as bpftool has them, the name escaped. ``key_size``, ``value_size``: bytes.
    ``key``: its first 128 bytes; ``value``: the first 512 that it is to write or has found; None
    where it has none, or none yet.
    """

    id: int
    name: str
    key_size: int
    value_size: int
    key: bytes | None
    value: bytes | None


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
    tag, None without one; ``iif``: the index of the device that received it last (skb->skb_iif), 0:
    none has. ``dropped_by``: of a drop in a session with ``rules``, what in netfilter
    dropped it; None where netfilter did not, or it is not known. ``skb_metadata``: the values of
    ``output_skb_metadata``, in its order.

    What a session is asked for beside, else None, 0 or (): ``caller``: where the function returns
    to (one that was jumped to: where its caller does), of a tracepoint the caller of the function
    that it is in; None also where another tracer hides it. ``tunnel``: the packet within a
    tunnel's packet, where its headers are certain; ``tunnel_flags``: its TCP flags. ``cb``:
    skb->cb as numbers of 32 bits, host byte order. ``sk_buff``, ``shared_info``: struct sk_buff
    and struct skb_shared_info. ``conntrack``: what the packet is to conntrack; None where it has
    given its entry back already. ``owner``: whose socket the packet is sent by, or comes to; None
    where that is not known. ``frame``: with ``output_frame`` the beginning of the packet's
    Ethernet frame, of what follows the link header 192 bytes at most; link addresses are zeros;
    empty where the kernel has no header yet. ``nf_path``: with ``output_nf_path`` the one step of
    an event of ``nft_do_chain`` or ``ipt_do_table``, or with ``drops`` all that came before the
    drop.

    ``program``: of a BPF program that begins, with ``filter_trace_tc`` or ``filter_trace_xdp``;
    ``func`` is its name then, ``module`` is ``bpf``. None of every other event. At XDP there is no
    sk_buff yet: ``skb`` is where the frame's buffer begins (``data_hard_start``), ``packet`` is 0,
    ``mark`` is 0, ``len`` counts from the link header, and what is an sk_buff's is None.
    ``xdp_metadata``: the values of ``output_xdp_metadata``, in its order; None of what is not
    at XDP.

    In a session with ``output_return`` or ``filter_return``: ``depth``: how many traced functions
    of the thread are under way, this one not counted. ``returned``: of a function that has just
    returned, what; None of every other event. The packet may be freed by then: what such an event
    says of it is as it was at the function's entry.

    ``inside``: the function takes no sk_buff; it runs within one that does, whose packet this is,
    as it was when it was last seen. ``bpf_map``: with ``output_bpfmap``, of a function that is
    given a BPF map; where it returns, with the value that it has found. None of every other event.
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
    dropped_by: DroppedBy | None = None
    skb_metadata: builtins.tuple[SkbValue, ...] = ()
    caller: Frame | None = None
    tunnel: Tuple | None = None
    tunnel_flags: int = 0
    cb: builtins.tuple[int, ...] = ()
    sk_buff: Structure | None = None
    shared_info: Structure | None = None
    conntrack: Conntrack | None = None
    owner: Owner | None = None
    frame: bytes = b""
    nf_path: builtins.tuple[Step, ...] = ()
    depth: int = 0
    returned: Returned | None = None
    inside: bool = False
    program: BpfProgram | None = None
    xdp_metadata: builtins.tuple[SkbValue, ...] = ()
    bpf_map: MapAccess | None = None
    iif: int = 0


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
    it (of a session with a pcap filter alone). ``unbelieved``: hits that are not shown, as what the
    function got can be no sk_buff; where types come from headers. ``silent``: of a session with
    ``drops``, counters of its namespace that tell of losses which are no drops, whatever the
    filter: name to how much they
    rose. ``unreturned``: functions that were entered and not seen to return, as they are under way
    or the kernel skipped the probe; None where returns are not traced. ``attached``, ``failed``:
    functions.
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
    unbelieved: int = 0
    silent: dict[str, int] = field(default_factory=dict)
    unreturned: int | None = None
    losses: Losses = Losses()
    attached: int = 0
    failed: int = 0
