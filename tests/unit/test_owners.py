# SPDX-License-Identifier: Apache-2.0
"""Whose sockets are: settings, what /proc says, what is shown."""

from __future__ import annotations

import os
import socket
import threading
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import pytest

from pwru_py.errors import AttachError, FeatureUnsupportedError, NotFoundError, UsageError
from pwru_py.kernel import pidns, sockets, system
from pwru_py.kernel.libbpf import Program
from pwru_py.kernel.sockets import Holder
from pwru_py.options.config import Config
from pwru_py.options.parse import parse
from pwru_py.output.fields import FIELDS
from pwru_py.output.formats import format_owner
from pwru_py.programs import owners
from pwru_py.record import contract
from pwru_py.record.details import NO_SHAPES, Details
from pwru_py.record.event import Owner
from pwru_py.record.layout import SOCKET_OWNER, KernelConfig, RecordLayout
from pwru_py.record.saved import event_of
from pwru_py.record.saved_values import SavedError

from .output.samples import event


@dataclass
class Makers:
    """The map: inode to (pid, name)."""

    found: dict[int, tuple[int, bytes]] = field(default_factory=dict)

    def update(self, key: bytes, value: bytes) -> None:
        pid, _unused, comm = SOCKET_OWNER.unpack(value)
        self.found[int.from_bytes(key, "little")] = pid, comm.rstrip(b"\0")


# The process that was started first comes last.
HELD = [Holder(30, b"worker", 7), Holder(30, b"worker", 8), Holder(20, b"other", 9),
        Holder(10, b"master", 7)]  # fmt: skip


@pytest.mark.parametrize(
    ("config", "of_seven"),
    [
        (Config(output_owner=True), (10, b"master")),
        (Config(filter_pid=30), (30, b"worker")),
        (Config(filter_comm="worker"), (30, b"worker")),
        (Config(filter_pid=30, filter_comm="master"), (10, b"master")),
        (Config(filter_pid=20), (10, b"master")),
    ],
)
def test_a_socket_that_several_processes_have(config: Config, of_seven: tuple[int, bytes]) -> None:
    makers = Makers()
    owners.add_holders(makers, HELD, config)
    assert makers.found == {7: of_seven, 8: (30, b"worker"), 9: (20, b"other")}


def test_the_sockets_of_this_process() -> None:
    with socket.socket() as own:
        inode = os.fstat(own.fileno()).st_ino
        found = {(h.pid, h.comm) for h in sockets.holders() if h.inode == inode}
        with open("/proc/self/comm", "rb") as stream:
            assert (os.getpid(), stream.read().rstrip(b"\n")) in found
    assert inode not in {h.inode for h in sockets.holders()}


def test_which_process_can_be_asked_for() -> None:
    sockets.check_process(os.getpid())
    with pytest.raises(NotFoundError, match="no process 4194304 is there now"):
        sockets.check_process(1 << 22)
    threads: list[int] = []
    ends, told = threading.Event(), threading.Event()

    def stay() -> None:
        threads.append(threading.get_native_id())
        told.set()
        ends.wait(30)

    thread = threading.Thread(target=stay)
    thread.start()
    told.wait(30)
    try:
        with pytest.raises(NotFoundError, match=f"is a thread of process {os.getpid()}"):
            sockets.check_process(threads[0])
    finally:
        ends.set()
        thread.join()


def test_a_pid_namespace_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    """A number would be taken for another process's."""
    monkeypatch.setattr(pidns, "in_initial", lambda: False)
    assert owners.checked_pid(Config(filter_comm="x")) == 0
    with pytest.raises(FeatureUnsupportedError, match="give `filter_comm` in place"):
        owners.checked_pid(Config(filter_pid=os.getpid()))


class Kernel:
    """Attaches the program, or refuses."""

    def __init__(self, name: str = "note_syscall", *, refuses: bool = False) -> None:
        self.name, self.refuses, self.attached = name, refuses, False

    def attach(self) -> Kernel:
        if self.refuses:
            raise AttachError("no", 1)
        self.attached = True
        return self

    def destroy(self) -> None:
        self.attached = False


def note(
    kernel: Kernel, config: Config, *more: Kernel
) -> tuple[list[str], dict[int, tuple[int, bytes]]]:
    makers = Makers()
    programs = (kernel, *more)
    with ExitStack() as release:
        told = owners.note_owners(cast(tuple[Program, ...], programs), makers, config, release)
        assert all(each.attached != each.refuses for each in programs)
    assert not any(each.attached for each in programs), "they go with the session"
    return told, makers.found


