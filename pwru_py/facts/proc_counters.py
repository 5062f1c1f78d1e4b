# SPDX-License-Identifier: Apache-2.0
"""Formats of the counters in /proc/net: text to names and numbers. Pure.

``Ip.InHdrErrors`` (snmp, netstat), ``Ip6InHdrErrors`` (snmp6), ``xfrm.XfrmInNoPols``,
``softnet.dropped``, ``conntrack.drop``, ``arp_cache.entries``, ``sockstat.UDP.mem`` (pages),
``dev.eth0.tx_dropped``.
"""

from __future__ import annotations

from collections.abc import Mapping

_SOFTNET = {"dropped": 1, "time_squeeze": 2, "flow_limit": 10}
"""Columns of /proc/net/softnet_stat, a line a CPU (net/core/net-procfs.c: softnet_seq_show())."""
_DEVICE = {"rx_errors": 2, "rx_dropped": 3, "tx_errors": 10, "tx_dropped": 11}
"""Columns of /proc/net/dev (net/core/net-procfs.c: dev_seq_printf_stats())."""
_ONE = ("entries",)
"""Of /proc/net/stat: every CPU's line has the whole."""


def paired(text: str) -> dict[str, int]:
    """A line of names, then one of numbers: snmp and netstat."""
    found: dict[str, int] = {}
    lines = text.splitlines()
    for names, numbers in zip(lines[::2], lines[1::2], strict=False):
        prefix, _, rest = names.partition(":")
        values = numbers.partition(":")[2].split()
        for name, value in zip(rest.split(), values, strict=False):
            found[f"{prefix}.{name}"] = int(value)
    return found


def listed(text: str, prefix: str = "") -> dict[str, int]:
    """A name and a number a line: snmp6, xfrm_stat."""
    rows = (line.split() for line in text.splitlines())
    return {prefix + row[0]: int(row[1]) for row in rows if len(row) == 2}


def softnet(text: str) -> dict[str, int]:
    """Sums over CPUs; ``flow_limit`` where the kernel has it."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        columns = line.split()
        for name, at in _SOFTNET.items():
            if at < len(columns):
                key = f"softnet.{name}"
                found[key] = found.get(key, 0) + int(columns[at], 16)
    return found


def per_cpu(text: str, prefix: str) -> dict[str, int]:
    """/proc/net/stat: names, then a line of hexadecimal numbers for each CPU; sums."""
    lines = [line.split() for line in text.splitlines()]
    found: dict[str, int] = {}
    for row in lines[1:]:
        for name, value in zip(lines[0], row, strict=False):
            key = f"{prefix}.{name}"
            found[key] = int(value, 16) + (0 if name in _ONE else found.get(key, 0))
    return found


def sockstat(text: str) -> dict[str, int]:
    """``UDP: inuse 1 mem 2``."""
    found: dict[str, int] = {}
    for line in text.splitlines():
        name, _, rest = line.partition(":")
        words = rest.split()
        for key, value in zip(words[::2], words[1::2], strict=False):
            found[f"sockstat.{name}.{key}"] = int(value)
    return found


def devices(text: str) -> dict[str, int]:
    """Errors and drops of each interface."""
    found: dict[str, int] = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.rpartition(":")
        columns = rest.split()
        if len(columns) > max(_DEVICE.values()):
            own = {f"dev.{name.strip()}.{key}": int(columns[at]) for key, at in _DEVICE.items()}
            found |= own
    return found


def all_of(texts: Mapping[str, str]) -> dict[str, int]:
    """``texts``: files of /proc/net by their names there; those that are not there are left out."""
    found: dict[str, int] = {}
    for name, text in texts.items():
        if name in ("snmp", "netstat"):
            found |= paired(text)
        elif name == "snmp6":
            found |= listed(text)
        elif name == "xfrm_stat":
            found |= listed(text, "xfrm.")
        elif name == "softnet_stat":
            found |= softnet(text)
        elif name == "sockstat":
            found |= sockstat(text)
        elif name == "dev":
            found |= devices(text)
        else:
            stat = name.rpartition("/")[2].removeprefix("nf_")
            found |= per_cpu(text, stat)
    return found


FILES = (
    "snmp",
    "netstat",
    "snmp6",
    "xfrm_stat",
    "softnet_stat",
    "sockstat",
    "dev",
    "stat/nf_conntrack",
    "stat/arp_cache",
    "stat/ndisc_cache",
)
