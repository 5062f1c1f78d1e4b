# SPDX-License-Identifier: Apache-2.0
"""What network namespaces are called while they come and go."""

from __future__ import annotations

import os
import subprocess

import pytest

from pwru_py.kernel import netns
from pwru_py.kernel.cgroup import own_group
from pwru_py.kernel.netns import NetnsNames, Paths
from tests.native.net import Net


def test_a_number_loses_its_name_with_the_namespace(
    net: Net, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The kernel gives the number to the next one, which is not called so."""
    monkeypatch.setattr(netns, "_AGAIN_S", 0.0)
    named, inode = os.path.basename(net.netns("b")), net.inode("b")
    inside = subprocess.Popen(["unshare", "-n", "cat"], stdin=subprocess.PIPE)
    own = f"/proc/{inside.pid}/ns/net"
    while os.stat(own).st_ino == netns.current_inode() or b"cat" not in comm(inside.pid):
        pass
    unnamed = os.stat(own).st_ino
    names, paths = NetnsNames(devices=False), Paths()
    assert [names.name(number) for number in (inode, unnamed)] == [named, f"cat:{inside.pid}"]
    assert [paths.find(number) for number in (inode, unnamed)] == [net.netns("b"), own]
    inside.communicate()
    assert [names.name(number) for number in (inode, unnamed)] == [named, str(unnamed)]
    with pytest.raises(FileNotFoundError):
        paths.find(unnamed)


def test_a_container_names_its_namespace() -> None:
    """By the group that Docker gives it with systemd."""
    digits = f"{os.getpid():012x}" + "0a" * 26
    with own_group() as group:
        scope = f"{group}/docker-{digits}.scope"
        os.mkdir(scope)
        join = f"echo $$ > {scope}/cgroup.procs && exec unshare -n cat"
        contained = subprocess.Popen(
            ["/bin/sh", "-c", join], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            assert contained.stdin is not None
            assert contained.stdout is not None
            contained.stdin.write(b"\n")
            contained.stdin.flush()
            assert contained.stdout.read(1) == b"\n", "it is inside, and runs"
            inode = os.stat(f"/proc/{contained.pid}/ns/net").st_ino
            assert inode != netns.current_inode()
            assert NetnsNames(devices=False).name(inode) == f"docker:{digits[:12]}"
        finally:
            contained.communicate()
            os.rmdir(scope)


def comm(pid: int) -> bytes:
    with open(f"/proc/{pid}/comm", "rb") as file:
        return file.read()
