# SPDX-License-Identifier: Apache-2.0
"""Losses that the kernel counts and does not call drops: names, meanings, formats of /proc. Pure.

A counter is of a whole namespace: it knows nothing of a filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple


class Silent(NamedTuple):
    """A counter whose rise is a loss without a drop. ``source``: where the kernel counts it."""

    means: str
    check: str
    source: str


SILENT = {
    "ListenOverflows": Silent(
        "A connection found the accept queue of its listening socket full: a SYN, or the last ACK.",
        "Compare Recv-Q with Send-Q in ss -ltn; accept faster, or raise the backlog and "
        "net.core.somaxconn.",
        "net/ipv4/tcp_input.c: tcp_conn_request(), net/ipv4/tcp_ipv4.c: tcp_v4_syn_recv_sock()",
    ),
    "ListenDrops": Silent(
        "A listening socket did not take a SYN: a full queue, no memory, or no route back.",
        "See whether ListenOverflows or TCPReqQFullDrop rose as much.",
        "net/ipv4/tcp_input.c: tcp_conn_request()",
    ),
    "TCPReqQFullDrop": Silent(
        "A SYN found the queue of half-open connections full, and no cookie was sent.",
        "Check net.ipv4.tcp_syncookies and net.ipv4.tcp_max_syn_backlog; it may be a SYN flood.",
        "net/ipv4/tcp_input.c: tcp_syn_flood_action()",
    ),
    "receive errors": Silent(
        "A device counted frames that it could not take: none of them became a packet.",
        "Read ip -s -s link and ethtool -S; for WireGuard the sender's address may be outside of "
        "allowed-ips.",
        "net/core/net-procfs.c: dev_seq_printf_stats()",
    ),
    "receive overruns": Silent(
        "A device had no room for frames: its ring was full.",
        "Read ethtool -S and -g; raise the ring with ethtool -G, or spread it over queues.",
        "net/core/net-procfs.c: dev_seq_printf_stats()",
    ),
    "ARP requests ignored": Silent(
        "The host has the address that an ARP request asks for, and did not answer.",
        "Read net.ipv4.conf.DEV.arp_ignore and arp_filter; the greater of DEV and all counts.",
        "net/ipv4/arp.c: arp_process()",
    ),
}
"""By what ``rises`` calls them, the interface's name left out."""


def parse_netstat(text: str) -> dict[str, int]:
    """/proc/net/netstat: a line of names, then one of numbers, for each protocol."""
    found: dict[str, int] = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        found |= {
            name: int(number)
            for name, number in zip(names.split()[1:], numbers.split()[1:], strict=False)
        }
    return {name: number for name, number in found.items() if name in SILENT}


def parse_dev(text: str) -> dict[str, int]:
    """/proc/net/dev: ``eth0: receive errors`` and ``eth0: receive overruns`` of each interface.

    ``errs`` are all errors: ``frame`` has some of them again (struct rtnl_link_stats64). ``drop``
    is left out, as it has what the kernel frees as a drop, too.
    """
    found: dict[str, int] = {}
    for line in text.splitlines()[2:]:
        name, _, numbers = line.rpartition(":")
        _bytes, _packets, errors, _drop, fifo, *_ = map(int, numbers.split())
        found[f"{name.strip()}: receive errors"] = errors
        found[f"{name.strip()}: receive overruns"] = fifo
    return found


def parse_own_addresses(text: str) -> set[str]:
    """/proc/net/fib_trie: each address of the host, on a line before that of ``/32 host LOCAL``."""
    return set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text))


def rises(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What rose, by how much; a counter that is new began at 0."""
    return {
        name: count - before.get(name, 0)
        for name, count in after.items()
        if count > before.get(name, 0)
    }


def silent(name: str) -> Silent:
    """What the rise of a counter, as ``rises`` names it, means."""
    return SILENT[name.rpartition(": ")[2]]
