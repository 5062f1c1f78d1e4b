# SPDX-License-Identifier: Apache-2.0
"""Network namespaces by path, name, process or inode, and interfaces inside them."""

from __future__ import annotations

import contextlib
import ctypes
import os
import re
import stat
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, TextIO, TypeVar

from ..errors import NotFoundError, PrivilegeError, UsageError, reason
from ..escape import escape, printable, quote
from ..facts.containers import container_name, is_machine_made
from ..facts.counters import of_device, of_driver, parse_netstat, parse_own_addresses, rises

if TYPE_CHECKING:
    from .driver_counters import DriverCounters
    from .rtnetlink import Link, Links

_T = TypeVar("_T")

_CLONE_NEWNET = 0x40000000
_AGAIN_S = 1.0
_TUNNELS = frozenset(
    (
        "vxlan", "geneve", "gre", "gretap", "ip6gre", "ip6gretap", "erspan", "ip6erspan", "ipip",
        "sit", "ip6tnl", "vti", "vti6", "xfrm", "wireguard", "gtp", "bareudp", "tun", "ovpn",
    )
)  # fmt: skip
_LOOPBACK = 1  # LOOPBACK_IFINDEX, include/net/flow.h: it has no kind, either
_NAMESPACES_MAX = 512  # whose devices are looked at
_KERNEL_THREADS = "kthreadd"  # the parent of all, in the first namespace
_PROC = "/proc"
_NAMED = ("/run/netns", "/var/run/netns")
_NSFS_MAGIC_DEVICES = "/proc/self/ns/net"


def resolve(text: str) -> tuple[int, str]:
    """Inode number of the namespace and a path to it, '' when only the number was given.

    ``text``: a path, ``inode:N``, ``pid:N`` or a name known to ``ip netns``.
    Raises NotFoundError, UsageError.
    """
    kind, colon, rest = text.partition(":")
    if colon and kind in ("inode", "pid"):
        if not re.fullmatch("[0-9]{1,10}", rest) or not 0 < int(rest) <= 0xFFFFFFFF:
            raise UsageError(
                f"cannot read network namespace {quote(text)}: {kind}: wants a number, "
                "1 to 4294967295"
            )
        if kind == "inode":
            return int(rest), _path_of(int(rest))
        return _inode(f"/proc/{rest}/ns/net", f"process {rest}"), f"/proc/{rest}/ns/net"
    if "/" in text:
        return _inode(text, text), text
    for directory in _NAMED:
        path = f"{directory}/{text}"
        if os.path.exists(path):
            return _inode(path, text), path
    known = sorted({name for d in _NAMED if os.path.isdir(d) for name in os.listdir(d)})
    raise NotFoundError(
        f"no network namespace is called {quote(text)}: "
        + (f"ip netns knows {', '.join(known)}; " if known else "")
        + "also taken are a path, inode:N and pid:N"
    )


def current_inode() -> int:
    """The namespace of this process."""
    return os.stat("/proc/self/ns/net").st_ino


class NetnsNames:
    """What people call namespaces: ``host``, a name of ``ip netns``, or a container, pod or process
    inside; and what devices in them are.

    ``host`` is that of process 1, or of the kernel's own threads. Processes and devices are looked
    at once, in the beginning, while the session may: of several processes in a namespace the oldest
    speaks, as long as it lives. Names of ``ip netns`` are read again once a second at most: a
    number means another namespace when its own is gone. One that a machine has made is used where
    there is no container.
    """

    def __init__(self, *, devices: bool = True) -> None:
        self._processes: dict[int, tuple[int, str]] = {}  # number and name, by inode number
        for pid in sorted(int(name) for name in os.listdir(_PROC) if name.isdigit()):
            with contextlib.suppress(OSError):
                inode = os.stat(f"{_PROC}/{pid}/ns/net").st_ino
                if inode not in self._processes:
                    self._processes[inode] = pid, name_by_process(pid)
        self._look()
        known = islice(self.paths(), _NAMESPACES_MAX if devices else 0)
        self._devices = {inode: Layers(_links(path)) for inode, path in known}

    def name(self, inode: int) -> str:
        """The number where nothing has a name for it, ``?`` where the kernel tells none."""
        if not inode:
            return "?"
        if time.monotonic() > self._looked_s + _AGAIN_S:
            self._look()
        return self._names.get(inode, str(inode))

    def paths(self) -> list[tuple[int, str]]:
        """Inode and path of each namespace that something leads to."""
        living = {inode: f"{_PROC}/{pid}/ns/net" for inode, (pid, _) in self._processes.items()}
        return [*(self._named | living).items()]

    def device(self, inode: int, ifname: str) -> str:
        """What it is part of or lies on, ``bridge docker0``, ``vlan on eth0``, or which tunnel it
        is, ``vxlan 42``; '' where nothing tells.
        """
        return self._devices.get(inode, _NO_LAYERS).explain(ifname)

    def outside(self, inode: int, ifname: str) -> bool:
        """Whether what the device sends leaves this host; False where nothing tells."""
        return self._devices.get(inode, _NO_LAYERS).outside(ifname)

    def above(self, inode: int, lower: int, ifindex: int) -> str:
        """The name of the device ``ifindex`` if it lay on ``lower`` in the beginning, else ''."""
        return self._devices.get(inode, _NO_LAYERS).above(lower, ifindex)

    def called(self, inode: int, ifindex: int) -> str:
        """The name that the device ``ifindex`` had in the beginning, '' unknown."""
        return self._devices.get(inode, _NO_LAYERS).called(ifindex)

    def _look(self) -> None:
        self._looked_s = time.monotonic()
        self._named = {}
        for inode, (pid, _) in list(self._processes.items()):
            if not os.path.exists(f"{_PROC}/{pid}"):
                del self._processes[inode]
        self._names = {inode: name for inode, (_, name) in self._processes.items()}
        for path in _named_paths():
            with contextlib.suppress(OSError):
                inode = os.stat(path).st_ino
                self._named[inode] = path
                name = os.path.basename(path)
                pid, known = self._processes.get(inode, (0, ""))
                contained = known and not known.endswith(f":{pid}")
                if known != "host" and not (contained and is_machine_made(name)):
                    self._names[inode] = escape(os.fsencode(name))


