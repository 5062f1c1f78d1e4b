# SPDX-License-Identifier: Apache-2.0
"""Readings of devices: queues, programs, drivers, tunnels; as in ``readings``."""

from __future__ import annotations

import contextlib
import socket
from typing import Any

from . import loaded
from .driver_counters import DriverCounters
from .netlink import MOST, name_of, rtnetlink
from .rtnetlink import Links, attributes

_ROOT = 0xFFFFFFFF  # TC_H_ROOT
_INGRESS, _EGRESS = 0xFFFFFFF2, 0xFFFFFFF3
_PAIRS, _UP = ("veth", "netkit"), 1  # IFF_UP
_XDP_MODES = ("", "DRV_", "SKB_", "HW_")  # the first: where there is one alone
_NETKIT = {"primary": 54, "peer": 55}  # enum bpf_attach_type (6.7)
# include/uapi/linux/if_link.h: IFLA_NETKIT_PRIMARY, _POLICY and _PEER_POLICY, NETKIT_DROP
_NETKIT_PRIMARY, _NETKIT_POLICIES, _NETKIT_DROP = 2, (3, 4), 2
_TCX = {"ingress": 46, "egress": 47}  # enum bpf_attach_type


def link(ifname: str) -> dict[str, Any] | None:
    """An interface: ``kind``, ``state``, ``carrier``, ``mac``, ``mtu``, ``promiscuity``,
    ``txqlen``, ``master_kind``, and ``vlans``: those of VLAN devices upon it.
    """
    if not ifname:
        return None
    ifindex = socket.if_nametoindex(ifname)
    with rtnetlink() as netlink:
        told = netlink.get_links(ifindex)[0]
        upper = [
            data.get_attr("IFLA_VLAN_ID")
            for one in netlink.get_links(kind="vlan")
            if one.get_attr("IFLA_LINK") == ifindex
            and (data := linkinfo(one, "IFLA_INFO_DATA")) is not None
        ]
    return {
        "kind": linkinfo(told, "IFLA_INFO_KIND") or "",
        "state": str(told.get_attr("IFLA_OPERSTATE")).lower(),
        "up": bool(told["flags"] & _UP),
        "carrier": told.get_attr("IFLA_CARRIER"),
        "mac": told.get_attr("IFLA_ADDRESS") or "",
        "mtu": told.get_attr("IFLA_MTU"),
        "promiscuity": told.get_attr("IFLA_PROMISCUITY") or 0,
        "txqlen": told.get_attr("IFLA_TXQLEN"),
        "master_kind": linkinfo(told, "IFLA_INFO_SLAVE_KIND") or "",
        "vlans": upper,
    }


def other_end(ifname: str) -> dict[str, Any] | None:
    """Of a pair (veth, netkit): ``ifindex`` of the other device; ``nsid``: the number that its
    namespace has in this one, None where it is the same.
    """
    with rtnetlink() as netlink:
        told = netlink.get_links(socket.if_nametoindex(ifname))[0]
    if linkinfo(told, "IFLA_INFO_KIND") not in _PAIRS or not told.get_attr("IFLA_LINK"):
        return None
    return {"ifindex": told.get_attr("IFLA_LINK"), "nsid": told.get_attr("IFLA_LINK_NETNSID")}


def namespace_number(fd: int) -> int | None:
    """Of a namespace, a descriptor, in the one that this process is in; None: it has none."""
    with rtnetlink() as netlink:
        told = netlink.get_netnsid(fd=fd)
    return told["nsid"] if told else None


def device(ifindex: int) -> dict[str, Any]:
    """``name``, ``mtu``, and whether it is ``up``, as somebody wants it."""
    with rtnetlink() as netlink:
        told = netlink.get_links(ifindex)[0]
    name, mtu = told.get_attr("IFLA_IFNAME"), told.get_attr("IFLA_MTU")
    return {"name": name, "mtu": mtu, "up": bool(told["flags"] & _UP)}


def linkinfo(told: Any, name: str) -> Any:
    """An attribute that is nested in the kind's; None where there is none."""
    nested = told.get_attr("IFLA_LINKINFO")
    return nested.get_attr(name) if nested else None


def qdiscs(ifname: str) -> list[dict[str, Any]]:
    """Queues of a device: ``kind``, ``handle``, ``depth`` (0 the root), ``drops``, ``qlen``,
    ``backlog`` in bytes; where it has them ``limit`` in packets, ``limit_bytes``, ``rate`` in bits
    a second, ``loss`` in per cent.
    """
    ifindex = socket.if_nametoindex(ifname)
    with rtnetlink() as netlink:
        return [_qdisc(one) for one in netlink.get_qdiscs() if one["index"] == ifindex]


def _qdisc(told: Any) -> dict[str, Any]:
    kind, options = told.get_attr("TCA_KIND"), told.get_attr("TCA_OPTIONS")
    queue = _queue(told)
    one = {
        "kind": kind,
        "handle": _handle(told),
        "depth": 0 if told["parent"] == _ROOT else 1,
        "drops": queue["drops"],
        "qlen": queue["qlen"],
        "backlog": queue["backlog"],
    }
    values = _options(kind, options)
    return one | {name: value for name, value in values.items() if value}


def _handle(told: Any) -> str:
    return f"{told['handle'] >> 16:x}:"


def queue_drops() -> dict[str, int]:
    """``qdisc.DEVICE.HANDLE.drops`` of every queue; nothing where they cannot be read."""
    from pyroute2.netlink.exceptions import NetlinkError

    try:
        with rtnetlink() as netlink:
            return {
                f"qdisc.{name_of(one['index'])}.{_handle(one)}.drops": _queue(one)["drops"]
                for one in netlink.get_qdiscs()
            }
    except (OSError, NetlinkError):
        return {}


