# SPDX-License-Identifier: Apache-2.0
"""TCP: full accept queues, what a connection refuses; checksums of all. Pure."""

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
    link,
    number,
    sockets,
    sysctl,
)
from .sockets import at_port, has_port, shown

_TCP = 6


def _listen_needs(drop: Drop) -> tuple[Reading, ...]:
    ask = (sysctl("net/core/somaxconn"),)
    if not has_port(drop):
        return ask
    assert drop.tuple is not None
    return (sockets(_TCP, drop.tuple.dport), *ask)


def _listen(drop: Drop, answers: Answers) -> list[Finding]:
    port = drop.tuple.dport if drop.tuple is not None else 0
    return judge_accept_queue(answers, answers.get(sockets(_TCP, port)) or [], told=True)


def judge_accept_queue(
    answers: Answers, listeners: list[dict[str, Any]], *, told: bool
) -> list[Finding]:
    """Of connections that found the queue of a listening socket full. ``listeners``: candidates."""
    moved = answers.moved("TcpExt.ListenOverflows")
    full = [one for one in listeners if one.get("queue", 0) > one.get("backlog", 1 << 31)]
    limit = number(answers, "net/core/somaxconn")
    change = "accept faster, or raise the backlog of listen(2)" + (
        f" (net.core.somaxconn caps it at {limit})" if limit is not None else ""
    )
    if full:
        one = full[0]
        who = f" of {one['process']}" if one.get("process") else ""
        proof = (Fact("accept queue", one["queue"], one["backlog"]), *moved)
        what = f"the accept queue of {shown(one)}{who} is full"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    what = "the accept queue of a listening socket was full; none is now"
    return [Finding(Verdict.PROVEN if told else Verdict.LIKELY, what, moved, change)]


_TCP_CAUSES = {
    "SOCKET_BACKLOG": (
        "TcpExt.TCPBacklogDrop",
        "packets came faster than the process let its socket take them in",
        "give the process CPU time, or a larger receive buffer (net.ipv4.tcp_rmem)",
    ),
    "TCP_ZEROWINDOW": (
        "TcpExt.TCPZeroWindowDrop",
        "the sender sent into a closed window: the process here reads too slowly",
        "read faster, or a larger receive buffer (net.ipv4.tcp_rmem)",
    ),
    "TCP_INVALID_END_SEQUENCE": (  # 6.17
        "TcpExt.BeyondWindow",
        "the packet reaches past the open window: the process here reads too slowly, or the sender "
        "ignores the window",
        "read faster, or a larger receive buffer (net.ipv4.tcp_rmem)",
    ),
    "TCP_OVERWINDOW": (
        "",
        "the packet begins past the open window: the process here reads too slowly, or the sender "
        "ignores the window",
        "read faster, or a larger receive buffer (net.ipv4.tcp_rmem)",
    ),
    "TCP_RFC7323_PAWS": (
        "TcpExt.PAWSEstab",
        "the packet's timestamp is older than the connection's",
        "if several hosts share one address by NAT, let it drop timestamps or spread the ports",
    ),
    "TCP_RFC7323_TW_PAWS": (
        "TcpExt.PAWSTimewait",
        "the packet's timestamp is older than that of the connection in TIME-WAIT",
        "if several hosts share one address by NAT, let it drop timestamps or spread the ports",
    ),
    "TCP_OFOMERGE": (
        "TcpExt.TCPOFOMerge",
        "the packet's bytes had come before, out of order: no loss",
        "nothing",
    ),
    "TCP_OLD_DATA": (
        "TcpExt.DelayedACKLost",
        "the packet's bytes had come before: sent again, as an ACK was late or lost",
        "see losses on the way back",
    ),
    "TCP_MD5NOTFOUND": (
        "TcpExt.TCPMD5NotFound",
        "the connection wants TCP-MD5 and the packet has none",
        "give both sides the same key",
    ),
    "TCP_MD5UNEXPECTED": (
        "TcpExt.TCPMD5Unexpected",
        "the packet has TCP-MD5 and the connection has no key",
        "give both sides the same key",
    ),
    "TCP_MD5FAILURE": (
        "TcpExt.TCPMD5Failure",
        "the packet's TCP-MD5 is wrong: another key",
        "give both sides the same key",
    ),
}


