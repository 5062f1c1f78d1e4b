# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import errno
import os
import socket
from pathlib import Path

import pytest

from pwru_py.errors import NotFoundError, PrivilegeError, UsageError
from pwru_py.kernel import netns
from pwru_py.kernel.rtnetlink import Link

OWN = "/proc/self/ns/net"
INODE = os.stat(OWN).st_ino
BY_PID = f"/proc/{os.getpid()}/ns/net"


@pytest.fixture
def named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The directory of ``ip netns``, with links where that has bind mounts."""
    (tmp_path / "blue").symlink_to(OWN)
    (tmp_path / "broken").symlink_to("/nowhere")
    (tmp_path / "file").write_text("")
    (tmp_path / "folder").mkdir()
    monkeypatch.setattr(netns, "_NAMED", (str(tmp_path), str(tmp_path / "absent")))
    return tmp_path


def test_ways_to_name_a_namespace(named: Path) -> None:
    assert netns.resolve(OWN) == (INODE, OWN)
    assert netns.resolve(f"pid:{os.getpid()}") == (INODE, BY_PID)
    assert netns.resolve("blue") == (INODE, f"{named}/blue")
    assert netns.resolve(f"{named}/blue") == (INODE, f"{named}/blue")
    assert netns.current_inode() == INODE


def test_an_inode_and_a_path_to_it(named: Path) -> None:
    assert netns.resolve(f"inode:{INODE}") == (INODE, f"{named}/blue")
    (named / "blue").unlink()
    inode, path = netns.resolve(f"inode:{INODE}")
    assert inode == os.stat(path).st_ino == INODE
    assert path.startswith("/proc/")
    assert netns.resolve("inode:4294967295") == (0xFFFFFFFF, "")


@pytest.mark.parametrize("kind", ["inode", "pid"])
@pytest.mark.parametrize(
    "number", ["", "x", "-1", "1.5", "0", "²", "4294967296", "99999999999999999999", "1" * 5000]
)
def test_numbers_that_are_none(kind: str, number: str) -> None:
    with pytest.raises(UsageError, match=f"{kind}: wants a number") as raised:
        netns.resolve(f"{kind}:{number}")
    assert raised.value.exit_status == 2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("red", "no network namespace is called 'red': ip netns knows blue, broken, file, folder"),
        ("broken", "no network namespace is called 'broken'"),
        ("file", "/file is no network namespace"),
        ("folder", "/folder is no network namespace"),
        ("..", "is no network namespace"),
        ("/nowhere", "no network namespace at /nowhere (/nowhere): no such file or directory"),
        ("/proc/self/ns/", "/proc/self/ns/ is no network namespace"),
        ("/etc/passwd", "/etc/passwd is no network namespace"),
        ("pid:4294967295", "(process 4294967295): no such file or directory"),
        ("other:5", "no network namespace is called 'other:5'"),
        ("", "is no network namespace"),
    ],
)
def test_what_is_not_there(text: str, message: str, named: Path) -> None:
    with pytest.raises(NotFoundError) as raised:
        netns.resolve(text)
    assert message in str(raised.value)
    assert "\n" not in str(raised.value)
    assert raised.value.exit_status == 1


def test_no_named_namespaces_at_all(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "_NAMED", ("/nowhere",))
    with pytest.raises(NotFoundError, match="is called 'red': also taken are a path, inode:N"):
        netns.resolve("red")


def test_an_interface_here() -> None:
    assert netns.ifindex("lo", "", "this network namespace") == socket.if_nametoindex("lo")


@pytest.mark.parametrize("name", ["absent0", "x" * 99, "nul\0"])
def test_an_interface_that_is_not_there(name: str) -> None:
    with pytest.raises(NotFoundError, match=r"no interface .* in blue: see ip link"):
        netns.ifindex(name, "", "blue")


def test_the_thread_that_looks_elsewhere_is_not_this_one(monkeypatch: pytest.MonkeyPatch) -> None:
    import threading

    entered: list[tuple[str, int]] = []
    monkeypatch.setattr(
        netns, "enter", lambda path: entered.append((path, threading.get_native_id()))
    )
    assert netns.ifindex("lo", "/run/netns/blue", "blue") > 0
    ((path, thread),) = entered
    assert path == "/run/netns/blue"
    assert thread != threading.get_native_id()


def test_a_namespace_that_may_not_be_entered(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(path: str) -> None:
        raise OSError(errno.EPERM, os.strerror(errno.EPERM))

    monkeypatch.setattr(netns, "enter", refuse)
    with pytest.raises(PrivilegeError, match="missing CAP_SYS_ADMIN") as raised:
        netns.ifindex("lo", "/run/netns/blue", "blue")
    assert raised.value.missing == ("CAP_SYS_ADMIN",)


def test_what_lies_on_a_device() -> None:
    layers = netns.Layers(
        {
            "lo": Link(0, 0, 0, ifindex=1),
            "eth0": Link(0, 0, 0, ifindex=2, master=5),
            "eth1": Link(0, 0, 0, ifindex=3, master=5),
            "bond0": Link(0, 0, 0, ifindex=5, kind="bond"),
            "bond0.7": Link(0, 0, 0, ifindex=6, master=7, lower=5, kind="vlan"),
            "blue": Link(0, 0, 0, ifindex=7, kind="vrf"),
            "self": Link(0, 0, 0, ifindex=8, lower=8, kind="sit"),
            "gone": Link(0, 0, 0, ifindex=9, master=99, lower=98, kind="vlan"),
            "vx": Link(0, 0, 0, ifindex=10, lower=2, kind="vxlan", vni=0),
            "wg": Link(0, 0, 0, ifindex=11, kind="wireguard"),
            "port": Link(0, 0, 0, ifindex=12, master=5, kind="geneve", vni=7),
        }
    )
    names = ("eth0", "bond0", "bond0.7", "blue", "self", "gone", "vx", "wg", "port", "other")
    assert [layers.explain(name) for name in names] == [
        "bond bond0", "", "vrf blue", "", "sit", "", "vxlan 0 on eth0", "wireguard", "bond bond0",
        "",
    ]  # fmt: skip
    assert [layers.above(3, ifindex) for ifindex in (2, 3, 5, 6, 7, 8, 9)] == [
        "", "", "bond0", "bond0.7", "blue", "", "",
    ]  # fmt: skip
    assert layers.above(7, 5) == layers.above(0, 5) == ""
    assert [name for name in ("lo", *names) if layers.outside(name)] == ["eth0"]
