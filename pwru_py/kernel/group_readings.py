# SPDX-License-Identifier: Apache-2.0
"""BPF programs of control groups that judge packets; as in ``readings``.

Layouts: include/uapi/linux/bpf.h, include/uapi/linux/inet_diag.h.
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator
from typing import Any

from . import loaded
from .cgroup import hierarchy
from .netlink import MOST

_PLACES = {"ingress": 0, "egress": 1}  # BPF_CGROUP_INET_INGRESS, _EGRESS
_ROOT = 1  # the number of the group that has all others in it
_GROUPS_MAX = 4096
_ALL_STATES = 0xFFFFFFFF


def group_programs(place: str, proto: int, port: int) -> dict[str, Any]:
    """Programs of cgroup v2 at ``place``, ``ingress`` or ``egress``.

    ``known``: whether a socket is at the local port, whatever its state. ``programs``: those that
    packets of such sockets meet; where none is known those of every group: ``name``, ``id``,
    ``group``: its path, '' above what this process may see. ``whole``: it sees all groups.
    """
    kind, wanted = _PLACES[place], _groups_of_sockets(proto, port)
    own: dict[int, str] = {}
    met: list[int] = []
    with hierarchy() as root:
        groups, whole = _groups(root)
        for group in groups:
            with contextlib.suppress(FileNotFoundError), _opened(group) as fd:
                for number in loaded.query(fd, kind):
                    own.setdefault(number, group[len(root) :] or "/")
                if os.fstat(fd).st_ino in wanted:
                    met += loaded.query(fd, kind, effective=True)
    numbers = list(dict.fromkeys(met if wanted else own))[:MOST]
    programs = [
        {"name": loaded.program_name(number), "id": number, "group": own.get(number, "")}
        for number in numbers
    ]
    return {"known": bool(wanted), "programs": programs, "whole": whole}


@contextlib.contextmanager
def _opened(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield fd
    finally:
        os.close(fd)


def _groups(root: str) -> tuple[list[str], bool]:
    """Directories, each behind the one that it lies in; and whether they are all that exist."""
    found = [root]
    for group in found:  # grows meanwhile
        with contextlib.suppress(FileNotFoundError), os.scandir(group) as entries:
            found += [one.path for one in entries if one.is_dir(follow_symlinks=False)]
        if len(found) > _GROUPS_MAX:
            return found[:_GROUPS_MAX], False
    return found, os.stat(root).st_ino == _ROOT


def _groups_of_sockets(proto: int, port: int) -> set[int]:
    """Numbers of the groups of the sockets at a local port (5.9); none without a port."""
    from pyroute2.netlink.diag import DiagSocket

    found: set[int] = set()
    if not port:
        return found
    with DiagSocket() as diag:
        for family in (socket.AF_INET, socket.AF_INET6):
            for one in diag.get_sock_stats(
                family=family, protocol=proto, states=_ALL_STATES, sport=port
            ):
                group = one.get_attr("INET_DIAG_CGROUP_ID")
                if one["idiag_sport"] == port and group:
                    found.add(group)
    return found