def _tcp(drop: Drop, answers: Answers) -> list[Finding]:
    counter, what, change = _TCP_CAUSES[drop.reason]
    return [Finding(Verdict.PROVEN, what, answers.moved(counter), change)]


_HEADER_MAX_BYTES = 60


def _old_sequence(drop: Drop, answers: Answers) -> list[Finding]:
    """A probe has the number before the next one, and nothing else (tcp_xmit_probe_skb())."""
    size = (Fact("length from the TCP header", drop.len_bytes),) if drop.len_bytes else ()
    if 0 < drop.len_bytes <= _HEADER_MAX_BYTES:
        what = "an empty packet from before the window: a probe (keep-alive, or of a closed window)"
        return [Finding(Verdict.LIKELY, f"{what}, or a late ACK", size, "nothing: it is answered")]
    what = "the packet lies before the receive window: what it has had come before"
    return [Finding(Verdict.LIKELY, what, size, "see losses on the way back")]


# Checksums

_TUNNELS = ("vxlan", "geneve", "gre", "gretap", "ipip", "wireguard", "veth", "tun")


def _checksum_needs(drop: Drop) -> tuple[Reading, ...]:
    return (link(drop.ifname),)


def _checksum(drop: Drop, answers: Answers) -> list[Finding]:
    device = answers.get(link(drop.ifname)) or {}
    names = {
        "UDP_CSUM": "Udp6InCsumErrors" if drop.v6 else "Udp.InCsumErrors",
        "TCP_CSUM": "Tcp.InCsumErrors",
        "IP_CSUM": "IpExt.InCsumErrors",
        "ICMP_CSUM": "Icmp6InCsumErrors" if drop.v6 else "Icmp.InCsumErrors",
    }
    proof = answers.moved(names[drop.reason])
    kind = device.get("kind", "")
    layer = drop.reason.partition("_")[0]
    wrong = f"the packet's {layer} checksum is wrong"
    if kind in _TUNNELS:
        proof += (Fact(f"{drop.ifname} is a", kind),)
        change = (
            "where it is sent: ethtool -K DEV tx-checksum-ip-generic off (costs CPU), if the "
            "checksum was left to a device that never did it"
        )
        return [
            Finding(Verdict.PROVEN, wrong, proof, change),
        ]
    change = "see ethtool -S for errors of the link; capture where it is sent: who breaks it"
    return [Finding(Verdict.PROVEN, wrong, proof, change)]


DIAGNOSES = (
    Diagnosis(
        (("TCP_LISTEN_OVERFLOW", ANY),),
        _listen_needs,
        _listen,
        "net/ipv4/tcp_ipv4.c: tcp_v4_syn_recv_sock()",
        at_port,
    ),
    Diagnosis(
        tuple((reason, ANY) for reason in _TCP_CAUSES),
        lambda drop: (),
        _tcp,
        "net/ipv4/tcp_input.c",
    ),
    Diagnosis(
        (("TCP_OLD_SEQUENCE", ANY),),
        lambda drop: (),
        _old_sequence,
        "net/ipv4/tcp_input.c: tcp_validate_incoming()",
        lambda drop: 0 < drop.len_bytes <= _HEADER_MAX_BYTES,
    ),
    Diagnosis(
        (("UDP_CSUM", ANY), ("TCP_CSUM", ANY), ("IP_CSUM", ANY), ("ICMP_CSUM", ANY)),
        _checksum_needs,
        _checksum,
        "net/ipv4/udp.c: __udp4_lib_rcv(), net/ipv4/tcp_ipv4.c: tcp_v4_rcv()",
    ),
)
