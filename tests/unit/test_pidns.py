# SPDX-License-Identifier: Apache-2.0
"""Who is gone for certain, against a /proc of plain files."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from pwru_py.kernel import pidns
from pwru_py.kernel.pidns import Living, Process, this_process


class Proc:
    """A /proc; a namespace is a file there, known by its inode."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.path = str(root / "proc")
        (root / "proc").mkdir()
        self.own = self.namespace("own")
        self.process(os.getpid(), self.own)
        self.show_self(os.getpid())

    def show_self(self, pid: int) -> None:
        (self.root / "proc" / "self").unlink(missing_ok=True)
        (self.root / "proc" / "self").symlink_to(str(pid))

    def namespace(self, name: str) -> int:
        (self.root / name).touch()
        return (self.root / name).stat().st_ino

    def process(self, pid: int, namespace: int, *numbers: int, state: str = "S") -> None:
        (file,) = (f for f in self.root.iterdir() if f.stat().st_ino == namespace)
        place = self.root / "proc" / str(pid)
        (place / "ns").mkdir(parents=True)
        (place / "ns" / "pid").symlink_to(file)
        nspid = "\t".join(map(str, (pid, *numbers)))
        status = f"Name:\tx\nState:\t{state} (s)\nNSpid:\t{nspid}\nKthread:\t0\n"
        (place / "status").write_text(status)


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path)


def test_this_process_lives() -> None:
    me = this_process()
    living = Living()
    assert me.pid == os.getpid()
    assert not living.is_gone(me)
    assert living.is_gone(me._replace(pid=2**22 + 1))


def test_in_the_own_namespace_and_one_within(proc: Proc) -> None:
    inner = proc.namespace("inner")
    proc.process(4711, inner, 7)
    living = Living(proc.path)
    assert not living.is_gone(Process(inner, 7))
    assert living.is_gone(Process(inner, 4711)), "its number out here"
    assert living.is_gone(Process(inner, 8))
    assert living.is_gone(Process(proc.own, 7))


def test_a_zombie_lives_no_more(proc: Proc) -> None:
    inner = proc.namespace("inner")
    proc.process(4711, inner, 1)
    proc.process(4712, inner, 7, state="Z")
    proc.process(4713, proc.own, state="Z")
    living = Living(proc.path)
    assert living.is_gone(Process(inner, 7))
    assert living.is_gone(Process(proc.own, 4713))
    assert not living.is_gone(Process(inner, 1))


def test_a_namespace_that_cannot_be_seen_into(proc: Proc, monkeypatch: pytest.MonkeyPatch) -> None:
    other = Process(proc.namespace("other"), 7)
    assert not Living(proc.path).is_gone(other)
    monkeypatch.setattr(pidns, "_INITIAL", proc.own)
    assert Living(proc.path).is_gone(other), "the initial one sees into all that are left"


def test_another_namespaces_proc_tells_nothing(proc: Proc) -> None:
    proc.process(1, proc.own)
    proc.show_self(1)
    assert not Living(proc.path).is_gone(Process(proc.own, 7))


@pytest.mark.parametrize(("number", "told"), [(errno.ESRCH, True), (errno.EACCES, False)])
def test_a_process_that_ends_or_hides(
    proc: Proc, number: int, told: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    proc.process(4711, proc.own)
    innermost = Living._innermost

    def refuse(self: Living, pid: int) -> Process:
        if pid == 4711:
            raise OSError(number, "refused")
        return innermost(self, pid)

    monkeypatch.setattr(Living, "_innermost", refuse)
    monkeypatch.setattr(pidns, "_INITIAL", proc.own)
    assert Living(proc.path).is_gone(Process(proc.namespace("other"), 7)) == told
    assert Living(proc.path).is_gone(Process(proc.own, 7)), "which numbers are taken, all may see"
