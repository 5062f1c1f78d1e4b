# SPDX-License-Identifier: Apache-2.0
"""Losses that the kernel counts and does not call drops: names, meanings, formats of /proc. Pure.

A counter is of a whole namespace: it knows nothing of a filter.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import NamedTuple

from .driver_counters import Loss, kind
from .proc_counters import paired


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
    "OutNoRoutes": Silent(
        "A program here wanted to send, and no route led there: no packet was made.",
        "Read ip route and ip rule: a default route, or one to the target.",
        "net/ipv4/udp.c: udp_sendmsg(), net/ipv4/tcp_ipv4.c: tcp_v4_connect()",
    ),
    "receive errors": Silent(
        "A device counted frames that it could not take: none of them became a packet.",
        "Read ip -s -s link and ethtool -S; for WireGuard the sender's address may be outside of "
        "allowed-ips.",
        "include/uapi/linux/if_link.h: rx_errors",
    ),
    "receive overruns": Silent(
        "A device lost frames as they did not fit into the buffers that the host gave it.",
        "Read ethtool -S and -g; raise the ring with ethtool -G, or spread it over queues.",
        "include/uapi/linux/if_link.h: rx_fifo_errors",
    ),
    "frames missed": Silent(
        "A device had no free buffer for frames: the host did not empty its ring in time.",
        "Read ethtool -S and -g; raise the ring with ethtool -G, or use more queues.",
        "include/uapi/linux/if_link.h: rx_missed_errors",
    ),
    "ARP requests ignored": Silent(
        "The host has the address that an ARP request asks for, and did not answer.",
        "Read net.ipv4.conf.DEV.arp_ignore and arp_filter; the greater of DEV and all counts.",
        "net/ipv4/arp.c: arp_process()",
    ),
}
"""By what ``rises`` calls them, the interface's name left out."""


_RING_CHECK = SILENT["frames missed"].check
_DRIVER = {
    Loss.XDP: Silent(
        "The driver counted frames that an XDP program dropped, or that failed at it; what another "
        "veth has sent is among the drops, too.",
        "Read ip -d link for the program's id, and bpftool prog show.",
        "Documentation/networking/statistics.rst, drivers/net/veth.c: veth_xdp_rcv()",
    ),
    Loss.LIMIT: Silent(
        "The cloud provider cut traffic: this machine is past a limit of its size.",
        "Read which limit the counter's name tells: bandwidth, packets a second, connections.",
        "drivers/net/ethernet/amazon/ena/ena_ethtool.c: ENA_STAT_ENI_ENTRY()",
    ),
    Loss.MEMORY: Silent(
        "A driver got no memory for a frame.",
        "Read free -m and dmesg for failed allocations; see vm.min_free_kbytes.",
        "Documentation/networking/statistics.rst",
    ),
    Loss.RING: Silent(
        "A device had no free buffer for frames: the host did not empty its ring in time.",
        _RING_CHECK,
        "Documentation/networking/statistics.rst",
    ),
    Loss.RECEIVED: Silent(
        "A device or its driver dropped frames that came, for a reason that its own name tells.",
        "Read ethtool -S, and what the driver's documentation says of that counter.",
        "Documentation/networking/statistics.rst",
    ),
    Loss.SENT: Silent(
        "A device or its driver dropped frames that were to be sent.",
        "Read ethtool -S, and what the driver's documentation says of that counter.",
        "Documentation/networking/statistics.rst",
    ),
}


def parse_netstat(text: str) -> dict[str, int]:
    """/proc/net/netstat and snmp: a line of names, then one of numbers, for each protocol."""
    found = {name.partition(".")[2]: number for name, number in paired(text).items()}
    return {name: number for name, number in found.items() if name in SILENT}


def of_device(name: str, errors: int, overruns: int, missed: int) -> dict[str, int]:
    """What a device did not take, as ``rises`` calls it.

    ``errors`` have its frame errors in them. Its ``rx_dropped`` is left out: it counts what the
    kernel frees as a drop.
    """
    return {
        f"{name}: receive errors": errors,
        f"{name}: receive overruns": overruns,
        f"{name}: frames missed": missed,
    }


def of_driver(name: str, told: Mapping[str, int]) -> dict[str, int]:
    """What a driver lost (``driver_counters.losses``), as ``rises`` calls it."""
    return {f"{name}: {counter}": value for counter, value in told.items()}


def parse_own_addresses(text: str) -> set[str]:
    """/proc/net/fib_trie: each address of the host, on a line before that of ``/32 host LOCAL``."""
    return set(re.findall(r"\|-- (\S+)\n\s+/32 host LOCAL", text))


def rises(before: Mapping[str, int], after: Mapping[str, int]) -> dict[str, int]:
    """What rose, by how much.

    A counter that is new tells nothing: a device brings its own along when it comes from another
    namespace, or gets another name.
    """
    return {
        name: after[name] - count for name, count in before.items() if after.get(name, 0) > count
    }


def silent(name: str) -> Silent:
    """What the rise of a counter, as ``rises`` names it, means."""
    counter = name.rpartition(": ")[2]
    loss = None if counter in SILENT else kind(counter)
    return SILENT[counter] if loss is None else _DRIVER[loss]