def driver_losses() -> dict[str, int]:
    """``driver.DEVICE.COUNTER`` of losses (``driver_counters``); nothing where none can be read."""
    try:
        with contextlib.closing(Links()) as links, contextlib.closing(DriverCounters()) as drivers:
            told = drivers.losses(links.read())
    except OSError:
        return {}
    return {
        f"driver.{ifname}.{name}": value
        for ifname, counted in told.items()
        for name, value in counted.items()
    }


def _queue(told: Any) -> Any:
    stats = told.get_attr("TCA_STATS2")
    return stats.get_attr("TCA_STATS_QUEUE") if stats else {"drops": 0, "qlen": 0, "backlog": 0}


def _options(kind: str, options: Any) -> dict[str, Any]:
    if kind in ("pfifo", "pfifo_head_drop"):
        return {"limit": options["limit"]}
    if kind == "bfifo":
        return {"limit_bytes": options["limit"]}
    if kind == "tbf":
        parms = options.get_attr("TCA_TBF_PARMS")
        rate = options.get_attr("TCA_TBF_RATE64") or parms["rate"]
        return {"limit_bytes": parms["limit"], "rate": rate * 8}
    if kind == "netem":
        loss = options["loss"] / 0xFFFFFFFF * 100
        return {"limit": options["limit"], "loss": float(f"{loss:.3g}")}
    if kind == "fq_codel":
        return {"limit": options.get_attr("TCA_FQ_CODEL_LIMIT")}
    return {}


def programs(ifname: str) -> list[dict[str, Any]]:
    """What may drop at a device: ``place`` (xdp, ingress, egress), ``name``, ``id`` of a program
    where it is known, else 0, and whether it is ``bpf``.
    """
    ifindex = socket.if_nametoindex(ifname)
    found = []
    with rtnetlink() as netlink:
        xdp = netlink.get_links(ifindex)[0].get_attr("IFLA_XDP")
        told = {xdp.get_attr(f"IFLA_XDP_{mode}PROG_ID") for mode in _XDP_MODES} if xdp else set()
        for number in sorted(told - {None, 0}):
            found.append(_program("xdp", loaded.program_name(number), number))
        for place, parent in (("ingress", _INGRESS), ("egress", _EGRESS)):
            for number in loaded.query(ifindex, _TCX[place]):
                found.append(_program(place, loaded.program_name(number), number))
            for one in netlink.get_filters(index=ifindex, parent=parent):
                if one["handle"]:
                    found.append(_filter(place, one))
    return found[:MOST]


def _program(place: str, name: str, number: int) -> dict[str, Any]:
    return {"place": place, "name": name, "id": number, "bpf": True}


def _filter(place: str, told: Any) -> dict[str, Any]:
    kind, options = told.get_attr("TCA_KIND"), told.get_attr("TCA_OPTIONS")
    is_bpf = kind == "bpf"
    name = (options.get_attr("TCA_BPF_NAME") if is_bpf and options else None) or kind
    return {"place": place, "name": name, "id": 0, "bpf": is_bpf}


def netkit(ifname: str) -> dict[str, Any] | None:
    """A netkit device: whether it is the ``primary`` one of the pair; whether the policies of both
    drop (``drops``, ``peer_drops``); ``carrier``: the other is up; ``programs`` of both ends where
    it is the primary one: ``place`` (primary, peer), ``name``, ``id``.
    """
    ifindex = socket.if_nametoindex(ifname)
    with rtnetlink() as netlink:
        told = netlink.get_links(ifindex)[0]
        if linkinfo(told, "IFLA_INFO_KIND") != "netkit":
            return None
        options = dict(attributes(_octets(linkinfo(told, "IFLA_INFO_DATA"))))
        carrier = told.get_attr("IFLA_CARRIER")
    programs = [
        {"place": place, "name": loaded.program_name(number), "id": number}
        for place, kind in _NETKIT.items()
        for number in loaded.query(ifindex, kind)
    ]
    own, peer = (options.get(name, b"\0")[0] == _NETKIT_DROP for name in _NETKIT_POLICIES)
    return {
        "primary": options.get(_NETKIT_PRIMARY, b"\0")[0] == 1,
        "drops": own,
        "peer_drops": peer,
        "carrier": bool(carrier),
        "programs": programs,
    }


def _octets(told: Any) -> bytes:
    """Of an attribute that pyroute2 does not know."""
    return bytes.fromhex(told.replace(":", "")) if isinstance(told, str) else b""


def vxlans() -> list[dict[str, Any]]:
    """VXLAN devices: ``name``, ``vni``."""
    with rtnetlink() as netlink:
        return [
            {
                "name": one.get_attr("IFLA_IFNAME"),
                "vni": linkinfo(one, "IFLA_INFO_DATA").get_attr("IFLA_VXLAN_ID"),
            }
            for one in netlink.get_links(kind="vxlan")
        ][:MOST]


def wireguard(ifname: str) -> list[dict[str, Any]]:
    """Peers of a WireGuard device: ``key``, ``endpoint`` ('' without), ``allowed_ips``."""
    from pyroute2 import WireGuard

    found = []
    with WireGuard() as netlink:
        for told in netlink.info(ifname):
            for peer in told.get_attr("WGDEVICE_A_PEERS") or ():
                endpoint = peer.get_attr("WGPEER_A_ENDPOINT")
                ips = peer.get_attr("WGPEER_A_ALLOWEDIPS") or ()
                found.append(
                    {
                        "key": bytes(peer.get_attr("WGPEER_A_PUBLIC_KEY")).decode(),
                        "endpoint": endpoint["addr"] if endpoint else "",
                        "allowed_ips": [ip["addr"] for ip in ips],
                    }
                )
    return found