class Layers:
    """What the devices of a namespace are part of or lie on, and which are tunnels."""

    def __init__(self, links: Mapping[str, Link]) -> None:
        self._names = {link.ifindex: name for name, link in links.items()}
        self._hardware = {
            name for name, link in links.items() if not link.kind and link.ifindex != _LOOPBACK
        }
        self._explained: dict[str, str] = {}
        self._above: dict[int, set[int]] = {}
        for name, link in links.items():
            kind = link.kind if link.vni is None else f"{link.kind} {link.vni}"
            if link.kind in _TUNNELS:
                self._explained[name] = kind
            if link.lower in self._names and link.lower != link.ifindex:
                below = self._names[link.lower]
                self._explained[name] = printable(f"{kind} on {below}".lstrip())
                self._above.setdefault(link.lower, set()).add(link.ifindex)
            if link.master in self._names:
                master = self._names[link.master]
                self._explained[name] = printable(f"{links[master].kind} {master}".lstrip())
                self._above.setdefault(link.ifindex, set()).add(link.master)

    def explain(self, ifname: str) -> str:
        """``bridge docker0``, ``vlan on eth0``, ``vxlan 42``; '' of one that stands alone."""
        return self._explained.get(ifname, "")

    def outside(self, ifname: str) -> bool:
        """Whether it is hardware, or what a machine of its own takes for that: no other end of it
        is here."""
        return ifname in self._hardware

    def called(self, ifindex: int) -> str:
        """Its name; '' where there is none."""
        return printable(self._names.get(ifindex, ""))

    def above(self, lower: int, ifindex: int) -> str:
        """The name of ``ifindex`` if it lies on ``lower``, or on what does; else ''."""
        seen, left = {lower}, [lower]
        while left:
            found = self._above.get(left.pop(), set()) - seen
            if ifindex in found:
                return self.called(ifindex)
            seen |= found
            left += found
        return ""


_NO_LAYERS = Layers({})


def _links(path: str) -> dict[str, Link]:
    """None where they cannot be read."""
    from .rtnetlink import Links

    def read() -> dict[str, Link]:
        links = Links()
        try:
            return links.read()
        finally:
            links.close()

    try:
        return inside(path, read)
    except OSError:
        return {}


def _comm(pid: int) -> str:
    with open(f"{_PROC}/{pid}/comm", "rb") as file:
        return escape(file.read().rstrip(b"\n"))


def _groups(pid: int) -> str:
    """'' on a kernel without control groups."""
    try:
        with open(f"{_PROC}/{pid}/cgroup", encoding="utf-8", errors="replace") as file:
            return file.read()
    except FileNotFoundError:
        return ""


def name_by_process(pid: int) -> str:
    """What its namespace is called without a name of its own. Raises OSError."""
    comm = _comm(pid)
    if pid == 1 or comm == _KERNEL_THREADS:
        return "host"
    return container_name(_groups(pid)) or f"{comm}:{pid}"


def _inode(path: str, what: str) -> int:
    try:
        found = os.stat(path)
    except OSError as error:
        raise NotFoundError(f"no network namespace at {path} ({what}): {reason(error)}") from None
    if not stat.S_ISREG(found.st_mode) or found.st_dev != os.stat(_NSFS_MAGIC_DEVICES).st_dev:
        raise NotFoundError(f"{path} is no network namespace: give /proc/PID/ns/net or a name")
    return found.st_ino


def _path_of(inode: int) -> str:
    """A path that leads to the namespace ``inode``; '' when no process or name does."""
    return next((path for found, path in namespaces() if found == inode), "")


def _named_paths() -> list[str]:
    return [f"{d}/{name}" for d in _NAMED if os.path.isdir(d) for name in sorted(os.listdir(d))]


