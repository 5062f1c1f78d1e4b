# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import os
import time
from pathlib import Path

import pytest

from pwru_py.kernel import netns, reader_process
from pwru_py.kernel.reader_process import Process


def test_a_slow_first_reading_costs_no_namespace_its_counters(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """It imports what the others find imported: the time for all begins behind it."""
    now_s = [100.0]
    costs = iter([60.0, 0.5, 0.5, 1.5, 0.5])

    def counters(process: Process) -> dict[str, int]:
        now_s[0] += next(costs)
        return {"n": 1}

    spaces = [(number, f"/run/netns/{number}") for number in (11, 12, 13, 14)]
    monkeypatch.setattr(reader_process, "current_inode", lambda: 10)
    monkeypatch.setattr(netns, "namespaces", lambda: spaces)
    monkeypatch.setattr(Process, "_go", lambda process, inode: None)
    monkeypatch.setattr(Process, "_counters", counters)
    monkeypatch.setattr(time, "monotonic", lambda: now_s[0])
    assert set(Process(0)._before) == {10, 11, 12, 13}, "all but the one behind the 2 s"


def test_the_kernel_s_own_threads_are_in_that_of_the_host() -> None:
    """As process 1 may be in a container's."""
    threads = [int(pid) for pid in os.listdir("/proc") if pid.isdigit() and is_kthreadd(pid)]
    assert {netns.name_by_process(pid) for pid in threads} <= {"host"}


def test_a_namespace_is_called_as_elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that has a process only since the start."""
    monkeypatch.setattr(Process, "_counters", lambda process: {})
    process = Process(netns.current_inode())
    own = Path("/proc/self/comm").read_text().strip()
    process._paths.known = {
        6: "/proc/1/ns/net",
        7: f"/proc/{os.getpid()}/ns/net",
        8: "/run/netns/gone",
    }
    called = [process._called(inode) for inode in (6, 7, 8, 9)]
    assert called == ["host", f"{own}:{os.getpid()}", "", ""]


def is_kthreadd(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "kthreadd\n"
    except OSError:
        return False
