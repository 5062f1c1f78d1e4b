# SPDX-License-Identifier: Apache-2.0
"""Kprobe events against a tracefs of plain files: what is written, and what is cleaned up."""

from __future__ import annotations

import errno
import os
from pathlib import Path
from typing import Any, cast

import pytest

from pwru_py.attach import kprobe_events as events
from pwru_py.attach.kprobe_events import Definitions, KprobeEvents
from pwru_py.attach.probes import Skipped
from pwru_py.errors import AttachError
from pwru_py.kernel import bpf, perf
from pwru_py.kernel.libbpf import Link, Program
from pwru_py.kernel.wake import Wake
from pwru_py.plan.functions import Target

BASE = 0xFFFFFFFF81000000
TARGETS = [Target(f"f{n}", "", BASE + 0x100 * n, 1, 0) for n in range(1, 6)]
CALL, ENDBR_AND_CALL = 5, 9
NAMESPACE = os.stat("/proc/self/ns/pid").st_ino
GONE = 2**22 + 1  # no process has that number


class Kernel(Definitions):
    """Answers as the kernel does; ``refuse``: offset from the base to errno."""

    def __init__(self, tracefs: Path) -> None:
        super().__init__(str(tracefs), BASE)
        self.refuse: dict[int, int] = {}
        self.there: dict[str, list[int]] = {}
        self.busy: set[str] = set()
        self.enabled: list[str] = []
        self.written: list[int] = []

    def _write(self, line: bytes) -> None:
        kind, _, rest = line.decode().partition(":")
        name, _, place = rest.strip().partition(" ")
        if kind == "-":
            if name in self.busy:
                raise OSError(errno.EBUSY, "busy")
            offsets = self.there.get(name, [])
            if int(place.split("+")[1]) not in offsets:
                raise OSError(errno.ENOENT, "no entry")
            offsets.remove(int(place.split("+")[1]))
            if not offsets:
                del self.there[name]
            return
        base, offset = place.split("+")
        assert kind in ("p", "r64")
        assert base == "_stext"
        if int(offset) in self.refuse:
            raise OSError(self.refuse[int(offset)], "refused")
        self.there.setdefault(name, []).append(int(offset))
        self.written.append(int(offset))


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Kernel:
    kernel = Kernel(tmp_path)

    def enable(name: str) -> int:
        if name in kernel.busy:
            raise AttachError("busy", errno.EBUSY)
        kernel.enabled.append(name)
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(kernel, "enable", enable)
    return kernel


class FakeLink:
    def __init__(self, fd: int) -> None:
        self.fd = fd

    def destroy(self) -> None:
        os.close(self.fd)


class FakeProgram:
    fd = 0

    def attach_perf_event(self, fd: int) -> Link:
        return cast(Link, FakeLink(fd))


PROGRAM = cast(Program, FakeProgram())


def attached(kernel: Kernel, **changes: Any) -> KprobeEvents:
    probes = KprobeEvents(TARGETS, Wake(), kernel, **changes)
    probes.attach([PROGRAM])
    if probes._thread is not None:
        probes._thread.join()
    return probes


def test_a_probe_lies_behind_the_call_of_ftrace(kernel: Kernel) -> None:
    kernel.add("pwru_py/x", BASE + 0x100, at_entry=False)
    assert kernel.there == {"pwru_py/x": [0x100 + CALL]}


def test_or_at_the_entry_of_those_that_most_packets_meet(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "_AT_ENTRY", 3)
    attached(kernel, first=2).detach()
    assert kernel.written == [0x100, 0x200, 0x300, 0x400 + CALL, 0x500 + CALL]


def test_in_a_function_that_begins_with_endbr(kernel: Kernel) -> None:
    kernel.refuse = {0x100 + CALL: errno.EILSEQ}
    kernel.add("pwru_py/x", BASE + 0x100, at_entry=False)
    assert kernel.there == {"pwru_py/x": [0x100 + ENDBR_AND_CALL]}


