# SPDX-License-Identifier: Apache-2.0
"""Record bytes to Event. Pure: names come from the tables that are passed in.

Most records repeat what earlier ones held (the same process, interface, addresses), so each of
these is decoded once and looked up afterwards; the caches are bounded.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol, TypeVar

from ..escape import escape
from ..facts.roles import (
    DROP_FUNCTION,
    DROP_TRACEPOINT,
    NO_VERDICT,
    UNSAID,
    is_piece,
    is_read,
    is_sealed,
)
from ..facts.tables import family_name, hook_name, table_function, verdict_name, xt_family, xt_tool
from ..plan.functions import Target
from . import contract, layout
from .details import NO_DETAILS, NO_SHAPES, Details, Shapes, behind_tracepoint, from_entry
from .event import (
    BpfProgram,
    Context,
    Event,
    Frame,
    Icmp,
    MapAccess,
    Placed,
    SkbValue,
    Tuple,
    Verdict,
)

_CACHE_MAX = 16384


_SPECIAL = (
    contract.EVENT_LINK | contract.EVENT_DROP | contract.EVENT_TRACEPOINT | contract.EVENT_VERDICT
)
_VERDICT_VALUES = len(layout.TABLE_VERDICT.names)
_MAP_VALUES = len(layout.MAP_ACCESS.names)
_STEPS = {contract.STEP_POLICY: "policy", contract.STEP_END: "rule", contract.STEP_RULE: "rule"}
_DNS_PORT, _UDP = 53, 17
_NO_ADDRESSES = bytes(12)
_CONTEXTS = tuple(Context)
_BPF = "bpf"  # in place of a module, as in kallsyms
_LABELS = {contract.L3_MPLS: "mpls", contract.L3_PPPOE: "pppoe session"}
_K = TypeVar("_K")
_V = TypeVar("_V")


class _Cache(dict[_K, _V]):
    """``make(key)`` remembered; emptied when full."""

    def __init__(self, make: Callable[[_K], _V]) -> None:
        super().__init__()
        self._make = make

    def __missing__(self, key: _K) -> _V:
        if len(self) >= _CACHE_MAX:
            self.clear()
        value = self[key] = self._make(key)
        return value


def decode_tuple(raw: bytes) -> Tuple | None:
    """struct event_tuple, 40 bytes, to addresses and ids; None when there was no header."""
    saddr, daddr, sport, dport, l3, l4, ids, icmp_type = layout.TUPLE.unpack(raw)
    if l3 == contract.L3_IPV6:
        from socket import AF_INET6, inet_ntop

        source, target = inet_ntop(AF_INET6, saddr), inet_ntop(AF_INET6, daddr)
    elif l3 in (contract.L3_IPV4, contract.L3_ARP):
        source = "{}.{}.{}.{}".format(*saddr[:4])
        target = "{}.{}.{}.{}".format(*daddr[:4])
    elif l3 in _LABELS:
        number = int.from_bytes(saddr[:4], sys.byteorder)
        return Tuple("", "", 0, 0, -1, False, label=f"{_LABELS[l3]} {number}")
    else:
        return None
    if l3 == contract.L3_ARP:
        return Tuple(source, target, 0, 0, -1, False, arp=icmp_type)
    if ids == contract.IDS_PORTS:
        return Tuple(source, target, _swap(sport), _swap(dport), l4, True)
    icmp = None
    if ids == contract.IDS_ICMP_ECHO:
        icmp = Icmp(icmp_type, _swap(sport), _swap(dport))
    elif ids == contract.IDS_ICMP:
        icmp = Icmp(icmp_type, mtu=_swap(sport) << 16 | _swap(dport) or None)
    return Tuple(source, target, 0, 0, l4, False, icmp, ids == contract.IDS_FRAGMENT)


def _decode_verdict(values: tuple[Any, ...]) -> tuple[str, Verdict]:
    """The members of struct table_verdict to the function that told, and what."""
    (
        table_handle, rule, cookie, table, chain, verdict, nft, family, pf, hook, policy, hot,
        step, by_policy, replaced,
    ) = values  # fmt: skip
    names = escape(table), escape(chain), hook_name(pf, hook), verdict_name(verdict)
    if nft:
        said = Verdict(
            family_name(family), *names, table_handle, rule, verdict_name(policy),
            net_cookie=cookie, step=_STEPS.get(step, ""), by_policy=bool(by_policy),
            replaced=replaced,
        )  # fmt: skip
        if step == contract.STEP_POLICY:
            said = said._replace(verdict=said.policy)
    else:
        placed = rule and Placed(xt_family(pf), rule - 1, replaced)
        said = Verdict(
            "", *names, placed=placed or None, hot=bool(hot), net_cookie=cookie,
            step=_STEPS.get(step, ""), tool=xt_tool(pf),
        )  # fmt: skip
    return table_function(nft=bool(nft), pf=pf), said


def decode_head(packed: bytes) -> bytes:
    """struct packet_head to the beginning of an Ethernet frame; empty without a network header."""
    proto, caplen, tag_proto, tag_tci, head = layout.PACKET_HEAD.unpack(packed)
    if not caplen:
        return b""
    tag = struct.pack(">HH", tag_proto, tag_tci) if tag_proto else b""
    return _NO_ADDRESSES + tag + struct.pack(">H", proto) + bytes(head[:caplen])


def _swap(word_be: int) -> int:
    value: int = struct.unpack(">H", struct.pack("=H", word_be))[0]
    return value


class Metadata(Protocol):
    """Values of field expressions: ``expressions.compiled.CompiledValues``."""

    @property
    def texts(self) -> tuple[str, ...]:
        """The expressions."""

    def decode(self, section: bytes) -> tuple[int | str | bool | None, ...]:
        """Their values."""


def _fields(metadata: Metadata | None, section: bytes) -> tuple[SkbValue, ...]:
    assert metadata is not None
    return tuple(map(SkbValue, metadata.texts, metadata.decode(section)))


def _unread(metadata: Metadata | None) -> tuple[SkbValue, ...]:
    """The values where there is nothing to read."""
    return tuple(SkbValue(text, None) for text in metadata.texts) if metadata is not None else ()


class Packets(Protocol):
    """Which packet an event belongs to: ``packets.identity.Identity``."""

    def see(
        self,
        skb: int,
        func: str,
        netns: int,
        *,
        device: int,
        last: bool,
        local: bool | None = None,
        sealed: bool = False,
    ) -> tuple[int, int | None, int]:
        """(number, parent's number or None, namespace) of the packet."""

    def link(self, child: int, parent: int) -> None:
        """One sk_buff is made of another."""

    def release(self, skb: int) -> None:
        """What was at the address before is no more."""


class Calls(Protocol):
    """Entries and returns of functions: ``packets.calls.Calls``."""

    def enter(self, event: Event, sp: int, thread: int) -> Event:
        """The same with its depth."""

    def leave(
        self, sp: int, entered_ns: int, register: int, ts_ns: int, wall_ns: int, cpu: int
    ) -> Event | None:
        """The event of a return; None where its entry is not known."""


@dataclass(frozen=True, slots=True)
class Names:
    """What turns numbers of a record into names.

    ``by_addr``: probe address to target, for kernels whose probes carry no cookie. ``reason``: a
    drop reason. ``is_drop``: whether it says so. ``locate``: a return address. ``symbolize``:
    (address, innermost) of a stack, None without. ``netns``: a namespace, by its inode,
    None without.
    """

    by_addr: Callable[[int], Target | None]
    reason: Callable[[int], str]
    is_drop: Callable[[int], bool]
    locate: Callable[[int], Frame]
    symbolize: Callable[[int, bool], Frame] | None = None
    netns: Callable[[int], str] | None = None


@dataclass(frozen=True, slots=True)
class DropRules:
    """What tells that a packet is dropped.

    ``tracepoint``: the kernel's own does, and functions do not. ``has_reasons``: where it cannot be
    had, functions with a reason do, else ``kfree_skb()``. ``pieces``: functions that free the
    pieces of a packet that has arrived in the same way as a drop, without a reason.
    """

    tracepoint: bool
    has_reasons: bool
    pieces: frozenset[str] = frozenset()


_BARE = Event(
    0, 0, 0, "", Context.UNKNOWN, "", "", 0, 0, 0, 0, 0, 0, "", 0, 0, 0, None, 0, -1, "", ()
)


class Decoder:
    """Turns runs of records into events.

    ``skip``: bytes before each record, which is as ``record`` has it.
    ``inside``: there are events of functions without an sk_buff.
    ``metadata``: what reads SECTION_METADATA, ``xdp_metadata``: SECTION_XDP.
    ``calls``: None without SECTION_CALL. ``programs``: BPF programs by their numbers in records;
    more may come.
    ``wall_offset_ns`` is added to CLOCK_MONOTONIC to get the time since the epoch.
    """

    def __init__(
        self,
        targets: Sequence[Target],
        names: Names,
        rules: DropRules,
        packets: Packets,
        *,
        skip: int = 0,
        stride: int = layout.EVENT.size,
        record: layout.RecordLayout = layout.PLAIN_RECORD,
        metadata: Metadata | None = None,
        xdp_metadata: Metadata | None = None,
        shapes: Shapes = NO_SHAPES,
        calls: Calls | None = None,
        inside: bool = False,
        programs: Sequence[BpfProgram] = (),
    ) -> None:
        form = f"={skip}x{record.format[1:]}"
        padding = stride - struct.calcsize(form)
        self._record = struct.Struct(f"{form}{padding}x" if padding else form)
        self._table_at = record.value_at[contract.SECTION_TABLE]
        self._udp_at = record.value_at[contract.SECTION_UDP]
        self._arrival_at = record.value_at[contract.SECTION_ARRIVAL]
        self._metadata_at = record.value_at[contract.SECTION_METADATA]
        self._metadata: _Cache[bytes, tuple[SkbValue, ...]] = _Cache(partial(_fields, metadata))
        self._xdp_at = record.value_at[contract.SECTION_XDP]
        self._at_xdp: _Cache[bytes, tuple[SkbValue, ...]] = _Cache(partial(_fields, xdp_metadata))
        self._unread, self._none_at_xdp = _unread(metadata), _unread(xdp_metadata)
        self._call_at = record.value_at[contract.SECTION_CALL]
        self._calls = calls
        self._map_at = record.value_at[contract.SECTION_MAP]
        self._last: dict[int, Event] | None = {} if inside else None  # by sk_buff
        self._head_at = record.value_at[contract.SECTION_HEAD]
        self._targets = (("", ""), *((t.name, t.module) for t in targets))
        self._programs = programs
        self._verdicts = {t.name for t in targets if not NO_VERDICT.fullmatch(t.name)}
        self._given = names
        self._rules = rules
        self._packets = packets
        self._functions = _Cache(self._function)
        self._names: _Cache[bytes, str] = _Cache(escape)
        self._tuples: _Cache[bytes, Tuple | None] = _Cache(decode_tuple)
        self._said: _Cache[tuple[Any, ...], tuple[str, Verdict]] = _Cache(_decode_verdict)
        self._frames: _Cache[tuple[int, bool], Frame] = _Cache(self._frame)
        details = Details(record, shapes, self._symbolize, self._tuples.__getitem__)
        self._details = details.read if details.any else None
        self._caller = details.function_caller if details.callers else None
        self._drop_function = None if rules.has_reasons or rules.tracepoint else DROP_FUNCTION

    def _function(self, addr: int) -> tuple[str, str, int]:
        """Name, module and entry; a kprobe may lie behind it."""
        target = self._given.by_addr(addr)
        if target is None:
            return f"0x{addr:x}", "", addr
        return target.name, target.module, min(addr, target.addr)

    def _frame(self, key: tuple[int, bool]) -> Frame:
        assert self._given.symbolize is not None
        return self._given.symbolize(*key)

    def _symbolize(self, addr: int, innermost: bool) -> Frame:
        return self._frames[addr, innermost]

    def decode(self, run: bytes, wall_offset_ns: int) -> list[Event]:
        """The events of a run of whole records."""
        targets, functions, see = self._targets, self._functions, self._packets.see
        names, tuples, contexts = self._names, self._tuples, _CONTEXTS
        special, new, called = _SPECIAL, Event._make, self._given.netns
        first = contract.TARGET_FIRST
        read, details, calls = self._details, NO_DETAILS, self._calls
        last = self._last
        if last is not None and len(last) > _CACHE_MAX:
            last.clear()
        fields, none = self._unread, self._none_at_xdp
        events = []
        for (
            ts_ns, skb, addr, pid, index, netns, mark, ifindex, mtu, length, reason, proto, cpu,
            flags, context, tcp_flags, stack_len, comm, ifname, packed, *sections,
        ) in self._record.iter_unpack(run):  # fmt: skip
            if index & first:
                index -= first
                self._packets.release(skb)
            location = local = said = program = None
            addresses, sealed = tuples[packed], False
            if flags & special:
                if flags & contract.EVENT_LINK:
                    if flags & contract.EVENT_VERDICT:
                        events += self._returned(sections, ts_ns, ts_ns + wall_offset_ns, cpu)
                    elif flags & contract.EVENT_TRACEPOINT:
                        func, module, addr = self._target(index, addr)
                        event = self._around(skb)._replace(
                            cpu=cpu, pid=pid, comm=names[comm], context=contexts[context],
                            func=func, module=module, addr=addr,
                            ts_ns=ts_ns, wall_ns=ts_ns + wall_offset_ns,
                            stack=self._stack(sections[:stack_len], addr) if stack_len else (),
                        )  # fmt: skip
                        events.append(self._inside(event, sections))
                    else:
                        self._packets.link(skb, addr)
                    continue
                location = self._given.locate(addr) if addr else None
                if flags & contract.EVENT_VERDICT:
                    func, said = self._said[self._table_section(sections)]
                    module, reason, reason_name, drop = "", -1, "", False
                    local = flags & contract.EVENT_LOCAL != 0
                elif flags & contract.EVENT_PROGRAM == contract.EVENT_PROGRAM:
                    program = self._programs[index]
                    func, module, addr = program.name, _BPF, program.addr
                    reason, reason_name, drop = -1, "", False
                elif flags & contract.EVENT_DROP:
                    func, module = DROP_TRACEPOINT, ""
                    reason, reason_name, drop = self._dropped(flags, reason, location, length)
                else:
                    func, module = targets[index]
                    reason, reason_name, drop = -1, "", False
                    local = flags & contract.EVENT_LOCAL != 0
                    sealed = addresses is not None and is_sealed(addresses.proto, addresses.dport)
            else:
                if index:
                    func, module = targets[index]
                else:
                    func, module, addr = functions[addr]
                reason, reason_name, drop = self._verdict(flags, reason, func)
            at_xdp = none
            if program is not None and program.at_xdp:
                packet, parent, fields = 0, None, self._unread
                if self._xdp_at >= 0:
                    at_xdp = self._at_xdp[sections[self._xdp_at]]
            else:
                packet, parent, netns = see(
                    skb, "" if program is not None else func, netns, device=ifindex,
                    last=drop or func == DROP_TRACEPOINT, local=local, sealed=sealed,
                )  # fmt: skip
                if self._metadata_at >= 0:
                    fields = self._metadata[sections[self._metadata_at]]
            dns = self._dns(addresses, sections) if self._udp_at >= 0 else None
            vlan, iif = None, 0
            if self._arrival_at >= 0 and said is None:
                vlan, iif = self._arrival(sections)
            if read is not None:
                details = read(sections, flags, func, location, program)
            frame = decode_head(sections[self._head_at]) if self._head_at >= 0 else b""
            frames = self._stack(sections[:stack_len], addr) if stack_len else ()
            if frames and not addr:
                location = frames[0]
            events.append(
                new((
                    skb, cpu, pid, names[comm], contexts[context], func, module, addr, ts_ns,
                    ts_ns + wall_offset_ns, netns, mark, ifindex, names[ifname], proto, mtu,
                    length, addresses, tcp_flags, reason, reason_name, frames, drop,
                    location, packet, parent, said, dns,
                    called(netns) if called is not None else "", vlan, None, fields, *details,
                    frame, (), 0, None, False, program, at_xdp, None, iif,
                ))
            )  # fmt: skip
            if last is not None:
                last[skb] = events[-1]
            if calls is not None:
                sp, _entered_ns, _value, thread = self._call(sections)
                events[-1] = calls.enter(events[-1], sp, thread)
        return events

    def _target(self, index: int, addr: int) -> tuple[str, str, int]:
        return (*self._targets[index], addr) if index else self._functions[addr]

    def _around(self, skb: int) -> Event:
        """The packet as it was last seen; a bare event where that was lost."""
        known = self._last.get(skb) if self._last is not None else None
        if known is None:
            packet, parent, netns = self._packets.see(skb, "", 0, device=0, last=False)
            return _BARE._replace(skb=skb, packet=packet, parent=parent, netns=netns)
        return known._replace(
            reason=-1, reason_name="", drop=False, location=None, caller=None, cb=(),
            sk_buff=None, shared_info=None, frame=b"", depth=0, returned=None, program=None,
            bpf_map=None,
        )  # fmt: skip

    def _inside(self, event: Event, sections: Sequence[Any]) -> Event:
        """The rest of an event of a function without an sk_buff."""
        caller = self._caller(sections) if self._caller is not None else None
        event = event._replace(inside=True, caller=caller, depth=1)
        if self._map_at >= 0:
            event = event._replace(bpf_map=self._map(sections))
        if self._calls is None:
            return event
        sp, _entered_ns, _value, thread = self._call(sections)
        return self._calls.enter(event, sp, thread)

    def _returned(self, sections: Sequence[Any], ts_ns: int, wall_ns: int, cpu: int) -> list[Event]:
        """At most one."""
        if self._calls is None:
            return []
        sp, entered_ns, value, _thread = self._call(sections)
        event = self._calls.leave(sp, entered_ns, value, ts_ns, wall_ns, cpu)
        if event is None:
            return []
        if event.bpf_map is not None:
            event = event._replace(bpf_map=self._found(event.bpf_map, sections))
        return [event]

    def _call(self, sections: Sequence[Any]) -> Sequence[Any]:
        """Of struct call_section sp, entered_ns, value, thread."""
        return sections[self._call_at : self._call_at + 4]

    def _map(self, sections: Sequence[Any]) -> MapAccess | None:
        number, key_size, value_size, has_key, has_value, _unused, name, key, value = sections[
            self._map_at : self._map_at + _MAP_VALUES
        ]
        if not number:
            return None
        return MapAccess(
            number,
            self._names[name],
            key_size,
            value_size,
            key[:key_size] if has_key else None,
            value[:value_size] if has_value else None,
        )

    def _found(self, access: MapAccess, sections: Sequence[Any]) -> MapAccess:
        """With the value that a function has found."""
        has_value, value = sections[self._map_at + 4], sections[self._map_at + _MAP_VALUES - 1]
        return access._replace(value=value[: access.value_size]) if has_value else access

    def _table_section(self, sections: Sequence[Any]) -> tuple[Any, ...]:
        return tuple(sections[self._table_at : self._table_at + _VERDICT_VALUES])

    def _dns(self, addresses: Tuple | None, sections: Sequence[Any]) -> int | None:
        """The id of a DNS message (RFC 1035, section 4.1.1)."""
        if addresses is None or addresses.proto != _UDP:
            return None
        if _DNS_PORT not in (addresses.sport, addresses.dport):
            return None
        return int.from_bytes(sections[self._udp_at][:2], "big")

    def _arrival(self, sections: Sequence[Any]) -> tuple[int | None, int]:
        """(VLAN identifier, index of the device that received it last)."""
        tag, iif = sections[self._arrival_at : self._arrival_at + 2]
        return tag & contract.VLAN_ID if tag & contract.VLAN_TAGGED else None, iif

    def _verdict(self, flags: int, reason: int, func: str) -> tuple[int, str, bool]:
        """(reason, its name, whether it is a drop) of a function."""
        if not flags & contract.EVENT_REASON:
            drop = func == self._drop_function and not flags & contract.EVENT_SHARED
            return -1, "", drop
        name, telling = self._given.reason(reason), func in self._verdicts
        if name == UNSAID and not telling:  # it would look like a drop of every packet that arrived
            return -1, "", False
        # Only the last holder's free is a drop, as in trace_kfree_skb.
        drop = telling and not flags & contract.EVENT_SHARED and not self._rules.tracepoint
        return reason, name, drop and self._given.is_drop(reason)

    def _dropped(
        self, flags: int, reason: int, location: Frame | None, length: int
    ) -> tuple[int, str, bool]:
        """The same of the tracepoint."""
        reason = reason if flags & contract.EVENT_REASON else -1
        name = self._given.reason(reason) if reason >= 0 else ""
        freed_by = location.symbol if location is not None else ""
        none = is_piece(name, freed_by, self._rules.pieces) or is_read(freed_by, empty=not length)
        return reason, name, not none

    def _stack(self, addrs: Sequence[int], func: int) -> tuple[Frame, ...]:
        """The frames from the traced function on; a trampoline puts the programs before it.

        ``func`` 0: from the function on that a tracepoint is in.
        """
        frames = self._frames
        if not func:
            return behind_tracepoint(frames[addr, depth == 0] for depth, addr in enumerate(addrs))
        addrs = from_entry(addrs, func) or addrs
        return tuple(frames[addr, depth == 0] for depth, addr in enumerate(addrs))
