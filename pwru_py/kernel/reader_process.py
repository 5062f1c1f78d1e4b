# SPDX-License-Identifier: Apache-2.0
"""The process behind ``pwru_py.kernel.reader``: goes into namespaces, reads, answers.

It holds no namespace open, so each goes when it would have gone without a tracer.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from typing import Any

from ..facts.proc_counters import FILES, all_of
from . import readings
from .device_readings import driver_losses, queue_drops
from .netns import NetnsNames, Paths, current_inode, enter, name_by_process
from .reader import READY

_NAMESPACES_MAX = 128  # whose counters are read before
_BEFORE_S = 2.0
_ELSEWHERE_MAX, _ELSEWHERE_S = 64, 0.5
_QUESTION_S = 1.5
_OF_THE_MACHINE = frozenset(
    (
        "stat/arp_cache",
        "stat/ndisc_cache",
        "net/ipv4/neigh/default/gc_thresh3",
        "net/ipv6/neigh/default/gc_thresh3",
        "net/core/netdev_max_backlog",
        "net/core/flow_limit_cpu_bitmap",
        "net/core/rmem_max",
        "net/ipv4/udp_mem",
        "net/ipv4/tcp_mem",
    )
)
"""Counters and settings that a namespace of its own may lack."""
_LISTEN_STATE = "0A"


class Process:
    """``only``: the one namespace that matters, 0: all."""

    def __init__(self, only: int) -> None:
        self._own = self._here = current_inode()
        self._home = "/proc/self/ns/net"
        self._paths = Paths()
        self._names = NetnsNames(devices=False)
        self._before: dict[int, dict[str, int]] = {}
        until_s = 0.0
        for inode in [only] if only else [self._own, *self._paths.known][:_NAMESPACES_MAX]:
            if until_s and time.monotonic() > until_s:
                break
            with contextlib.suppress(OSError):
                self._go(inode)
                self._before.setdefault(inode, self._counters())
            # The first reading imports pyroute2, which takes seconds where the machine is slow.
            until_s = until_s or time.monotonic() + _BEFORE_S

    def _go(self, inode: int) -> None:
        """Raises OSError where nothing leads there, or it may not."""
        if inode == self._here:
            return
        enter(self._paths.find(inode))
        self._here = inode

    def _counters(self) -> dict[str, int]:
        texts = {}
        for name in FILES:
            # The tables of neighbours are the whole machine's, and the first namespace alone tells.
            for whose in ("thread-self", "1") if name in _OF_THE_MACHINE else ("thread-self",):
                with contextlib.suppress(OSError):
                    with open(f"/proc/{whose}/net/{name}", errors="replace") as file:
                        texts[name] = file.read()
                        break
        return all_of(texts) | queue_drops() | driver_losses()

    def answer(self, question: dict[str, Any]) -> dict[str, Any]:
        """``error``: why nothing could be read; else ``values`` and the counters."""
        told: dict[str, Any] = {"id": question["id"], "values": [], "error": "", "name": ""}
        until_s = time.monotonic() + _QUESTION_S
        inode = question["netns"]
        try:
            self._go(inode)
        except OSError as error:
            told["error"] = _why(error)
            return told
        told["name"] = self._called(inode)
        for kind, args in question["readings"]:
            late = time.monotonic() > until_s
            told["values"].append(None if late else self._value(inode, kind, args))
        self._go(inode)
        if question.get("counters"):
            told["before"], told["after"] = self._before.get(inode), self._counters()
        return told

    def _called(self, inode: int) -> str:
        """What people call it, '' where nothing tells; by its process where that came later."""
        name = self._names.name(inode)
        if name != str(inode):
            return name
        path = self._paths.known.get(inode, "")
        with contextlib.suppress(OSError):
            return name_by_process(int(path.split("/")[2])) if path.startswith("/proc/") else ""
        return ""

    def _value(self, inode: int, kind: str, args: list[Any]) -> Any:
        if kind == "elsewhere":
            return self._elsewhere(inode, *args)
        if kind == "sysctl" and args[0] in _OF_THE_MACHINE:
            return self._machine_setting(inode, *args)
        if kind == "peer":
            with contextlib.suppress(OSError):
                return self._peer(inode, *args)
            return None
        return readings.answer(kind, args)

    def _elsewhere(self, here: int, proto: int, port: int) -> list[str]:
        """Names of other namespaces in which a socket listens at the port."""
        found, until_s = [], time.monotonic() + _ELSEWHERE_S
        for inode in list(self._paths.known)[:_ELSEWHERE_MAX]:
            if inode == here or time.monotonic() > until_s:
                continue
            with contextlib.suppress(OSError):
                self._go(inode)
                if _open_here(proto, port):
                    found.append(self._called(inode))
        self._go(here)
        return found

    def _machine_setting(self, here: int, name: str) -> Any:
        """As the namespace has it; where it has none, as the one that the tracer began in."""
        value = readings.answer("sysctl", [name])
        if value is None:
            with contextlib.suppress(OSError):
                self._go(self._own)
                value = readings.answer("sysctl", [name])
            self._go(here)
        return value

    def _peer(self, here: int, ifname: str) -> dict[str, Any] | None:
        """The other end of a pair: ``name``, ``netns``, what people call its namespace, ``mtu`` and
        whether it is ``up``. None of what is no pair, or where nothing leads to its namespace.
        """
        end = readings.answer("other_end", [ifname])
        inode = here if end is None or end["nsid"] is None else self._by_number(end["nsid"])
        if end is None or not inode:
            return None
        self._go(inode)
        told = readings.answer("device", [end["ifindex"]])
        self._go(here)
        return None if told is None else {**told, "netns": self._called(inode)}

    def _by_number(self, nsid: int) -> int:
        """The namespace that has this number where the process is now; 0: none is known."""
        known = list(self._paths.known.items())[:_ELSEWHERE_MAX]
        for inode, path in known:
            with contextlib.suppress(OSError), open(path) as file:
                if readings.answer("namespace_number", [file.fileno()]) == nsid:
                    return inode
        return 0


def _open_here(proto: int, port: int) -> bool:
    wanted = f":{port:04X}"
    for name in ("tcp", "tcp6") if proto == 6 else ("udp", "udp6"):
        with contextlib.suppress(OSError):
            with open(f"/proc/thread-self/net/{name}") as file:
                for line in file:
                    columns = line.split()
                    listens = proto != 6 or columns[3] == _LISTEN_STATE
                    if columns[1].endswith(wanted) and listens:
                        return True
    return False


def _why(error: OSError) -> str:
    if isinstance(error, PermissionError):
        return "may not enter its namespace: missing CAP_SYS_ADMIN"
    return str(error.strerror).lower()


def main() -> None:
    """Answers until standard input ends."""
    process = Process(int(sys.argv[1]))
    print(READY, flush=True)
    for line in sys.stdin:
        print(json.dumps(process.answer(json.loads(line))), flush=True)