@pytest.mark.parametrize("refuse", [
    {0x100 + CALL: errno.EINVAL},
    {0x100 + CALL: errno.EILSEQ, 0x100 + ENDBR_AND_CALL: errno.EINVAL},
])  # fmt: skip
def test_where_the_kernel_patches_what_follows(kernel: Kernel, refuse: dict[int, int]) -> None:
    """Never further on: there the registers may hold something else."""
    kernel.refuse = refuse
    kernel.add("pwru_py/x", BASE + 0x100, at_entry=False)
    assert kernel.there == {"pwru_py/x": [0x100]}


@pytest.mark.parametrize("refuse", [
    {0x105: errno.ENOMEM},
    {0x105: errno.EILSEQ, 0x109: errno.EILSEQ},
    {0x105: errno.EINVAL, 0x100: errno.EINVAL},
])  # fmt: skip
def test_a_function_that_is_refused(kernel: Kernel, refuse: dict[int, int]) -> None:
    kernel.refuse = refuse
    with pytest.raises(AttachError) as caught:
        kernel.add("pwru_py/x", BASE + 0x100, at_entry=False)
    assert caught.value.errno == list(refuse.values())[-1]
    assert kernel.there == {}


def test_the_first_functions_and_the_rest(kernel: Kernel) -> None:
    probes = attached(kernel, first=2)
    first, rest = kernel.enabled
    assert first.startswith(f"pwru_py/first_{NAMESPACE}_{os.getpid()}_")
    assert [len(kernel.there[name]) for name in (first, rest)] == [2, 3]
    assert (probes.attached, probes.begun, probes.failed, probes.done) == (5, 5, [], True)
    other = attached(kernel, first=2)
    assert len(set(kernel.enabled)) == 4, "sessions share no name"
    probes.detach()
    assert set(kernel.there) == set(kernel.enabled[2:])
    other.detach()
    assert kernel.there == {}


def test_what_is_refused_is_told(kernel: Kernel) -> None:
    kernel.refuse = {0x100: errno.ENOMEM, 0x300: errno.EPERM}
    probes = attached(kernel, first=2)
    assert [(t.name, number) for t, number in probes.failed] == [
        ("f1", errno.ENOMEM),
        ("f3", errno.EPERM),
    ]
    assert (probes.attached, probes.begun, probes.done) == (3, 5, True)
    probes.detach()
    assert kernel.there == {}


def test_an_event_that_cannot_be_enabled(kernel: Kernel) -> None:
    probes = KprobeEvents(TARGETS, Wake(), kernel, first=2)
    kernel.busy = {f"pwru_py/rest_{probes._session}"}
    probes.attach([PROGRAM])
    assert probes._thread is not None
    probes._thread.join()
    assert (probes.attached, probes.begun, probes.done) == (2, 5, True)
    assert {number for _, number in probes.failed} == {errno.EBUSY}
    kernel.busy = set()
    probes.detach()
    assert kernel.there == {}


def test_interrupted(kernel: Kernel) -> None:
    probes = KprobeEvents(TARGETS, Wake(), kernel, first=2)
    probes._wake.set()
    probes.attach([PROGRAM])
    probes.detach()
    assert (probes.attached, kernel.there, kernel.enabled) == (0, {}, [])


def listed(tmp_path: Path, kernel: Kernel, names: list[str]) -> None:
    """What ``kprobe_events`` lists; each is there to be removed."""
    (tmp_path / "kprobe_events").write_text("".join(f"p:{name}\n" for name in names))
    for name in names:
        event, _, place = name.partition(" ")
        kernel.there.setdefault(event, []).append(int(place.split("+")[1]))


