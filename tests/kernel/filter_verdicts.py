# SPDX-License-Identifier: Apache-2.0
"""The judge: which packets the tracer should have shown, by what tcpdump saw of them.

A packet in the tracer's events and a frame on a socket are the same one when addresses, protocol,
ports, TCP flags and length are (``identity``), or the mark for raw frames.
"""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.kernel.inside.capture import ARPHRD_ETHER, ARPHRD_LOOPBACK, Frame
from tests.unit.filters.oracles import Program, libpcap_program

ETHERNET_HEADER = 14
RAW_PORTS = ("p0", "p1")
TRANSMIT = "dev_hard_start_xmit"
AT_LINK = (TRANSMIT, "arp_xmit")
"""Here skb->data is at the link header."""
BEFORE_LINK = ("arp_xmit", "ip_local_out", "ip_output", "ip_finish_output2", "ip6_local_out",
               "__ip_local_out", "ip6_finish_output2")  # fmt: skip
"""Here the kernel knows no link header: the addresses in it count as zeros."""
NOISE = ">ff02::"
"""The kernel's own IPv6 multicast (MLD, neighbours) comes when it likes, perhaps while only one of
the two listens."""
VLAN_TYPES = (0x8100, 0x88A8)
_EXTENSIONS, _FRAGMENT, _WITH_PORTS = (0, 43, 60), 44, (6, 17, 132)


class Seen(NamedTuple):
    """One kind of event: a packet in a function."""

    function: str
    interface: str
    mark: int
    packet: str


def identity(packet: bytes, proto: int, length: int) -> str:
    """As ``inside.watch.identity`` says it, from the bytes behind the link header and all tags."""
    if proto == 0x806:
        ends = (socket.inet_ntoa(packet[14:18]), socket.inet_ntoa(packet[24:28]))
        return f"{ends[0]}>{ends[1]} -1 0>0 0 {length}"
    if proto == 0x800:
        ends = (socket.inet_ntoa(packet[12:16]), socket.inet_ntoa(packet[16:20]))
        later = bool(int.from_bytes(packet[6:8], "big") & 0x1FFF)
        l4, at = packet[9], 4 * (packet[0] & 0xF)
    else:
        v6 = socket.AF_INET6
        ends = (socket.inet_ntop(v6, packet[8:24]), socket.inet_ntop(v6, packet[24:40]))
        l4, at, later = packet[6], 40, False
        while l4 in (*_EXTENSIONS, _FRAGMENT) and not later:
            later = l4 == _FRAGMENT and bool(int.from_bytes(packet[at + 2 : at + 4], "big") & ~7)
            size = 8 if l4 == _FRAGMENT else 8 * (packet[at + 1] + 1)
            l4, at = packet[at], at + size
    ports, flags = (0, 0), 0
    if l4 in _WITH_PORTS and not later:
        ports = (int.from_bytes(packet[at : at + 2], "big"),
                 int.from_bytes(packet[at + 2 : at + 4], "big"))  # fmt: skip
        flags = packet[at + 13] if l4 == 6 else 0
    return f"{ends[0]}>{ends[1]} {l4} {ports[0]}>{ports[1]} {flags} {length}"


class Wire:
    """A frame on a socket. ``whole``: as tcpdump would have it, the tag in its place."""

    def __init__(self, frame: Frame) -> None:
        self.frame = frame
        raw = bytes.fromhex(frame.raw)
        self.ethernet = frame.type in (ARPHRD_ETHER, ARPHRD_LOOPBACK)
        body = raw if self.ethernet else bytes(12) + frame.proto.to_bytes(2, "big") + raw
        length = frame.length if self.ethernet else frame.length + ETHERNET_HEADER
        self.behind_link = length - ETHERNET_HEADER
        self.tagged = bool(frame.tpid)
        tag = b"".join(n.to_bytes(2, "big") for n in (frame.tpid, frame.tci) if self.tagged)
        self.untagged = body + bytes(length - len(body))
        self.whole = self.untagged[:12] + tag + self.untagged[12:]

    @property
    def in_vlan(self) -> bool:
        """Whether a tag is in the frame."""
        return int.from_bytes(self.whole[12:14], "big") in VLAN_TYPES

    @property
    def packet(self) -> str:
        """``identity`` of what is behind the link header and all tags."""
        at, proto = ETHERNET_HEADER, int.from_bytes(self.untagged[12:14], "big")
        while proto in VLAN_TYPES:
            proto = int.from_bytes(self.untagged[at + 2 : at + 4], "big")
            at += 4
        return identity(self.untagged[at:], proto, self.behind_link)