def test_what_is_noted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidns, "in_initial", lambda: True)
    monkeypatch.setattr(sockets, "holders", lambda: HELD)
    told, found = note(Kernel(), Config(output_owner=True))
    assert (told, len(found)) == ([], 3)
    told, found = note(Kernel(refuses=True), Config(output_owner=True))
    assert (len(told), found) == (1, {})
    assert told[0].startswith("owners of sockets are not known")
    with pytest.raises(AttachError):
        note(Kernel(refuses=True), Config(filter_comm="x"))
    monkeypatch.setattr(pidns, "in_initial", lambda: False)
    told, found = note(Kernel(), Config(output_owner=True))
    assert "PID namespace of its own" in told[0]
    assert found == {}


def test_where_sockets_are_seen_being_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "ftrace_disabled", lambda: False)
    monkeypatch.setattr(system, "kprobe_pmu", lambda: 8)
    process, group = Config(output_owner=True), Config(filter_cgroup="/sys/fs/cgroup")
    assert owners.owner_programs(process) == ("note_socket", "note_taker")
    assert owners.owner_programs(group) == ("note_taker",)
    assert owners.owner_programs(Config()) == ()
    monkeypatch.setattr(system, "kprobe_pmu", lambda: None)
    assert owners.owner_programs(process) == ("note_syscall",)
    assert owners.owner_programs(group) == ()


def test_what_a_function_that_is_not_there_leaves_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pidns, "in_initial", lambda: True)
    monkeypatch.setattr(sockets, "holders", lambda: HELD)
    monkeypatch.setattr(owners, "_FUNCTIONS", {})
    takes = Kernel("note_taker", refuses=True)
    told, found = note(Kernel(), Config(filter_comm="x"), takes)
    assert told == ["whose the first packet to a server is is not known: sk_filter_trim_cap: no"]
    assert len(found) == 3, "all else is"


def test_settings() -> None:
    for chosen in (
        KernelConfig(owner_pid=7),
        KernelConfig(owner_comm=b"x"),
        KernelConfig(cgroup=1),
    ):
        assert chosen.owned
    assert not KernelConfig().owned
    assert KernelConfig(owner_comm=b"nginx").pack().count(b"nginx" + bytes(11)) == 1


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("--filter-pid 0", "'0' is not the number of a process"),
        ("--filter-pid 4194305", "'4194305' is not the number of a process"),
        ("--filter-pid nginx", "'nginx' is not the number of a process"),
        ("--filter-comm systemd-resolved", "'systemd-resolve', as ps -o comm has it"),
        ("--journey --output-owner", "is of events"),
    ],
)
def test_what_cannot_be_asked(words: str, message: str) -> None:
    with pytest.raises(UsageError, match=message):
        parse(words.split())


def test_flags() -> None:
    options = parse(["--filter-pid", "77", "--filter-comm", "systemd-resolve", "--output-owner"])
    config = options.config
    assert (config.filter_pid, config.filter_comm) == (77, "systemd-resolve")
    assert config.output_owner
    with pytest.raises(UsageError, match="from 1 to 4194304, not -1"):
        Config(filter_pid=-1)


def read(pid: int, comm: bytes) -> Any:
    record = RecordLayout.of(contract.SECTION_OWNER)
    details = Details(record, NO_SHAPES, lambda addr, innermost: None, lambda packed: None)  # type: ignore[arg-type,return-value]
    assert details.any
    return details.read((pid, 0, comm.ljust(16, b"\0")), 0, "ip_rcv", None)[-1]


def test_what_a_record_says() -> None:
    assert read(7, b"nginx") == Owner(7, "nginx")
    assert read(7, b"a\x1b[31m") == Owner(7, "a\\x1b[31m")
    assert read(0, b"") is None


def test_what_is_shown() -> None:
    known, unknown = event(owner=Owner(7, "nginx")), event(owner=None)
    assert (format_owner(known), format_owner(unknown)) == ("nginx:7", "-")
    (member,) = next(row for row in FIELDS if row.key == "owner").members
    assert member.value(known) == {"pid": 7, "comm": "nginx"}
    assert member.value(unknown) is None


SAVED = {
    "skb": "0x1", "cpu": 0, "pid": 1, "comm": "x", "context": "task", "func": "f", "module": "",
    "addr": "0x1", "ts_ns": 1, "time_ns": 1, "drop": False, "packet": 1,
}  # fmt: skip


def test_saved() -> None:
    assert event_of({**SAVED, "owner": {"pid": 7, "comm": "a\x1b"}}).owner == Owner(7, "a\\x1b")
    assert event_of({**SAVED, "owner": None}).owner is None
    assert event_of(SAVED).owner is None
    with pytest.raises(SavedError, match="'pid' is missing"):
        event_of({**SAVED, "owner": {}})
