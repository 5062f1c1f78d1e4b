# SPDX-License-Identifier: Apache-2.0
"""Sockets: nobody listens, a full buffer or queue, a wrong checksum. Pure."""

from __future__ import annotations

from typing import Any

from .case import (
    ANY,
    Answers,
    Diagnosis,
    Drop,
    Fact,
    Finding,
    Reading,
    Verdict,
    elsewhere,
    number,
    sockets,
    sysctl,
)

_TCP, _UDP = 6, 17
_NAMES = {_TCP: "TCP", _UDP: "UDP"}
_SYN, _ACK, _RST = 0x02, 0x10, 0x04
_EVERY = ("0.0.0.0", "::")


def at_port(drop: Drop) -> object:
    """Where a packet goes, and whether it begins a connection."""
    packet = drop.tuple
    if packet is None:
        return None
    return (packet.daddr, packet.dport, packet.proto, bool(drop.tcp_flags & _SYN))


def has_port(drop: Drop) -> bool:
    """Whether it is known to be a TCP or UDP packet with its ports."""
    return drop.tuple is not None and drop.tuple.has_ports and drop.tuple.proto in _NAMES


# Nobody listens


def _nobody_needs(drop: Drop) -> tuple[Reading, ...]:
    if not has_port(drop):
        return ()
    assert drop.tuple is not None
    where = drop.tuple.proto, drop.tuple.dport
    return (sockets(*where), elsewhere(*where))


def refuses(socket: dict[str, Any], drop: Drop) -> str:
    """Why a socket at the port does not take the packet; '' where it would."""
    assert drop.tuple is not None
    address = socket["addr"].removeprefix("::ffff:")
    if socket.get("v6only") and not drop.v6:
        return "it takes IPv6 alone"
    if address not in _EVERY and address != drop.tuple.daddr:
        return f"it is bound to {address}"
    if ":" not in socket["addr"] and drop.v6:
        return "it takes IPv4 alone"
    if socket.get("ifname") and drop.ifname and socket["ifname"] != drop.ifname:
        return f"it is bound to interface {socket['ifname']}"
    peer = socket.get("peer", "")
    if peer and peer != drop.tuple.saddr:
        return f"it is connected to {peer}"
    return ""


def _nobody(drop: Drop, answers: Answers) -> list[Finding]:
    if not has_port(drop):
        return _no_ports(drop)
    packet = drop.tuple
    assert packet is not None
    name, port = _NAMES[packet.proto], packet.dport
    counter = {_TCP: "Tcp.OutRsts", _UDP: "Udp6NoPorts" if drop.v6 else "Udp.NoPorts"}
    moved = answers.moved(counter[packet.proto])
    stray = packet.proto == _TCP and drop.tcp_flags and not drop.tcp_flags & _SYN
    found = answers.get(sockets(packet.proto, port))
    if found is None:
        return [Finding(Verdict.LIKELY, f"nobody listens at {name} port {port}", moved, _START)]
    if stray:
        proof = (Fact("listeners at the port", len(found)), *moved)
        what = f"a packet of a {name} connection that this host does not know, or no longer"
        change = "see whether the connection ended, its answers take another path, or NAT lost it"
        return [Finding(Verdict.LIKELY, what, proof, change)]
    refusals = [text for one in found if (text := refuses(one, drop))]
    if found and len(refusals) < len(found):
        what = f"a socket at {name} port {port} would take it now: it came up since"
        proof = (Fact("sockets at the port", len(found)), *moved)
        return [Finding(Verdict.LIKELY, what, proof, "nothing, if packets pass now")]
    others = answers.get(elsewhere(packet.proto, port)) or []
    if refusals:
        what = f"the socket at {name} port {port} does not take this packet: {refusals[0]}"
        proof = (Fact(f"{name} socket", f"{shown(found[0])}"), *moved)
        change = f"bind it to {packet.daddr} or to every address (whoever reaches it may use it)"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    what = f"nobody has {name} port {port} open in this namespace"
    proof = (Fact(f"sockets at {name} port {port}", 0), *moved)
    absent = Finding(Verdict.PROVEN, what, proof, _START)
    if others:
        listed = ", ".join(others[:3])
        absent = absent._replace(
            proof=(*proof, Fact("open in namespace", listed)),
            change=f"send it to {listed}, or {_START}",
        )
    return [absent]


