# SPDX-License-Identifier: Apache-2.0
"""What a namespace says when it is asked: routes, neighbours, sockets, queues, programs, rules.

Each function of ``KINDS`` answers one kind of reading, in the namespace that its process is in, as
JSON has values; None: it cannot be had. Nothing is changed. The process is one of its own
(``pwru_py.kernel.reader``): it goes from namespace to namespace. Raises OSError, and what pyroute2
raises, which ``answer`` takes for None.
"""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable
from typing import Any

from ..errors import PwruError
from ..facts.dropping_chains import dropping
from ..facts.igmp import joined
from ..facts.proc_counters import sockstat
from .bridge_readings import bridge_port, fdb
from .device_readings import (
    device,
    link,
    namespace_number,
    netkit,
    other_end,
    programs,
    qdiscs,
    vxlans,
    wireguard,
)
from .group_readings import group_programs
from .netlink import MOST, name_of, rtnetlink

_TYPES = {1: "unicast", 2: "local", 3: "broadcast", 5: "multicast", 6: "blackhole"}
_STATES = {
    0x00: "none", 0x01: "incomplete", 0x02: "reachable", 0x04: "stale", 0x08: "delay",
    0x10: "probe", 0x20: "failed", 0x40: "noarp", 0x80: "permanent",
}  # fmt: skip
_MAIN = 254
_STANDARD_RULES = (0, 32766, 32767)  # local, main, default
_INVERT = 2  # FIB_RULE_INVERT
_RULE_MORE = (
    "FRA_UID_RANGE", "FRA_IP_PROTO", "FRA_SPORT_RANGE", "FRA_DPORT_RANGE", "FRA_TUN_ID",
    "FRA_L3MDEV",
)  # fmt: skip
_RULE_ACTIONS = {6: "blackhole", 7: "unreachable", 8: "prohibit"}
_TCP, _UDP = 6, 17
_LISTEN, _ALL_STATES = 1 << 10, 0xFFFFFFFF
_MEMORY = 1 << 6  # INET_DIAG_SKMEMINFO
_LIST_S = 3


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def read_sysctl(name: str) -> str | None:
    """Its text. ``name``: a path below /proc/sys."""
    if ".." in name.split("/"):
        return None
    with open(f"/proc/sys/{name}", encoding="utf-8", errors="replace") as file:
        return file.read().strip()


def route(daddr: str, saddr: str, iif: str, mark: int) -> dict[str, Any]:
    """What the kernel's lookup says: ``error``, an errno; or ``type``, ``dev``, ``gateway``,
    ``table``, ``mtu`` in bytes (of the route, else of the device).

    ``iif``: as of a packet that came in by it, from ``saddr``. It changes nothing, but that a
    lookup with an impossible source may be logged (``log_martians``).
    """
    from pyroute2.netlink.exceptions import NetlinkError

    ask: dict[str, Any] = {"dst": daddr, "family": _family(daddr)}
    if mark:
        ask["mark"] = mark
    if iif:
        ask["iif"] = socket.if_nametoindex(iif)
    if saddr:
        ask["src"] = saddr
    with rtnetlink() as link:
        try:
            (found, *_) = link.route("get", **ask)
        except NetlinkError as refusal:
            return {"error": int(refusal.code)}
        index = found.get_attr("RTA_OIF") or 0
        via = found.get_attr("RTA_VIA") or {}
        device = link.get_links(index)[0] if index else None
        metrics = found.get_attr("RTA_METRICS")
        limited = metrics.get_attr("RTAX_MTU") if metrics else None
        if found["type"] in (6, 7, 8):  # IPv6 answers with such routes
            return {"error": {6: 22, 7: 113, 8: 13}[found["type"]]}
        return {
            "type": _TYPES.get(found["type"], str(found["type"])),
            "dev": device.get_attr("IFLA_IFNAME") if device else "",
            "ifindex": index,
            "gateway": found.get_attr("RTA_GATEWAY") or via.get("addr", ""),
            "table": found.get_attr("RTA_TABLE") or 0,
            "mtu": limited or (device.get_attr("IFLA_MTU") if device else 0) or 0,
        }