def namespaces() -> Iterator[tuple[int, str]]:
    """Inode and path of each namespace with a name or a process, each once, named ones first."""
    processes = (f"/proc/{pid}/ns/net" for pid in os.listdir("/proc") if pid.isdigit())
    seen = set()
    for path in (*_named_paths(), *processes):
        try:
            inode = os.stat(path).st_ino
        except OSError:
            continue
        if inode not in seen:
            seen.add(inode)
            yield inode, path


class Paths:
    """What leads to namespaces. ``known``: by inode number, as it was when last looked for."""

    def __init__(self) -> None:
        self.known = dict(namespaces())

    def find(self, inode: int) -> str:
        """A path that leads there now. Raises FileNotFoundError."""
        if not _leads(self.known.get(inode, ""), inode):
            self.known = dict(namespaces())
        if inode not in self.known:
            raise FileNotFoundError(2, "its namespace is gone, or nothing leads to it")
        return self.known[inode]


def _leads(path: str, inode: int) -> bool:
    try:
        return os.stat(path).st_ino == inode
    except OSError:
        return False


def ifindex(name: str, path: str, what: str) -> int:
    """Index of the interface with that name or alternative name, in a namespace.

    ``path`` leads to the namespace, '' stands for the own one;
    ``what`` names the namespace in messages. Raises NotFoundError, PrivilegeError.
    """
    from .rtnetlink import interface_index

    try:
        return inside(path, lambda: interface_index(name))
    except PermissionError as error:
        raise PrivilegeError(
            f"cannot look into network namespace {what}: {str(error.strerror).lower()}, "
            "missing CAP_SYS_ADMIN",
            ("CAP_SYS_ADMIN",),
        ) from None
    except OSError:
        raise NotFoundError(f"no interface {quote(name)} in {what}: see ip link") from None


@dataclass(frozen=True, slots=True)
class _Sources:
    """``counted``: files of counters. ``addresses``: the one that has the own addresses."""

    counted: tuple[TextIO, ...]
    addresses: TextIO
    links: Links
    drivers: DriverCounters


class Counters:
    """Counters of losses that are no drops, in the namespace that ``path`` leads to, '' the own.

    The files stay open, as a session gives up the right to enter a namespace.
    """

    def __init__(self, path: str) -> None:
        from .driver_counters import DriverCounters
        from .rtnetlink import Links

        def look() -> _Sources:
            counted = _own_file("netstat"), _own_file("snmp")
            return _Sources(counted, _own_file("fib_trie"), Links(), DriverCounters())

        try:
            self._sources: _Sources | None = inside(path, look)
        except OSError:
            self._sources = None
        self._links: dict[str, Link] = {}
        self._before = self._read()

    def _read(self) -> dict[str, int]:
        """Nothing where they cannot be read."""
        sources = self._sources
        if sources is None:
            return {}
        found: dict[str, int] = {}
        try:
            for file in sources.counted:
                file.seek(0)
                found |= parse_netstat(file.read())
            self._links = sources.links.read()
            for name, link in self._links.items():
                found |= of_device(name, link.errors, link.overruns, link.missed)
            for name, told in sources.drivers.losses(self._links).items():
                found |= of_driver(name, told)
        except OSError:
            return {}
        return found

    def rises(self) -> dict[str, int]:
        """What rose since the beginning."""
        return rises(self._before, self._read())

    def xdp_programs(self) -> dict[str, int]:
        """Numbers of the XDP programs in drivers, by interface; what they drop is no packet yet."""
        return {name: link.xdp for name, link in self._links.items() if link.xdp}

    def own_addresses(self) -> set[str]:
        """IPv4 addresses of the namespace now; none where they cannot be read."""
        if self._sources is None:
            return set()
        try:
            self._sources.addresses.seek(0)
            return parse_own_addresses(self._sources.addresses.read())
        except OSError:
            return set()

    def close(self) -> None:
        sources = self._sources
        if sources is not None:
            for file in (*sources.counted, sources.addresses):
                file.close()
            sources.links.close()
            sources.drivers.close()


def _own_file(name: str) -> TextIO:
    return open(f"/proc/thread-self/net/{name}", encoding="utf-8", errors="replace")


def inside(path: str, look: Callable[[], _T]) -> _T:
    """What ``look`` finds in the namespace that ``path`` leads to, '' the own; it runs in a thread
    of its own. Raises the OSError that it raises."""
    found: list[_T] = []
    failed: list[OSError] = []

    def run() -> None:
        try:
            if path:
                enter(path)
            found.append(look())
        except OSError as error:
            failed.append(error)

    # setns(2) moves one thread: a throw-away one goes, this one stays where it is.
    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


def enter(path: str) -> None:
    """Moves the calling thread into the namespace at ``path`` (setns(2)). Raises OSError."""
    libc = ctypes.CDLL(None, use_errno=True)
    with open(path) as namespace:
        if libc.setns(namespace.fileno(), _CLONE_NEWNET):
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
