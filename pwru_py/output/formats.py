# SPDX-License-Identifier: Apache-2.0
"""An event's values as text, one function for each; and how wide text is on a terminal."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable

from ..facts.tables import told_tool
from ..record.event import Context, Event, Frame, SkbValue, TcpFlag, Tuple, Verdict
from .protocols import TCP, arp_name, icmp_text, protocol_name

Format = Callable[[Event], str]


def cell_width(text: str) -> int:
    """Terminal cells of a text that ``escape`` has been through."""
    if text.isascii():
        return len(text)
    return sum(
        0 if unicodedata.combining(c) else 1 + (unicodedata.east_asian_width(c) in "WF")
        for c in text
    )


def pad(text: str, width: int) -> str:
    """``text`` filled with spaces to ``width`` cells; never cut."""
    return text + " " * (width - cell_width(text))


def format_process(event: Event) -> str:
    """``comm:pid``; in parentheses when an interrupt runs on top of that process."""
    if event.context in (Context.SOFTIRQ, Context.HARDIRQ):
        return f"({event.comm}:{event.pid})"
    return f"{event.comm}:{event.pid}"


def format_owner(event: Event) -> str:
    """``comm:pid`` of the process that the packet's socket is of, ``-`` where it is not known."""
    return f"{event.owner.comm}:{event.owner.pid}" if event.owner is not None else "-"


def format_packet(event: Event) -> str:
    """``7``; ``9<7`` for a packet that was made of packet 7; ``-`` at XDP, where it is none yet."""
    if not event.packet:
        return "-"
    return f"{event.packet}<{event.parent}" if event.parent else str(event.packet)


def format_iface(event: Event) -> str:
    """``name:ifindex``, ``0`` without a device."""
    return f"{event.ifname}:{event.ifindex}" if event.ifname else str(event.ifindex)


def format_metadata(event: Event, of: str, number: int) -> str:
    """A value of a field expression, ``-`` where it could not be read. ``of``: which values."""
    values: tuple[SkbValue, ...] = getattr(event, of)
    value = values[number].value
    if isinstance(value, bool):
        return str(value).lower()
    return "-" if value is None else str(value)


def flag_names(tcp_flags: int) -> str:
    """``SYN,ACK``: the names of the set bits, lowest bit first."""
    return ",".join(str(flag.name) for flag in TcpFlag if tcp_flags & flag)


def format_tuple(packet: Tuple | None, tcp_flags: int = 0) -> str:
    """``10.0.0.2:45146->1.1.1.1:80(tcp)``, '' without addresses.

    Without ports: ``10.0.0.2->1.1.1.1(icmp echo id 7 seq 1)``, ``10.0.0.2->1.1.1.1(udp fragment)``,
    ``10.0.0.1->10.0.0.2(arp request)``.
    Without addresses: ``mpls 100``.
    """
    if packet is None:
        return ""
    if packet.label:
        return packet.label
    proto = protocol_name(packet.proto)
    if not packet.has_ports:
        if packet.icmp is not None:
            proto += " " + icmp_text(packet.proto, packet.icmp)
        elif packet.fragment:
            proto += " fragment"
        elif packet.arp:
            proto += f" {arp_name(packet.arp)}"
        return f"{packet.saddr}->{packet.daddr}({proto})"
    if tcp_flags and packet.proto == TCP:
        proto += ":" + flag_names(tcp_flags)
    if ":" in packet.saddr:
        return f"[{packet.saddr}]:{packet.sport}->[{packet.daddr}]:{packet.dport}({proto})"
    return f"{packet.saddr}:{packet.sport}->{packet.daddr}:{packet.dport}({proto})"


def format_end(packet: Tuple, side: str) -> str:
    """``10.0.0.2:45146``, the ``source`` or the ``target``; the address alone without ports."""
    address = packet.saddr if side == "source" else packet.daddr
    port = packet.sport if side == "source" else packet.dport
    if not packet.has_ports:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def format_reason(event: Event) -> str:
    """The reason by name, by number when it has none, '' when the function carries none."""
    return "" if event.reason < 0 else event.reason_name or f"reason {event.reason}"


def format_func(event: Event) -> str:
    """The function and, two spaces after it, the reason it was given, and who freed the packet.

    A BPF program: ``ingress_main (tc 12)``.
    """
    if event.program is not None:
        return f"{event.func} ({event.program.kind} {event.program.id})"
    verdict = format_verdict(event)
    return f"{event.func}  {verdict}" if verdict else event.func


def format_call(event: Event) -> str:
    """The same, a space further right for each function that it lies in; where it returns

    ``← ip_rcv = 0  12.3 µs``.
    """
    indent, returned = " " * event.depth, event.returned
    if returned is None:
        return indent + format_func(event)
    value = f" = {returned.text}" if returned.text else ""
    return f"{indent}← {event.func}{value}  {format_duration(returned.duration_ns)}"


def format_duration(ns: int) -> str:
    """``870 ns``, ``12.3 µs``, ``4.5 ms``, ``1.2 s``."""
    if ns < 1000:
        return f"{ns} ns"
    for unit, size in (("µs", 1_000), ("ms", 1_000_000)):
        if ns < 1000 * size:
            return f"{ns / size:.1f} {unit}"
    return f"{ns / 1e9:.1f} s"


def format_verdict(event: Event) -> str:
    """``NETFILTER_DROP``; with a location ``NETFILTER_DROP at nf_hook_slow+0xab``."""
    reason = format_reason(event)
    if event.location is None:
        return reason
    return f"{reason} at {format_frame(event.location)}".lstrip()


def format_said(verdict: Verdict) -> str:
    """``filter.INPUT:DROP``, in tracepkt's form; of nf_tables ``inet filter/in.INPUT:DROP``, of
    arptables and ebtables ``ebtables filter.FORWARD:DROP``.
    """
    table = f"{told_tool(verdict.tool)} {verdict.table}".lstrip()
    if verdict.family:
        table = f"{verdict.family} {table}/{verdict.chain}"
    return f"{table}.{verdict.hook}:{verdict.verdict}"


def format_caller(event: Event) -> str:
    """As a frame; '' where it is not known."""
    return "" if event.caller is None else format_frame(event.caller)


def short_caller(event: Event) -> str:
    """The symbol alone, where there is one."""
    return event.caller.symbol if event.caller and event.caller.symbol else format_caller(event)


def format_frame(frame: Frame) -> str:
    """``symbol+0x1f [module]``, or the address alone."""
    if not frame.symbol:
        return f"0x{frame.addr:016x}"
    module = f" [{frame.module}]" if frame.module else ""
    return f"{frame.symbol}+0x{frame.offset:x}{module}"