@dataclass
class Judgement:
    """``wrong``: sentences. ``matches``, ``others``: packets that had to be shown, and not."""

    wrong: list[str] = field(default_factory=list)
    matches: int = 0
    others: int = 0

    def holds(self, matches: int, others: int) -> None:
        """No difference, and at least so many of each: nothing passes by being empty."""
        assert not self.wrong, f"{len(self.wrong)} differences:\n" + "\n".join(self.wrong[:20])
        assert self.matches >= matches, self
        assert self.others >= others, self


class Observation:
    """What ``inside.filters`` told; ``everything``: the events of a tracer without filter."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.functions: list[str] = told["functions"]
        self.wires = [Wire(Frame(*frame)) for frame in told["frames"]]
        self.passed: dict[str, list[int]] = told["passed"]
        self.shown = {e: _counter(rows) for e, rows in told["shown"].items()}
        self.early = {e: _counter(rows) for e, rows in told["early"].items()}
        self.apart = {e: _counter(rows) for e, rows in told["apart"].items()}
        self.by_headers = {e: _counter(rows) for e, rows in told["by_headers"].items()}
        self.everything = self.shown.pop("")
        self._programs: dict[str, Program] = {}
        self._ethernet = {wire.frame.port: wire.ethernet for wire in self.wires}
        self._by_packet: dict[str, list[Wire]] = defaultdict(list)
        for wire in self.wires:
            if wire.frame.port not in RAW_PORTS:
                self._by_packet[wire.packet].append(wire)

    def verdict(self, expression: str, frame: bytes) -> bool:
        """libpcap's."""
        if expression not in self._programs:
            self._programs[expression] = libpcap_program(expression)
        return bool(self._programs[expression].filter(frame))

    def on(self, port: str, *, outgoing: bool) -> list[Wire]:
        """The frames on an interface in one direction, in order."""
        return [
            w
            for w in self.wires
            if (w.frame.port, w.frame.outgoing) == (port, outgoing)
            and (port in RAW_PORTS or NOISE not in w.packet)
        ]

    def events(self, function: str, interface: str | None = None) -> Counter[Seen]:
        """All that the stacks' packets did in a function, on an interface."""
        return Counter(
            {
                seen: times
                for seen, times in self.everything.items()
                if seen.function == function
                and not seen.mark
                and NOISE not in seen.packet
                and interface in (None, seen.interface)
            }
        )

    def packet(self, seen: Seen) -> str:
        """``Wire.packet`` of it: where skb->data is at the link header, len counts that too."""
        if seen.function not in AT_LINK or not self._ethernet[seen.interface]:
            return seen.packet
        rest, _, length = seen.packet.rpartition(" ")
        return f"{rest} {int(length) - ETHERNET_HEADER}"

    def frames(self, seen: Seen) -> set[bytes]:
        """What tcpdump would have captured there; empty: no socket saw the packet."""
        wires = self._by_packet[self.packet(seen)]
        if seen.function in BEFORE_LINK:
            return {
                bytes(12) + wire.whole[12:]
                for wire in wires
                if wire.frame.outgoing and not wire.in_vlan
            }
        direction = (seen.interface, seen.function == TRANSMIT)
        return {w.whole for w in wires if (w.frame.port, w.frame.outgoing) == direction}

    def judge(self, places: Mapping[Seen, Collection[bytes]], leave_out: Collection[str] = ()) -> (
        Judgement
    ):  # fmt: skip
        """Compares the tracer for every expression with the frames that belong to its events."""
        found = Judgement()
        for expression, shown in self.shown.items():
            if expression in leave_out:
                continue
            for seen, frames in places.items():
                verdicts = {self.verdict(expression, frame) for frame in frames}
                assert len(verdicts) == 1, f"not one frame: {expression}: {seen}: {verdicts}"
                times = self.everything[seen]
                should = times * verdicts.pop()
                found.matches += should
                found.others += times - should
                if shown[seen] != should:
                    found.wrong.append(f"{expression}: {seen}: shown {shown[seen]}, not {should}")
        return found


def _counter(rows: list[list[Any]]) -> Counter[Seen]:
    return Counter({Seen(*row[:4]): row[4] for row in rows})