def test_what_a_killed_process_left_is_removed(kernel: Kernel, tmp_path: Path) -> None:
    ours = [
        f"pwru_py/rest_{NAMESPACE}_{GONE}_0 _stext+5",
        f"pwru_py/rest_{NAMESPACE}_{GONE}_0 _stext+9",
        f"pwru_py/first_{NAMESPACE}_{GONE}_3 _stext+1",
    ]
    others = [
        f"pwru_py/rest_{NAMESPACE}_{os.getpid()}_7 _stext+5",
        f"pwru_py/rest_{NAMESPACE}_{os.getppid()}_7 _stext+5",
        f"mine/rest_{NAMESPACE}_{GONE}_0 _stext+5",
        "kprobes/p_ip_rcv_0 _stext+5",
    ]
    listed(tmp_path, kernel, ours + others)
    assert set(kernel.abandoned()) == {line.encode() for line in ours}
    probes = attached(kernel, first=2)
    probes.detach()
    assert set(kernel.there) == {line.split()[0] for line in others}
    assert probes.warnings == [], "three go at once"


def test_many_that_were_left_are_told_of(kernel: Kernel, tmp_path: Path) -> None:
    left = [f"pwru_py/rest_{NAMESPACE}_{GONE}_0 _stext+{n}" for n in range(200)]
    listed(tmp_path, kernel, left)
    probes = KprobeEvents(TARGETS, Wake(), kernel, first=5)
    removed = kernel.remove

    def slow(definition: bytes) -> None:
        removed(definition)
        if len(probes._abandoned) == 150:
            probes._wake.set()

    kernel.remove = slow  # type: ignore[method-assign]
    probes.attach([PROGRAM])
    assert probes.warnings[0].startswith("200 disarmed kprobe definitions of sessions that were")
    assert probes._thread is not None
    probes._thread.join()
    probes.detach()
    assert probes.warnings[1].startswith("150 kprobe definitions of killed sessions are still")
    assert len(kernel.there[f"pwru_py/rest_{NAMESPACE}_{GONE}_0"]) == 150


def test_hits_that_the_kernel_skipped(
    kernel: Kernel, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    probes = attached(kernel, first=2)
    assert probes.skipped([PROGRAM], final=True) == Skipped(0, whole=False), "no kprobe_profile"
    own = [name.partition("/")[2] for name in kernel.enabled]
    rows = [(own[0], 10, 1), (own[1], 20, 2), (own[1], 0, 4), ("other", 5, 100)]
    (tmp_path / "kprobe_profile").write_text(
        "".join(f"  {name:<44} {hits:15} {missed:15}\n" for name, hits, missed in rows)
    )
    assert probes.skipped([PROGRAM], final=False) == Skipped(0, whole=False), "slow to read"
    assert probes.skipped([PROGRAM], final=True) == Skipped(7, whole=False), "not those of programs"
    counting = attached(kernel, first=2, counts=True)
    counting._names = probes._names
    monkeypatch.setattr(bpf, "recursion_misses", lambda fd: 100)
    assert counting.skipped([PROGRAM], final=False) == Skipped(100, whole=False)
    assert counting.skipped([PROGRAM], final=True) == Skipped(107, whole=True)


def test_the_files_of_tracefs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    definitions = Definitions(str(tmp_path), BASE)
    with pytest.raises(AttachError):
        definitions.add("pwru_py/x", BASE, at_entry=False)
    (tmp_path / "kprobe_events").write_text("p:mine/one ip_rcv\n")
    definitions.add("pwru_py/x", BASE, at_entry=False)
    definitions.remove(b"pwru_py/x _stext+5")
    assert (tmp_path / "kprobe_events").read_text() == (
        "p:mine/one ip_rcv\np:pwru_py/x _stext+5\n-:pwru_py/x _stext+5\n"
    )
    monkeypatch.setattr(perf, "open_tracepoint", lambda number: 1000 + number)
    with pytest.raises(AttachError):
        definitions.enable("pwru_py/x")
    identity = tmp_path / "events" / "pwru_py" / "x" / "id"
    identity.parent.mkdir(parents=True)
    identity.write_text("1234\n")
    assert definitions.enable("pwru_py/x") == 2234
