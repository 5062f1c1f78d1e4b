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


def test_a_namespace_is_called_as_elsewhere() -> None:
    """The kernel's own threads are in that of the host, as process 1 may be in a container's."""
    threads = [pid for pid in os.listdir("/proc") if pid.isdigit() and is_kthreadd(pid)]
    assert {reader_process._name(f"/proc/{pid}/ns/net") for pid in threads} <= {"host"}
    assert reader_process._name("/proc/1/ns/net") == "host"
    own = Path("/proc/self/comm").read_text().strip()
    assert reader_process._name(f"/proc/{os.getpid()}/ns/net") == f"{own}:{os.getpid()}"


def is_kthreadd(pid: str) -> bool:
    try:
        return Path(f"/proc/{pid}/comm").read_text() == "kthreadd\n"
    except OSError:
        return False
