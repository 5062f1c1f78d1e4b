# SPDX-License-Identifier: Apache-2.0
"""Guests to measure in."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from bench.tools import Tool
from tests.vm.guest import Guest
from tests.vm.memory import keep

# With icount, waiting for the host's files takes the guest no time, and its timers go off at once.
_FOREVER_S = 1e6
_MOUNT = "mount -t tracefs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug"
_PLAN = "/tmp/bench-plan.json"


def bench_guest(
    kernel: str, tools: Sequence[Tool], *, cpus: int = 2, icount: bool = False
) -> Guest:
    """A guest with the tools' files in memory; icount: of one CPU whose clock counts instructions.

    One thread of the host runs all its CPUs in turn: what takes microseconds is timed with one.
    """
    guest = Guest(kernel, cpus=1 if icount else cpus, icount=icount)
    guest.run(_MOUNT, timeout=_FOREVER_S)
    files = [name for tool in tools for name in tool.files]
    directories = [name for tool in tools for name in tool.directories]
    keep(guest, files, directories, timeout=_FOREVER_S)
    return guest


def run_json(guest: Guest, module: str, plan: Mapping[str, Any], timeout: float = 1800.0) -> Any:
    """What ``bench.inside.MODULE`` prints for ``plan``. Raises GuestCommandError."""
    guest.write_file(_PLAN, json.dumps(plan).encode())
    done = guest.run(f"python3 -m bench.inside.{module} {_PLAN}", timeout, check=True)
    return json.loads(done.stdout)