def rules(family: int) -> list[dict[str, Any]]:
    """Routing rules that somebody has added, in the order in which the kernel asks them.

    ``family``: 4 or 6. ``text``: as ip-rule(8) has it. What must fit: ``src`` and ``dst``, a
    prefix, ``iif``, ``oif``, '' for any; ``mark`` and ``mask``, which is 0 for any; ``not``: all of
    that must not fit; ``more``: it looks at something else, too.
    """
    asked = socket.AF_INET6 if family == 6 else socket.AF_INET
    with rtnetlink() as link:
        found = [_rule(one) for one in link.get_rules(family=asked)]
    own = [one for one in found if one["priority"] not in _STANDARD_RULES]
    return sorted(own, key=lambda one: int(one["priority"]))[:MOST]


def _rule(told: Any) -> dict[str, Any]:
    def prefix(name: str) -> str:
        address = told.get_attr(f"FRA_{name.upper()}")
        return f"{address}/{told[f'{name}_len']}" if address else ""

    mark = told.get_attr("FRA_FWMARK") or 0
    mask = told.get_attr("FRA_FWMASK") or 0
    one = {
        "priority": told.get_attr("FRA_PRIORITY") or 0,
        "src": prefix("src"),
        "dst": prefix("dst"),
        "iif": told.get_attr("FRA_IIFNAME") or "",
        "oif": told.get_attr("FRA_OIFNAME") or "",
        "mark": mark,
        "mask": mask if mark or mask != 0xFFFFFFFF else 0,
        "not": bool(told["flags"] & _INVERT),
        "more": bool(told["tos"]) or any(told.get_attr(name) for name in _RULE_MORE),
    }
    table = told.get_attr("FRA_TABLE") or told["table"]
    parts = [
        "not" if one["not"] else "",
        f"from {one['src'] or 'all'}",
        f"to {one['dst']}" if one["dst"] else "",
        f"fwmark {mark:#x}/{mask:#x}" if one["mask"] else "",
        f"iif {one['iif']}" if one["iif"] else "",
        f"oif {one['oif']}" if one["oif"] else "",
        _RULE_ACTIONS.get(told["action"], f"lookup {table}"),
    ]
    return {**one, "text": f"{one['priority']}: " + " ".join(filter(None, parts))}


def default_routes() -> list[str]:
    """Of IPv4, in the main table: ``dev eth0 via 10.0.0.1``."""
    with rtnetlink() as link:
        return [
            f"dev {name_of(one.get_attr('RTA_OIF') or 0)}"
            + (f" via {gateway}" if (gateway := one.get_attr("RTA_GATEWAY")) else "")
            for one in link.get_default_routes(family=socket.AF_INET, table=_MAIN)
        ][:MOST]


def next_hop(daddr: str, mark: int) -> dict[str, Any] | None:
    """``address``, ``dev`` and neighbour ``state`` of the next hop; None without a route to it."""
    way = route(daddr, "", "", mark)
    if "error" in way or way["type"] != "unicast":
        return None
    address = way["gateway"] or daddr
    return {"address": address, "dev": way["dev"], "state": _neighbour(way["ifindex"], address)}


def _neighbour(ifindex: int, address: str) -> str:
    """The state of the neighbour, ``none`` where it is not known."""
    wanted = ipaddress.ip_address(address)
    with rtnetlink() as link:
        for one in link.get_neighbours(family=_family(address), ifindex=ifindex):
            told = one.get_attr("NDA_DST")
            if one["ifindex"] == ifindex and told and ipaddress.ip_address(told) == wanted:
                return _STATES.get(one["state"], str(one["state"]))
    return "none"


def sockets(proto: int, port: int) -> list[dict[str, Any]]:
    """Listening TCP sockets, or UDP sockets, at a port: ``addr``, ``port``, ``peer`` ('' without
    one), ``ifname`` where it is bound to one, ``v6only``; ``queue`` and ``backlog`` of TCP in
    connections; ``rmem``, ``rcvbuf`` in bytes and ``drops``; ``process``.
    """
    from pyroute2.netlink.diag import DiagSocket

    found = []
    with DiagSocket() as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            states = _LISTEN if proto == _TCP else _ALL_STATES
            asked = diag.get_sock_stats(
                family=family, protocol=proto, states=states, extensions=_MEMORY, sport=port
            )
            found += [_socket(one) for one in asked if not port or one["idiag_sport"] == port]
    owners = _owners({one["inode"] for one in found[:MOST]})
    return [{**one, "process": owners.get(one["inode"], "")} for one in found[:MOST]]


