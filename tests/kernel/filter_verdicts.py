# SPDX-License-Identifier: Apache-2.0
"""The judge: which packets the tracer should have shown, by what tcpdump saw of them.

A packet in the tracer's events and a frame on a socket are the same one when addresses, protocol,
ports, TCP flags and length are (``identity``), or the mark for raw frames.
"""

from __future__ import annotations

import socket
from collections import Counter, defaultdict
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tests.kernel.inside.capture import ARPHRD_ETHER, ARPHRD_LOOPBACK, Frame
from tests.unit.filters.oracles import libpcap_program

ETHERNET_HEADER = 14
TRANSMIT = "dev_hard_start_xmit"
# Where skb->data is the frame's first byte: skb->len counts the link header, too.
# Where no link header exists yet: its addresses count as zeros.
BEFORE_LINK = ("arp_xmit", "ip_local_out", "ip_output", "ip_finish_output2", "ip6_local_out",
               "ip6_finish_output2")  # fmt: skip
RECEIVING = ("__netif_receive_skb", "ip_local_deliver", "ip6_input")
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
    def packet(self) -> str:
        """``identity`` of what is behind the link header and all tags."""
        at, proto = ETHERNET_HEADER, int.from_bytes(self.untagged[12:14], "big")
        while proto in (0x8100, 0x88A8):
            proto = int.from_bytes(self.untagged[at + 2 : at + 4], "big")
            at += 4
        return identity(self.untagged[at:], proto, self.behind_link)


def without_addresses(frame: bytes) -> bytes:
    """Before the kernel knows link addresses."""
    return bytes(12) + frame[12:]


@dataclass
class Judgement:
    """``wrong``: sentences. ``matches``, ``others``: packets that had to be shown, and not."""

    wrong: list[str] = field(default_factory=list)
    matches: int = 0
    others: int = 0

    def add(self, expression: str, seen: Seen, should: int, was: int, all_: int) -> None:
        self.matches += should
        self.others += all_ - should
        if should != was:
            self.wrong.append(f"{expression!r}: {seen}: shown {was} times, not {should}")


class Observation:
    """What ``inside.filters`` told."""

    def __init__(self, told: dict[str, Any]) -> None:
        self.functions: list[str] = told["functions"]
        self.wires = [Wire(Frame(*frame)) for frame in told["frames"]]
        self.passed: dict[str, list[int]] = told["passed"]
        self.shown = {e: _counter(rows) for e, rows in told["shown"].items()}
        self.early = {e: _counter(rows) for e, rows in told["early"].items()}
        self.everything = self.shown.pop("")
        self._verdicts: dict[str, Callable[[bytes], bool]] = {}

    def verdict(self, expression: str, frame: bytes) -> bool:
        """libpcap's."""
        if expression not in self._verdicts:
            program = libpcap_program(expression)
            self._verdicts[expression] = lambda f: bool(program.filter(f))
        return self._verdicts[expression](frame)

    def judge(
        self, frames: dict[Seen, bytes], leave_out: Sequence[str] = ()
    ) -> Judgement:
        """Compares for every expression; ``frames`` says what tcpdump would have captured."""
        found = Judgement()
        for expression, shown in self.shown.items():
            if expression in leave_out:
                continue
            for seen, frame in frames.items():
                times = self.everything[seen]
                should = times if self.verdict(expression, frame) else 0
                found.add(expression, seen, should, shown[seen], times)
        return found

    def on(self, port: str, outgoing: bool) -> dict[str, list[Wire]]:
        """Frames on an interface by ``packet``."""
        found = defaultdict(list)
        for wire in self.wires:
            if wire.frame.port == port and wire.frame.outgoing == outgoing:
                found[wire.packet].append(wire)
        return found

    def events(self, function: str, interface: str | None = None) -> Counter[Seen]:
        """All packets in a function, on an interface."""
        return Counter(
            {
                seen: times
                for seen, times in self.everything.items()
                if seen.function == function and interface in (None, seen.interface)
            }
        )


def _counter(rows: list[list[Any]]) -> Counter[Seen]:
    return Counter({Seen(*row[:4]): row[4] for row in rows})
