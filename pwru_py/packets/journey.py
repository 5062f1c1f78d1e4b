# SPDX-License-Identifier: Apache-2.0
"""Events of tracepoints to journeys. Pure: time is that of the events, or given."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from ..facts.roles import (
    CONSUMED_TRACEPOINT,
    DROP_TRACEPOINT,
    ENTRIES,
    ERROR_TRACEPOINT,
    GRO_ENTRIES,
    LIST_FREES,
    QUEUED_TRACEPOINT,
    READ_TRACEPOINT,
    READERS,
    REASSEMBLY,
    RESET_TRACEPOINT,
    TAKE_LAST,
    TAKES,
    TCP_TRACEPOINT,
    TOO_LONG,
    UNREAD_FREES,
    UNSAID,
    XDP_COPIES,
    is_echo,
    taker,
    unwanted,
)
from ..record.dropped_by import is_droppers
from ..record.event import Context, Event, TcpFlag, Tuple, Verdict
from ..record.journey import Change, Changed, End, Ended, Hop, Journey, Judged, Made, Way
from .identity import LIVE_MAX
from .kin import ETHER_BYTES, Kin
from .live import Live, Taken

TIMEOUT_NS = 2_000_000_000
_QUESTIONS_MAX = 16384
_CROWDED = "too many packets were under way"
_NOT_TOLD = "it waits, is part of another packet, or was freed where nothing tells"
_ERROR = "an ICMP error is sent back"
_ASKED_AGAIN_NS = 500_000_000
_TCP, _ICMP, _ICMP6 = 6, 1, 58
_DNS = 53  # port
# Take packets in without a word: TCP acknowledgements of a handshake; UDP what is read, where it is
# freed by skb_attempt_defer_free() (since 6.17).
_SILENT = {_TCP: "TCP", 17: "a socket"}
_ECHO = {(_ICMP, 8), (_ICMP6, 128)}
_ECHO_REPLY = {(_ICMP, 0), (_ICMP6, 129)}
# Link header and VLAN tag, which a length has or not.
_LINK_BYTES = frozenset({0, 4, 8, 14, 18, 22})

_Key = tuple[object, ...]


class Devices(Protocol):
    """What devices lie on others: ``kernel.netns.NetnsNames``."""

    def above(self, netns: int, lower: int, ifindex: int) -> str:
        """The name of the device ``ifindex`` if it is known to be on top of ``lower`` there."""

    def called(self, netns: int, ifindex: int) -> str:
        """The name of the device ``ifindex`` there; '' unknown, as is every other answer."""


class _NoDevices:
    def above(self, _netns: int, _lower: int, _ifindex: int) -> str:
        return ""

    def called(self, _netns: int, _ifindex: int) -> str:
        return ""


class Journeys:
    """Puts events together. A journey is over with its end, ``timeout_ns`` after its last event, or
    when more than ``limit`` are under way: then the oldest.

    Drops that are the first sight of a packet are journeys, too; what is read or freed without a
    hop before is none, nor a raw socket's copy that it has not read.
    """

    def __init__(
        self,
        timeout_ns: int = TIMEOUT_NS,
        limit: int = LIVE_MAX,
        devices: Devices | None = None,
    ) -> None:
        self._timeout_ns = timeout_ns
        self._limit = limit
        self._devices = _NoDevices() if devices is None else devices
        self._live: dict[int, Live] = {}  # the longest silent first
        self._kin = Kin(self._live)
        self._questions: dict[_Key, Journey] = {}
        self._moved: dict[tuple[int, Tuple | None], int] = {}  # packets that XDP has copies of
        self._copied: dict[Tuple, int] = {}  # what a process may read a copy of: its packet
        self.crowded = 0
        """How many had to give way."""
        self.lossy = False
        """To be set once events were lost: nothing is concluded from silence then."""

    @property
    def under_way(self) -> int:
        """Journeys that are not over."""
        return len(self._live)

    def has_kin(self, family: int) -> bool:
        """Whether any packet of the family is under way."""
        return self._kin.has(family)

    def add(self, events: Iterable[Event]) -> Iterator[Journey]:
        """Those that are over with these events."""
        for event in events:
            found = self._live.pop(event.packet, None)
            if found is None:
                found = self._moved_on(event) or self._begin(event)
            if found is None:
                yield from self._read_copy(event)
                continue
            found.seen_ns = event.ts_ns
            end = self._step(found, event)
            self._kin.saw(event)
            if end is not None:
                self._kin.freed(event.cpu, found, end)
                yield self._over(found, end)
                continue
            self._live[event.packet] = found
            if len(self._live) > self._limit:
                self.crowded += 1
                yield self._silent(next(iter(self._live)), _CROWDED)

    def expired(self, now_ns: int) -> Iterator[Journey]:
        """Those of which nothing was seen for so long."""
        before = now_ns - self._timeout_ns
        while self._live:
            packet = next(iter(self._live))
            if self._live[packet].seen_ns > before:
                return
            yield self._silent(packet, "")

    def close(self) -> Iterator[Journey]:
        """All that are under way as the session ends."""
        while self._live:
            yield self._silent(next(iter(self._live)), "the session ended")

    def _moved_on(self, event: Event) -> Live | None:
        """The packet of which this one is the copy for XDP: on that CPU nothing comes between."""
        packet = self._moved.pop((event.cpu, event.tuple), 0) if self._moved else 0
        found = self._live.pop(packet, None)
        if found is not None:
            found.taken, found.moved, found.number = None, None, event.packet
        return found

    def _begin(self, event: Event) -> Live | None:
        seen = event.func == QUEUED_TRACEPOINT or event.func in ENTRIES or event.drop
        if not seen and (event.verdict is None or event.verdict.verdict == "STOLEN"):
            return None
        if _is_unread_copy(event):
            return None
        sent = event.func not in ENTRIES and event.context in (Context.TASK, Context.UNKNOWN)
        parent = self._kin.parent(event)
        journey = Journey(
            event.packet,
            parent.packet,
            event.ts_ns,
            event.wall_ns,
            event.tuple,
            event.tcp_flags,
            f"{event.comm}:{event.pid}" if sent else "",
            event.context is Context.TASK,
            End(Ended.UNSEEN, event.ts_ns, event.netns),
            made=parent.made,
            parent_sure=parent.sure,
            family=parent.family,
        )
        self._kin.begin(parent.family)
        live = Live(journey, event.len, event.dns)
        known = parent.known
        if parent.made is Made.COPY and known is not None and known.last is not None:
            live.copy_of = known.last, known.length
        self._tell_mtu(event)
        if event.tuple is not None:
            self._match(live, event.tuple)
        return live

    def _tell_mtu(self, event: Event) -> None:
        """The error for a packet that is too long is sent while the CPU has that one in hand."""
        packet, refused = event.tuple, self._kin.in_hand(event.cpu)
        if packet is None or packet.icmp is None or packet.icmp.mtu is None or refused is None:
            return
        if refused.last is not None and refused.last.saddr == packet.daddr:
            refused.told = f"{_ERROR}, for mtu {packet.icmp.mtu}"

    def _match(self, live: Live, packet: Tuple) -> None:
        """Of ``packet``, as it is seen now: what it answers, or asks for."""
        journey = live.journey
        asked = self._questions.pop(_answer(packet, journey.tcp_flags, live.dns), None)
        if asked is not None and not journey.answers:
            journey.answers, asked.answered_by = asked.packet, journey.packet
            if journey.process:  # else it came in
                asked.answered_in = journey.end.netns
            live.asked_ns = asked.begin_ns
        self._ask(packet, live)

    def _ask(self, packet: Tuple, live: Live) -> None:
        journey = live.journey
        key = _question(packet, journey.tcp_flags, live.dns)
        asked = self._questions.get(key)
        if asked is not None and asked.begin_ns > journey.begin_ns - _ASKED_AGAIN_NS:
            return  # a copy, as a bridge sends them to all its ports
        if key:
            self._questions[key] = journey
            if len(self._questions) > _QUESTIONS_MAX:
                self._questions.pop(next(iter(self._questions)))

    def _step(self, live: Live, event: Event) -> End | None:
        """What an event means for a packet; its end, if it is that."""
        func = event.func
        if event.iif and live.journey.hops:
            self._rise(live, event)
        if func == QUEUED_TRACEPOINT:
            self._hop(live, event, Way.OUT)
        elif func in ENTRIES:
            self._hop(live, event, Way.IN)
        elif event.verdict is not None:
            judged = Judged(event.ts_ns, event.netns, event.ifname, event.verdict)
            met = live.journey.steps if event.verdict.step else live.journey.judged
            met.append(judged)
        elif func == TCP_TRACEPOINT:
            live.taken = Taken(_end(event, Ended.TAKEN, by="TCP"), event.ts_ns)
        elif _is_read(event):
            return self._read(live, event)
        elif func == DROP_TRACEPOINT:
            return self._freed(live, event)
        elif func == CONSUMED_TRACEPOINT:
            end = _consumed(live, event)
            if event.location is not None and event.location.symbol in XDP_COPIES:
                live.moved = event.cpu, event.tuple
                self._moved[live.moved] = live.number
            elif end.by != REASSEMBLY:
                return end
            live.taken = Taken(end, event.ts_ns)  # what it is part of may be read yet, or goes on
        elif func == ERROR_TRACEPOINT:
            live.told = _ERROR
        elif func == RESET_TRACEPOINT:
            live.told = "a RST is sent back"
        return None

    def _rise(self, live: Live, event: Event) -> None:
        """A hop at a device that has received the packet where no tracepoint is.

        So do VLAN, macvlan and ipvlan devices, bonds and VRFs what the device below them has
        received, and what bpf_redirect_peer() gives. The kernel notes each in skb->skb_iif
        (__netif_receive_skb_core() in net/core/dev.c). That tc's mirred puts another there is why
        only a device counts where the packet still is, or that is known to lie on the last one; of
        a packet that a socket has taken in, the one in the socket's namespace.
        """
        hops, iif = live.journey.hops, event.iif
        ts_ns, netns, *_ = hops[-1]
        hop = None
        if event.ifindex == iif and event.func != QUEUED_TRACEPOINT:
            known = (netns, live.came) if live.came else (event.netns, live.iif)
            if known != (event.netns, iif):
                hop = Hop(ts_ns, event.netns, event.ifname, Way.IN, None, event.mtu, event.vlan)
        elif event.netns == netns and iif not in (live.came, live.iif):
            ifname = self._devices.above(netns, live.came, iif)
            hop = Hop(ts_ns, netns, ifname, Way.IN, vlan=event.vlan)
        elif event.netns != netns and event.func in TAKES:
            ifname = self._devices.called(event.netns, iif)
            hop = Hop(ts_ns, event.netns, ifname, Way.IN, vlan=event.vlan)
        if hop is not None and hop.ifname:
            hops.append(hop._replace(seen=False))
            live.came = live.iif = iif
        # A device that is not known has received it, and may be in another namespace.
        unnamed = hop is not None and not hop.ifname
        live.away = unnamed and event.netns == netns and not event.ifindex

    def _hop(self, live: Live, event: Event, way: Way) -> None:
        hops = live.journey.hops
        live.came, live.iif = event.ifindex if way is Way.IN else 0, event.iif
        live.away = False
        change = None
        if hops or live.copy_of is not None:  # as where a header does not fit, in a tunnel
            last, length = live.copy_of or (live.last, live.length)
            change = _change(last, event.tuple, event.len - length)
        live.copy_of = None
        if hops and change is None:
            before = hops[-1]
            if (before.netns, before.ifname, before.way) == (event.netns, event.ifname, way):
                return
        place = (event.ts_ns, event.netns, event.ifname, way)
        hops.append(Hop(*place, change, event.mtu, event.vlan, event.conntrack))
        live.joined = event.func in GRO_ENTRIES
        live.read = None
        live.length = event.len
        if event.tuple is not None:
            live.last = event.tuple
        if change is not None:
            self._match(live, change.after)

    @staticmethod
    def _read(live: Live, event: Event) -> End:
        since = live.taken.ts_ns if live.taken is not None else live.journey.begin_ns
        if live.taken is None and live.journey.hops:
            since = live.journey.hops[-1].ts_ns
        return _end(
            event, Ended.READ, by=f"{event.comm}:{event.pid}", waited_ns=event.ts_ns - since
        )

    def _read_copy(self, event: Event) -> Iterator[Journey]:
        """A raw socket has a copy of its own, with another number, and so has what fragments make.

        Where copies are followed its parent is known; else it is the packet with the same tuple.
        The copy may be read before its parent is freed. So has a packet socket, with the link
        header, which is no end of the packet.
        """
        if event.tuple is None or not _is_read(event):
            return
        parent = self._live.get(event.parent or self._copied.get(event.tuple, 0))
        if parent is None or (not parent.going and event.len == parent.length + ETHER_BYTES):
            return
        parent.read = self._read(parent, event)
        if parent.taken is not None:
            del self._live[parent.number]
            yield self._over(parent, parent.read)

    def _freed(self, live: Live, event: Event) -> End | None:
        by = event.location.symbol if event.location is not None else ""
        place = f"{by}+0x{event.location.offset:x}" if by and event.location is not None else by
        if not event.drop:  # read, or a piece of one that has arrived
            if by in LIST_FREES and live.going:
                note = "or it was a piece of what has left"
                return _end(event, Ended.DROPPED, by=place, sure=False, note=note)
            return _end(event, Ended.TAKEN, by=_taker(live, by) or by)
        if is_echo(event.reason_name, by) and event.tuple is not None:
            if live.read is not None:
                return live.read
            note = "" if event.reason_name else "or it was a bad message"
            end = _end(event, Ended.TAKEN, by="ICMP", sure=not note, note=note)
            live.taken = Taken(end, event.ts_ns)
            live.copied = event.tuple
            self._copied[event.tuple] = event.packet
            return None
        if by in TAKE_LAST and event.reason_name == UNSAID:
            note = "by its TIME-WAIT, or it was a bad segment"
            return _end(event, Ended.TAKEN, by="TCP", sure=False, note=note)
        target = event.tuple.daddr if event.tuple is not None else ""
        note = live.told or unwanted(event.reason_name, by, target)
        if event.reason_name == TOO_LONG:
            note = "; ".join(filter(None, (f"{event.len} bytes", note)))
        end = _end(event, Ended.DROPPED, by=place, reason=event.reason_name, note=note)
        return end._replace(verdict=_dropped_by(live.journey, by), conntrack=event.conntrack)

    def _silent(self, packet: int, why: str) -> Journey:
        """Nothing more comes of it."""
        live = self._live.pop(packet)
        if live.taken is not None:
            return self._over(live, live.taken.end)
        hops = live.journey.hops
        where = hops[-1] if hops else None
        end = End(Ended.UNSEEN, live.seen_ns, where.netns if where else 0, sure=False, note=why)
        if where is None:
            return self._over(live, end)
        if self.lossy:
            return self._over(live, end._replace(note=why or "events were lost"))
        by = _SILENT.get(live.last.proto) if live.last is not None else None
        if by and live.joined:
            by = f"GRO or {by}"
        if live.fragment:
            by = REASSEMBLY
        if where.way is Way.IN and by and why != _CROWDED:
            end = end._replace(how=Ended.TAKEN, by=by, note="no drop was told")
        elif where.way is Way.OUT and not why:
            end = end._replace(how=Ended.LEFT, by=where.ifname, note="the device told of no end")
        elif not why:
            end = end._replace(note=_NOT_TOLD)
        return self._over(live, end)

    def _over(self, live: Live, end: End) -> Journey:
        journey = live.journey
        self._kin.end(live.family)
        if live.copied is not None and self._copied.get(live.copied) == live.number:
            del self._copied[live.copied]
        if live.moved is not None and self._moved.get(live.moved) == live.number:
            del self._moved[live.moved]
        if end.how is Ended.TAKEN and journey.answered_by:  # nothing that is lost is answered
            if not end.sure and journey.answered_in:
                end, live.away = end._replace(netns=journey.answered_in), False
            end = end._replace(sure=True, note="")
        journey.end = end._replace(note=end.note or live.told)
        if live.asked_ns is not None:
            journey.round_trip_ns = end.ts_ns - live.asked_ns
        if live.away and end.how in (Ended.TAKEN, Ended.READ, Ended.DROPPED):
            journey.end = journey.end._replace(netns=0)
        elif not journey.end.netns and journey.hops:
            journey.end = journey.end._replace(netns=journey.hops[-1].netns)
        return journey


def _end(
    event: Event,
    how: Ended,
    by: str,
    *,
    reason: str = "",
    waited_ns: int | None = None,
    sure: bool = True,
    note: str = "",
) -> End:
    return End(how, event.ts_ns, event.netns, by, reason, waited_ns, sure, note)


def _dropped_by(journey: Journey, by: str) -> Verdict | None:
    """The verdict that has dropped it, if one has."""
    last = journey.judged[-1].verdict if journey.judged else None
    return last if last is not None and is_droppers(last, by) else None


def _is_unread_copy(event: Event) -> bool:
    """Of a raw socket; the packet itself has gone its own way."""
    by = event.location.symbol if event.location is not None else ""
    return by in UNREAD_FREES and event.tuple is not None and event.tuple.icmp is not None


def _is_read(event: Event) -> bool:
    """Whether a process reads the packet."""
    if event.func != CONSUMED_TRACEPOINT or event.location is None:
        return event.func == READ_TRACEPOINT
    return READERS.fullmatch(event.location.symbol) is not None


def _taker(live: Live, function: str) -> str:
    """Who has a packet that ``function`` frees; '' unknown."""
    return REASSEMBLY if live.fragment and function in LIST_FREES else taker(function)


def _consumed(live: Live, event: Event) -> End:
    """Freed, and no drop: whoever freed it has it, or it was sent."""
    by = event.location.symbol if event.location is not None else ""
    if taken := _taker(live, by):
        tcp = event.tuple is not None and event.tuple.proto == _TCP
        return _end(event, Ended.TAKEN, by="TCP" if tcp and taken == "a socket" else taken)
    if live.taken is not None:
        return live.taken.end
    if live.going and event.ifname in ("", live.journey.hops[-1].ifname):
        return _end(event, Ended.LEFT, by=live.journey.hops[-1].ifname)
    if by:
        return _end(event, Ended.TAKEN, by=by)
    note = "this kernel does not tell by whom"
    return _end(event, Ended.TAKEN, by="this host", note=note)


def _change(before: Tuple | None, after: Tuple | None, more: int) -> Change | None:
    """What of a packet's addresses is new. ``more``: by how many bytes it is longer.

    A translation leaves protocol and length; what is longer is in a tunnel.
    """
    if before is None or after is None or _addresses(before) == _addresses(after):
        return None
    if before.proto == after.proto and abs(more) in _LINK_BYTES:
        source = (before.saddr, before.sport) != (after.saddr, after.sport)
        target = (before.daddr, before.dport) != (after.daddr, after.dport)
        what = Changed.SOURCE if not target else Changed.BOTH if source else Changed.TARGET
    else:
        what = Changed.INTO if more > 0 else Changed.OUT_OF
    return Change(what, before, after)


def _addresses(packet: Tuple) -> tuple[str, str, int, int, int]:
    return packet.saddr, packet.daddr, packet.sport, packet.dport, packet.proto


def _question(packet: Tuple, tcp_flags: int, dns: int | None) -> _Key:
    """What an answer to it will have; () when it asks for none."""
    icmp = packet.icmp
    if icmp is not None and (packet.proto, icmp.type) in _ECHO:
        return packet.saddr, packet.daddr, icmp.id, icmp.seq
    if packet.proto == _TCP and tcp_flags & (TcpFlag.SYN | TcpFlag.ACK) == TcpFlag.SYN:
        return packet.saddr, packet.daddr, packet.sport, packet.dport, _TCP
    if dns is not None and packet.dport == _DNS:
        return packet.saddr, packet.daddr, packet.sport, dns
    if packet.arp == 1:
        return packet.saddr, packet.daddr
    return ()


def _answer(packet: Tuple, tcp_flags: int, dns: int | None) -> _Key:
    """The question that it answers, as ``_question`` has it."""
    icmp, both = packet.icmp, TcpFlag.SYN | TcpFlag.ACK
    if icmp is not None and (packet.proto, icmp.type) in _ECHO_REPLY:
        return packet.daddr, packet.saddr, icmp.id, icmp.seq
    if packet.proto == _TCP and tcp_flags & both == both:
        return packet.daddr, packet.saddr, packet.dport, packet.sport, _TCP
    if dns is not None and packet.sport == _DNS:
        return packet.daddr, packet.saddr, packet.dport, dns
    if packet.arp == 2:
        return packet.daddr, packet.saddr
    return ()
