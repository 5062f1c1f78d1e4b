# SPDX-License-Identifier: Apache-2.0
"""The columns of text and table, as data: a key, widths, and a function Event → str."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from enum import IntEnum

from ..options.config import Timestamp
from ..record.event import Context, Event, Frame, TcpFlag, Tuple
from .protocols import TCP, icmp_text, protocol_name
from .stamp import ISO_CHARS, TIME_OF_DAY_CHARS, Stamp

Format = Callable[[Event], str]


@dataclass(frozen=True, slots=True)
class View:
    """What of an event is shown. ``meta``: the columns NETNS to LEN."""

    meta: bool = True
    tuple: bool = True
    tcp_flags: bool = False
    stack: bool = False
    timestamp: Timestamp = Timestamp.NONE


class Group(IntEnum):
    """Columns that change together, so that their text can be kept and used again."""

    TASK = 0
    TIME = 1
    PACKET = 2
    FUNC = 3


@dataclass(frozen=True, slots=True)
class Column:
    """One column. Widths are terminal cells.

    ``fields``: what ``format`` reads of an event; empty when the text never repeats.
    ``ideal``: the width in plain text. A table may go down to ``min``, with ``short`` in place
    of ``format`` where there is one; it leaves columns out from the lowest ``priority`` up.
    """

    key: str
    title: str
    min: int
    ideal: int
    priority: int
    format: Format
    fields: tuple[str, ...]
    group: Group
    short: Format | None = None


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


def format_iface(event: Event) -> str:
    """``name:ifindex``, ``0`` without a device."""
    return f"{event.ifname}:{event.ifindex}" if event.ifname else str(event.ifindex)


def flag_names(tcp_flags: int) -> str:
    """``SYN,ACK``: the names of the set bits, lowest bit first."""
    return ",".join(str(flag.name) for flag in TcpFlag if tcp_flags & flag)


def format_tuple(packet: Tuple | None, tcp_flags: int = 0) -> str:
    """``10.0.0.2:45146->1.1.1.1:80(tcp)``, '' without addresses.

    Without ports: ``10.0.0.2->1.1.1.1(icmp echo id 7 seq 1)``, ``10.0.0.2->1.1.1.1(udp fragment)``.
    """
    if packet is None:
        return ""
    proto = protocol_name(packet.proto)
    if not packet.has_ports:
        if packet.icmp is not None:
            proto += " " + icmp_text(packet.proto, packet.icmp)
        elif packet.fragment:
            proto += " fragment"
        return f"{packet.saddr}->{packet.daddr}({proto})"
    if tcp_flags and packet.proto == TCP:
        proto += ":" + flag_names(tcp_flags)
    if ":" in packet.saddr:
        return f"[{packet.saddr}]:{packet.sport}->[{packet.daddr}]:{packet.dport}({proto})"
    return f"{packet.saddr}:{packet.sport}->{packet.daddr}:{packet.dport}({proto})"


def format_reason(event: Event) -> str:
    """The reason by name, by number when it has none, '' when the function carries none."""
    return "" if event.reason < 0 else event.reason_name or f"reason {event.reason}"


def format_func(event: Event) -> str:
    """The function and, two spaces after it, the reason it was given."""
    reason = format_reason(event)
    return f"{event.func}  {reason}" if reason else event.func


def format_frame(frame: Frame) -> str:
    """``symbol+0x1f [module]``, or the address alone."""
    if not frame.symbol:
        return f"0x{frame.addr:016x}"
    module = f" [{frame.module}]" if frame.module else ""
    return f"{frame.symbol}+0x{frame.offset:x}{module}"


def columns(view: View, stamp: Stamp) -> list[Column]:
    """The columns of a view, in the order they are shown; FUNC is always the last."""
    task, packet = Group.TASK, Group.PACKET
    shown = [
        Column("skb", "SKB", 8, 18, 11, _skb, ("skb",), task, _skb_short),
        Column("cpu", "CPU", 3, 3, 4, lambda e: str(e.cpu), ("cpu",), task),
        Column("process", "PROCESS", 12, 16, 7, format_process, ("comm", "pid", "context"), task),
    ]
    if view.timestamp is not Timestamp.NONE:
        shown.append(_time_column(view.timestamp, stamp))
    if view.meta:
        shown += [
            Column("netns", "NETNS", 10, 10, 6, lambda e: str(e.netns), ("netns",), packet),
            Column("mark", "MARK", 4, 6, 3, _mark, ("mark",), packet),
            Column("iface", "IFACE", 8, 12, 8, format_iface, ("ifname", "ifindex"), packet),
            Column("proto", "PROTO", 6, 6, 2, _proto, ("proto",), packet),
            Column("mtu", "MTU", 5, 5, 1, lambda e: str(e.mtu), ("mtu",), packet),
            Column("len", "LEN", 5, 5, 5, lambda e: str(e.len), ("len",), packet),
        ]
    if view.tuple:
        shown.append(_tuple_column(view.tcp_flags))
    reads = ("func", "reason", "reason_name")
    shown.append(Column("func", "FUNC", 26, 36, 12, format_func, reads, Group.FUNC))
    return shown


def _time_column(mode: Timestamp, stamp: Stamp) -> Column:
    text, group = stamp.text, Group.TIME
    if mode is Timestamp.ABSOLUTE:
        ideal, short = ISO_CHARS, stamp.time_of_day
        return Column("time", "TIME", TIME_OF_DAY_CHARS, ideal, 9, text, (), group, short)
    width = 15 if mode is Timestamp.CURRENT else 10
    return Column("time", "TIME", width, width, 9, text, (), group)


def _tuple_column(flags: bool) -> Column:
    if flags:
        reads: tuple[str, ...] = ("tuple", "tcp_flags")
        return Column("tuple", "TUPLE", 31, 46, 10, _tuple_flags, reads, Group.PACKET)
    return Column(
        "tuple", "TUPLE", 31, 38, 10, lambda e: format_tuple(e.tuple), ("tuple",), Group.PACKET
    )


def _tuple_flags(event: Event) -> str:
    return format_tuple(event.tuple, event.tcp_flags)


def _skb(event: Event) -> str:
    return f"0x{event.skb:016x}"


def _skb_short(event: Event) -> str:
    return f"{event.skb & 0xFFFFFFFF:08x}"


def _mark(event: Event) -> str:
    return f"0x{event.mark:x}" if event.mark else "0"


def _proto(event: Event) -> str:
    return f"0x{event.proto:04x}"
