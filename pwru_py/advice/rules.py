# SPDX-License-Identifier: Apache-2.0
"""Routing rules (ip-rule(8)): which of them a packet meets. Pure."""

from __future__ import annotations

from ipaddress import ip_address, ip_network
from typing import Any

from .case import Answers, Drop, Fact, Reading


def rules_for(drop: Drop) -> Reading:
    """Those that somebody has added."""
    return Reading("rules", (6 if drop.v6 else 4,))


def met(drop: Drop, answers: Answers, *, came_in: bool) -> list[dict[str, Any]]:
    """Rules that a packet meets, the first one first; those that may, too.

    ``came_in``: by the drop's interface; else it was sent here.
    """
    found = answers.get(rules_for(drop)) or []
    return [one for one in found if _fits(one, drop, came_in=came_in) != one["not"]]


def _fits(rule: dict[str, Any], drop: Drop, *, came_in: bool) -> bool:
    packet = drop.tuple
    assert packet is not None
    if rule["src"] and ip_address(packet.saddr) not in ip_network(rule["src"], strict=False):
        return False
    if rule["dst"] and ip_address(packet.daddr) not in ip_network(rule["dst"], strict=False):
        return False
    if rule["mask"] and drop.mark & rule["mask"] != rule["mark"]:
        return False
    if rule["iif"] and rule["iif"] != (drop.ifname if came_in else "lo"):
        return False
    return not rule["oif"]  # of sockets that are bound to a device


def facts(found: list[dict[str, Any]]) -> tuple[Fact, ...]:
    return tuple(Fact("ip rule", one["text"]) for one in found[:3])
