# SPDX-License-Identifier: Apache-2.0
"""Readings of bridges and forwarding tables (FDB); as in ``readings``."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from .device_readings import linkinfo
from .netlink import MOST, name_of, rtnetlink

_NO_MAC = "00:00:00:00:00:00"


def bridge_port(ifname: str) -> dict[str, Any] | None:
    """A port: its ``bridge``, STP ``state``, ``hairpin``, ``locked``, ``isolated``, ``flood`` (it
    takes frames to unknown targets), whether the bridge does VLAN ``filtering``, its ``vlans`` and
    ``pvid``; ``others``: the same of its other ports, with their ``name``. None of what is no port.
    """
    ifindex = socket.if_nametoindex(ifname)
    with rtnetlink() as netlink:
        told = netlink.get_links(ifindex)[0]
        if linkinfo(told, "IFLA_INFO_SLAVE_KIND") != "bridge":
            return None
        master = told.get_attr("IFLA_MASTER")
        bridge = netlink.get_links(master)[0]
        filtering = bool(linkinfo(bridge, "IFLA_INFO_DATA").get_attr("IFLA_BR_VLAN_FILTERING"))
        others = [
            {"name": one.get_attr("IFLA_IFNAME"), **_port(netlink, one, filtering=filtering)}
            for one in netlink.get_links()
            if one.get_attr("IFLA_MASTER") == master and one["index"] != ifindex
        ]
        own = _port(netlink, told, filtering=filtering)
    return {
        "bridge": bridge.get_attr("IFLA_IFNAME"),
        "filtering": filtering,
        **own,
        "others": others[:MOST],
    }


def _port(netlink: Any, told: Any, *, filtering: bool) -> dict[str, Any]:
    port = linkinfo(told, "IFLA_INFO_SLAVE_DATA")
    vlans, pvid = [], 0
    for one in netlink.get_vlans(index=told["index"]) if filtering else ():
        for name, value in (one.get_attr("IFLA_AF_SPEC") or {"attrs": []})["attrs"]:
            if name == "IFLA_BRIDGE_VLAN_INFO" and one["index"] == told["index"]:
                vlans.append(value["vid"])
                pvid = value["vid"] if value["flags"] & 2 else pvid
    return {
        "state": port.get_attr("IFLA_BRPORT_STATE"),
        "hairpin": bool(port.get_attr("IFLA_BRPORT_MODE")),
        "locked": bool(port.get_attr("IFLA_BRPORT_LOCKED")),
        "isolated": bool(port.get_attr("IFLA_BRPORT_ISOLATED")),
        "flood": port.get_attr("IFLA_BRPORT_UNICAST_FLOOD") != 0,
        "vlans": sorted(vlans),
        "pvid": pvid,
    }


def fdb(ifname: str, daddr: str, mark: int) -> dict[str, Any]:
    """What the forwarding tables have of the target of a frame.

    ``mac``: of the next hop, where a neighbour of this namespace tells it, else ''. ``port``:
    behind which port of a bridge that is, else ''. Of a VXLAN device ``ifname``: ``remotes`` of
    that MAC, ``default`` ones, and how many ``entries`` there are.
    """
    ifindex = socket.if_nametoindex(ifname)
    found: dict[str, Any] = {"mac": "", "port": "", "remotes": [], "default": [], "entries": 0}
    with rtnetlink() as netlink:
        found["mac"] = mac = _mac(netlink, daddr, mark)
        for one in netlink.fdb("dump"):
            told, remote = one.get_attr("NDA_LLADDR"), one.get_attr("NDA_DST")
            if one["ifindex"] == ifindex and remote:
                found["entries"] += 1
                if told == _NO_MAC:
                    found["default"].append(remote)
                elif told == mac:
                    found["remotes"].append(remote)
            elif told == mac and one.get_attr("NDA_MASTER"):
                found["port"] = name_of(one["ifindex"])
    return found


def _mac(netlink: Any, daddr: str, mark: int) -> str:
    """Of the address, or of the gateway to it; '' where no neighbour entry tells."""
    from pyroute2.netlink.exceptions import NetlinkError

    family = socket.AF_INET6 if ":" in daddr else socket.AF_INET
    ask: dict[str, Any] = {"dst": daddr, "family": family}
    if mark:
        ask["mark"] = mark
    wanted = [daddr]
    with contextlib.suppress(NetlinkError):
        (way, *_) = netlink.route("get", **ask)
        wanted.insert(0, way.get_attr("RTA_GATEWAY") or daddr)
    known = {
        one.get_attr("NDA_DST"): one.get_attr("NDA_LLADDR") or ""
        for one in netlink.get_neighbours(family=family)
    }
    return next((known[address] for address in wanted if known.get(address)), "")
