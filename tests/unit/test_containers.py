# SPDX-License-Identifier: Apache-2.0
"""Containers and pods by control groups, and what their network namespaces are called."""

from __future__ import annotations

from pathlib import Path

import pytest

from pwru_py.facts.containers import container_name, is_machine_made
from pwru_py.kernel import netns
from pwru_py.kernel.netns import NetnsNames

ID = "3f2a4b5c6d7e" + "08" * 26
OTHER = "ab" * 32
UID = "0a1b2c3d-1111-2222-3333-444455556666"
SLICE = (
    f"/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-pod{UID.replace('-', '_')}.slice"
)


@pytest.mark.parametrize(
    ("path", "name"),
    [
        (f"/system.slice/docker-{ID}.scope", "docker:3f2a4b5c6d7e"),
        (f"/docker/{ID}", "container:3f2a4b5c6d7e"),
        (f"/machine.slice/libpod-{ID}.scope/container", "podman:3f2a4b5c6d7e"),
        (
            f"/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-{ID}.scope",
            "podman:3f2a4b5c6d7e",
        ),
        (f"/system.slice/nerdctl-{ID}.scope", "containerd:3f2a4b5c6d7e"),
        (f"/system.slice/cri-containerd-{ID}.scope", "containerd:3f2a4b5c6d7e"),
        (f"/system.slice/crio-{ID}.scope", "cri-o:3f2a4b5c6d7e"),
        (f"/docker/{OTHER}/system.slice/docker-{ID}.scope/init", "docker:3f2a4b5c6d7e"),
        (f"{SLICE}/cri-containerd-{ID}.scope", f"pod:{UID}"),
        (f"{SLICE}/crio-{ID}.scope/container", f"pod:{UID}"),
        (f"{SLICE}:cri-containerd:{ID}", f"pod:{UID}"),
        (
            f"/system.slice/containerd.service/{SLICE.split('/')[-1]}:cri-containerd:{ID}",
            f"pod:{UID}",
        ),
        (f"/kubepods/besteffort/pod{UID}/{ID}", f"pod:{UID}"),
        (f"/kubepods.slice/kubepods-pod{'5f' * 16}.slice/crio-{ID}.scope", f"pod:{'5f' * 16}"),
        (f"/docker/{OTHER}/kubelet.slice{SLICE}/cri-containerd-{ID}.scope", f"pod:{UID}"),
        (f"{SLICE}/cri-containerd-{OTHER}.scope/docker/{ID}", f"pod:{UID}"),
    ],
)
def test_where_container_engines_put_them(path: str, name: str) -> None:
    assert container_name(f"0::{path}\n") == name
    assert container_name(f"12:cpu,cpuacct:/\n3:name=systemd:{path}\n0::/\n") == name


@pytest.mark.parametrize(
    "path",
    [
        "/",
        "/init.scope",
        "/user.slice/user-0.slice/session-1.scope",
        f"/machine.slice/libpod-conmon-{ID}.scope",
        f"/system.slice/crio-conmon-{ID}.scope",
        f"/system.slice/docker-{ID[:63]}.scope",
        f"/system.slice/docker-{ID.upper()}.scope",
        f"/docker/{ID}0",
        f"/docker/{ID}.service",
        SLICE,
    ],
)
def test_where_there_is_none(path: str) -> None:
    assert container_name(f"0::{path}\n") == ""


def test_names_that_tell_nobody() -> None:
    assert is_machine_made(f"cni-{UID}")
    assert is_machine_made(UID)
    for name in ("web", "cni-web", f"web-{UID}", ID, "cni-"):
        assert not is_machine_made(name)


class Proc:
    """Processes in namespaces, which are files here; ``named``: the directory of ``ip netns``."""

    def __init__(self, root: Path) -> None:
        self.root = root / "proc"
        self.named = root / "netns"
        for folder in ("proc/1", "netns", "namespaces"):
            (root / folder).mkdir(parents=True)

    def _namespace(self, name: str) -> Path:
        path = self.named.parent / "namespaces" / name
        path.touch()
        return path

    def inode(self, name: str) -> int:
        return self._namespace(name).stat().st_ino

    def process(self, pid: int, namespace: str, comm: str, group: str | None = "/") -> None:
        own = self.root / str(pid)
        (own / "ns").mkdir(parents=True)
        (own / "ns/net").symlink_to(self._namespace(namespace))
        (own / "comm").write_text(f"{comm}\n")
        if group is not None:
            (own / "cgroup").write_text(f"0::{group}\n")

    def name(self, namespace: str, called: str) -> None:
        (self.named / called).symlink_to(self._namespace(namespace))


@pytest.fixture
def proc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proc:
    made = Proc(tmp_path)
    monkeypatch.setattr(netns, "_PROC", str(made.root))
    monkeypatch.setattr(netns, "_NAMED", (str(made.named),))
    return made


def test_namespaces_of_containers_have_their_names(proc: Proc) -> None:
    proc.process(1, "first", "systemd")
    proc.process(40, "first", "nginx", f"/system.slice/docker-{OTHER}.scope")  # --network host
    proc.process(50, "docker", "nginx", f"/system.slice/docker-{ID}.scope")
    proc.process(60, "docker", "tcpdump")  # nsenter: the oldest speaks
    proc.process(70, "pod", "pause", f"{SLICE}/cri-containerd-{ID}.scope")
    proc.process(71, "pod", "nginx", f"{SLICE}/cri-containerd-{OTHER}.scope")
    proc.name("pod", f"cni-{UID}")
    proc.process(80, "called", "nginx", f"/system.slice/docker-{ID}.scope")
    proc.name("called", "web")
    proc.process(90, "process", "unshare")
    proc.process(95, "without groups", "cat", None)
    proc.process(97, "machine", "cat")
    proc.name("machine", UID)
    proc.name("empty", f"cni-{UID}2")
    names = NetnsNames(devices=False)
    assert {
        each: names.name(proc.inode(each))
        for each in (
            "first",
            "docker",
            "pod",
            "called",
            "process",
            "without groups",
            "machine",
            "empty",
        )
    } == {
        "first": "host",
        "docker": "docker:3f2a4b5c6d7e",
        "pod": f"pod:{UID}",
        "called": "web",
        "process": "unshare:90",
        "without groups": "cat:95",
        "machine": UID,
        "empty": f"cni-{UID}2",
    }
