# SPDX-License-Identifier: Apache-2.0
"""What network namespaces are called while they come and go."""

from __future__ import annotations

import os
import subprocess

import pytest

from pwru_py.kernel import netns
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


def comm(pid: int) -> bytes:
    with open(f"/proc/{pid}/comm", "rb") as file:
        return file.read()