def _socket(told: Any) -> dict[str, Any]:
    peer = told["idiag_dst"] if told["idiag_dport"] else ""
    one = {
        "addr": told["idiag_src"],
        "port": told["idiag_sport"],
        "peer": peer,
        "ifname": name_of(told["idiag_if"]),
        "v6only": bool(told.get_attr("INET_DIAG_SKV6ONLY")),
        "queue": told["idiag_rqueue"],
        "backlog": told["idiag_wqueue"],
        "inode": told["idiag_inode"],
    }
    memory = told.get_attr("INET_DIAG_SKMEMINFO")
    words = bytes.fromhex(memory.replace(":", "")) if memory else b""
    if len(words) >= 36:  # SK_MEMINFO_RMEM_ALLOC, _RCVBUF … _DROPS
        number = [int.from_bytes(words[at : at + 4], "little") for at in range(0, 36, 4)]
        one |= {"rmem": number[0], "rcvbuf": number[1], "drops": number[8]}
    return one


def _owners(inodes: set[int]) -> dict[int, str]:
    """Socket inode to ``comm:pid``, of those that show their descriptors."""
    found: dict[int, str] = {}
    for pid in (name for name in os.listdir("/proc") if name.isdigit()) if inodes else ():
        try:
            for entry in os.listdir(f"/proc/{pid}/fd"):
                target = os.readlink(f"/proc/{pid}/fd/{entry}")
                if target.startswith("socket:[") and int(target[8:-1]) in inodes:
                    with open(f"/proc/{pid}/comm", errors="replace") as comm:
                        found.setdefault(int(target[8:-1]), f"{comm.read().strip()}:{pid}")
        except OSError:
            continue
        if len(found) == len(inodes):
            break
    return found


def listeners(proto: int) -> list[dict[str, Any]]:
    """Every listening TCP socket, the one with the fullest queue first."""
    found = sockets(proto, 0)
    return sorted(found, key=lambda one: one["backlog"] - one["queue"])[:MOST]


def ruleset() -> list[dict[str, Any]] | None:
    """Chains of nf_tables that drop, by nft(8): ``family``, ``table``, ``chain``, ``drops`` (why),
    ``packets`` that the counters of their dropping rules have seen.
    """
    if not shutil.which("nft"):
        return None
    done = subprocess.run(
        ["nft", "-j", "list", "ruleset"], capture_output=True, timeout=_LIST_S, check=True
    )
    return dropping(json.loads(done.stdout)["nftables"])


def memberships(ifname: str) -> list[str]:
    """IPv4 multicast groups that an interface has joined."""
    with open("/proc/thread-self/net/igmp") as file:
        return joined(file.read(), ifname)[:MOST]


def socket_pages(name: str) -> int:
    """Pages that all sockets of a protocol of IPv4 and IPv6 hold together. ``name``: TCP, UDP."""
    with open("/proc/thread-self/net/sockstat") as file:
        return sockstat(file.read())[f"sockstat.{name}.mem"]


def legacy_tables() -> list[str]:
    """Tables of iptables that is not nf_tables."""
    found = []
    for name, family in (("ip_tables_names", ""), ("ip6_tables_names", " (IPv6)")):
        try:
            with open(f"/proc/net/{name}") as file:
                found += [f"{table.strip()}{family}" for table in file]
        except OSError:
            continue
    return found


KINDS: dict[str, Callable[..., Any]] = {
    "sysctl": read_sysctl,
    "route": route,
    "next_hop": next_hop,
    "rules": rules,
    "default_routes": default_routes,
    "sockets": sockets,
    "listeners": listeners,
    "socket_pages": socket_pages,
    "link": link,
    "other_end": other_end,
    "namespace_number": namespace_number,
    "device": device,
    "bridge_port": bridge_port,
    "fdb": fdb,
    "qdiscs": qdiscs,
    "programs": programs,
    "group_programs": group_programs,
    "netkit": netkit,
    "vxlans": vxlans,
    "wireguard": wireguard,
    "ruleset": ruleset,
    "memberships": memberships,
    "legacy_tables": legacy_tables,
}


def answer(kind: str, args: list[Any]) -> Any:
    """One reading's answer; None where it cannot be had."""
    from struct import error

    from pyroute2.netlink.exceptions import NetlinkError

    failures = (
        OSError, PwruError, NetlinkError, LookupError, ValueError, TypeError, AttributeError, error,
        subprocess.SubprocessError,
    )  # fmt: skip
    try:
        return KINDS[kind](*args)
    except failures:  # an attribute that this kernel does not tell, or a device that has gone
        return None
