# SPDX-License-Identifier: Apache-2.0
"""Which container or pod a process belongs to, by its control groups. Pure.

Docker, Podman, containerd and CRI-O name the group of a container by its id, 64 hexadecimal digits:
``docker-ID.scope``, ``libpod-ID.scope``, ``cri-containerd-ID.scope``, ``crio-ID.scope``, or ``ID``
alone where systemd does not make the group. Kubernetes has a group for each pod above those.
"""

from __future__ import annotations

import re

_RUNTIMES = {
    "docker": "docker",
    "libpod": "podman",
    "nerdctl": "containerd",
    "cri-containerd": "containerd",
    "crio": "cri-o",
}
_SHORT = 12  # digits, as docker ps shows
_CONTAINER = re.compile(
    rf"(?:(?P<runtime>{'|'.join(_RUNTIMES)})[-:])?(?P<id>[0-9a-f]{{64}})(?:\.scope)?"
)
_POD = re.compile(r"(?:kubepods-(?:\w+-)?)?pod(?P<uid>[0-9a-f]{8}[0-9a-f_-]{24,28})(?:\.slice)?")
_MACHINE_MADE = re.compile(r"(?:cni-)?[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}")


def container_name(text: str) -> str:
    """``docker:3f2a4b5c6d7e``, or ``pod:UID``, whose containers share a network namespace.

    ``text``: of /proc/PID/cgroup, lines of ``NUMBER:CONTROLLERS:/PATH``. '' for a process in none.
    """
    for line in text.splitlines():
        parts = line.split(":", 2)[-1].split("/")
        for index in reversed(range(len(parts))):  # of one in another one, the inner
            _, joined, after = parts[index].partition(":")  # SLICE:PREFIX:ID, where runc splits it
            found = _CONTAINER.fullmatch(parts[index]) or (joined and _CONTAINER.fullmatch(after))
            if found:
                return _pod(parts[: index + 1]) or _short(found)
    return ""


def _short(found: re.Match[str]) -> str:
    return f"{_RUNTIMES.get(found['runtime'], 'container')}:{found['id'][:_SHORT]}"


def _pod(parts: list[str]) -> str:
    """Of the group next to the container's that is a pod's: systemd has ``_`` for ``-``."""
    for part in reversed(parts):
        found = _POD.fullmatch(part.partition(":")[0])
        if found:
            return f"pod:{found['uid'].replace('_', '-')}"
    return ""


def is_machine_made(name: str) -> bool:
    """Whether a name of ``ip netns`` is one that CNI or CRI-O has made, which tells nobody."""
    return _MACHINE_MADE.fullmatch(name) is not None