_START = "start the service here, or correct the port"


def shown(socket: dict[str, Any]) -> str:
    """A socket's address, interface and port."""
    device = f"%{socket['ifname']}" if socket.get("ifname") else ""
    brackets = f"[{socket['addr']}]" if ":" in socket["addr"] else socket["addr"]
    return f"{brackets}{device}:{socket['port']}"


def _no_ports(drop: Drop) -> list[Finding]:
    if drop.function.startswith("ping_") or (drop.tuple is not None and drop.tuple.icmp):
        what = "an echo reply found no ping socket: raw sockets, as ping's, had their copies before"
        return [Finding(Verdict.LIKELY, what, (), "nothing, if ping counts the reply")]
    return []


# Buffers


def _buffer_needs(drop: Drop) -> tuple[Reading, ...]:
    ask = (sysctl("net/core/rmem_max"),)
    if not has_port(drop):
        return ask
    assert drop.tuple is not None
    return (sockets(drop.tuple.proto, drop.tuple.dport), *ask)


def _buffer(drop: Drop, answers: Answers) -> list[Finding]:
    if not has_port(drop):
        what = "a socket's receive buffer is full: its process reads too slowly"
        return [Finding(Verdict.LIKELY, what, (), "read faster, or set a larger SO_RCVBUF")]
    packet = drop.tuple
    assert packet is not None
    found = [s for s in answers.get(sockets(packet.proto, packet.dport)) or [] if "rcvbuf" in s]
    counter = {_TCP: "TcpExt.TCPBacklogDrop", _UDP: "Udp6RcvbufErrors" if drop.v6 else ""}
    moved = answers.moved(counter[packet.proto] or "Udp.RcvbufErrors")
    cap = number(answers, "net/core/rmem_max")
    change = "read faster, or set a larger SO_RCVBUF" + (
        f" (net.core.rmem_max caps it at {cap})" if cap else ""
    )
    fullest = max(found, key=lambda one: (one.get("drops", 0), one["rmem"]), default=None)
    if fullest is None:
        what = "the receive buffer of a socket was full; the socket is gone now"
        return [Finding(Verdict.LIKELY, what, moved, change)]
    proof = (
        Fact("receive buffer", fullest["rmem"], fullest["rcvbuf"]),
        Fact("drops of the socket", fullest.get("drops", 0)),
        *moved,
    )
    full = fullest["rmem"] * 2 >= fullest["rcvbuf"] or fullest.get("drops", 0) > 0
    who = f" of {fullest['process']}" if fullest.get("process") else ""
    what = f"the receive buffer of {shown(fullest)}{who} is full: its process reads too slowly"
    return [Finding(Verdict.PROVEN if full else Verdict.LIKELY, what, proof, change)]


DIAGNOSES = (
    Diagnosis(
        (
            ("NO_SOCKET", ANY),
            ("", "__udp4_lib_rcv"),
            ("", "__udp6_lib_rcv"),
        ),
        _nobody_needs,
        _nobody,
        "net/ipv4/udp.c: __udp4_lib_rcv(), net/ipv4/tcp_ipv4.c: tcp_v4_rcv()",
        at_port,
    ),
    Diagnosis(
        (("SOCKET_RCVBUFF", ANY), ("", "__udp_queue_rcv_skb"), ("", "udp_queue_rcv_one_skb")),
        _buffer_needs,
        _buffer,
        "net/ipv4/udp.c: __udp_enqueue_schedule_skb()",
        at_port,
    ),
)
