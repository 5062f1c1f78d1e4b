# SPDX-License-Identifier: Apache-2.0
"""Guests to measure in."""

from __future__ import annotations

import json
import shlex
from collections.abc import Mapping
from typing import Any

from tests.vm.guest import Guest


def bench_guest(kernel: str, *, icount: bool = False) -> Guest:
    """Two virtual CPUs, or one whose clock counts instructions; tracefs mounted."""
    guest = Guest(kernel, cpus=1 if icount else 2, icount=icount)
    guest.run("mount -t tracefs none /sys/kernel/tracing; mount -t debugfs none /sys/kernel/debug")
    return guest


def run_json(guest: Guest, module: str, plan: Mapping[str, Any], timeout: float = 1800.0) -> Any:
    """What ``bench.inside.MODULE`` prints for ``plan``. Raises GuestCommandError."""
    words = ["python3", "-m", f"bench.inside.{module}", json.dumps(plan)]
    done = guest.run(" ".join(map(shlex.quote, words)), timeout, check=True)
    return json.loads(done.stdout)
