# SPDX-License-Identifier: Apache-2.0
"""What a network namespace counts of its traffic, which way its packets go, what it translates."""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, TextIO

from ..facts.proc_counters import all_of
from ..facts.traffic import DeviceCount, Routed, Translated, parse_conntrack, rise
from .netns import inside

if TYPE_CHECKING:
    from .rtnetlink import Link, Links

_FILES = ("snmp", "snmp6")
_NO_ROUTES = ("Ip.OutNoRoutes", "Ip6OutNoRoutes")  # IPSTATS_MIB_OUTNOROUTES
_CONNTRACK = "nf_conntrack"
_CONNTRACK_LINES = 20_000
_REFUSED = {
    errno.ENETUNREACH: "no route",
    errno.EHOSTUNREACH: "the route says unreachable",
    errno.EACCES: "the route says prohibit",
    errno.EINVAL: "the route says blackhole",
}


class Traffic:
    """Of the namespace that ``path`` leads to, '' the own, from now on.

    Files and a socket stay open, as a session gives up the right to enter a namespace; nothing is
    sent. What cannot be read tells nothing.
    """

    def __init__(self, path: str) -> None:
        from .rtnetlink import Links

        self._files: dict[str, TextIO] = {}
        self._links: Links | None = None

        def look() -> None:
            for name in (*_FILES, _CONNTRACK):
                with contextlib.suppress(OSError):
                    path = f"/proc/thread-self/net/{name}"
                    self._files[name] = open(path, errors="replace")  # noqa: SIM115  (kept open)
            self._links = Links()

        with contextlib.suppress(OSError):
            inside(path, look)
        self._refused, self._devices = self._count_refused(), self._read_links()

    def _count_refused(self) -> dict[str, int]:
        texts: dict[str, str] = {}
        for name in _FILES:
            with contextlib.suppress(OSError, KeyError):
                self._files[name].seek(0)
                texts[name] = self._files[name].read()
        found = all_of(texts)
        return {name: found[name] for name in _NO_ROUTES if name in found}

    def _read_links(self) -> dict[str, Link]:
        with contextlib.suppress(OSError):
            if self._links is not None:
                return self._links.read()
        return {}

    def devices(self) -> tuple[DeviceCount, ...]:
        """What each device took in and sent since the beginning; of one that is new, in all."""
        found = []
        for name, link in self._read_links().items():
            before = self._devices.get(name)
            received = rise(before.received if before else 0, link.received)
            sent = rise(before.sent if before else 0, link.sent)
            found.append(DeviceCount(name, received, sent, link.xdp))
        return tuple(found)

    def no_routes(self) -> int:
        """Packets since the beginning that had no route, of both IP versions."""
        after = self._count_refused()
        return sum(rise(before, after.get(name, 0)) for name, before in self._refused.items())

    def route(self, address: str) -> Routed | None:
        """The way to an address now; None where that cannot be asked."""
        if self._links is None:
            return None
        try:
            route = self._links.route(address)
        except OSError:
            return None
        if route.refused:
            usual = os.strerror(route.refused).lower()
            return Routed(address, _REFUSED.get(route.refused, usual))
        names = {link.ifindex: name for name, link in self._read_links().items()}
        return Routed(address, "", names.get(route.ifindex, ""), local=route.local)

    def translated(self, hosts: Sequence[str]) -> tuple[Translated, ...]:
        """Connections that NAT changes and in which one of ``hosts`` is, of 20 000 at most."""
        file = self._files.get(_CONNTRACK)
        if file is None or not hosts:
            return ()
        try:
            file.seek(0)
            return parse_conntrack(file, hosts, _CONNTRACK_LINES)
        except OSError:
            return ()

    def close(self) -> None:
        """May be called again."""
        for file in self._files.values():
            file.close()
        if self._links is not None:
            self._links.close()
