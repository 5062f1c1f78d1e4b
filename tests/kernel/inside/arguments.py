# SPDX-License-Identifier: Apache-2.0
"""How the program finds the sk_buff when the table of arguments is as it rarely is.

Prints a JSON object: for each table the functions that saw a ping, and how many hits were skipped.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from unittest import mock

from pwru_py.attach.argument_table import ArgumentTable, argument_table, cookie
from pwru_py.options.config import Backend, Config
from pwru_py.plan.functions import Target
from pwru_py.programs import load
from pwru_py.programs.prepare import prepare
from pwru_py.record.contract import ARGUMENTS_BITS, ARGUMENTS_CROWDED
from tests.kernel.inside.watch import attach_now, events, with_filter

PLACES = 1 << ARGUMENTS_BITS
FUNCTIONS = "ip_rcv|ip_output|icmp_rcv|ip_rcv_core.*|ip_local_deliver"


def crowded(targets: Iterable[Target], ips: Sequence[int]) -> ArgumentTable:
    """Every function shares its place."""
    own = {target.addr + n: cookie(0, target) & 0xFF for target in targets for n in ips}
    return ArgumentTable(bytes([ARGUMENTS_CROWDED]) * PLACES, own)


def unknown(_targets: Iterable[Target], _ips: Sequence[int]) -> ArgumentTable:
    """No function is where it should be."""
    return ArgumentTable(bytes(PLACES), {})


def nobody(_targets: Iterable[Target], _ips: Sequence[int]) -> ArgumentTable:
    """All share their places with functions that are not there."""
    return ArgumentTable(bytes([ARGUMENTS_CROWDED]) * PLACES, {})


def watch(table: Callable[..., ArgumentTable]) -> tuple[list[str], int | None]:
    """Functions that saw pings to this machine itself, in order, and the hits skipped."""
    config = Config(filter="icmp", filter_func=FUNCTIONS)
    prepared = prepare(config)
    if prepared.way.trampoline:  # it needs no table
        prepared = prepare(replace(config, backend=Backend.KPROBE_MULTI))
    with mock.patch.object(load, "argument_table", table):
        running = attach_now(with_filter("icmp", prepared))
    try:
        subprocess.run(["ping", "-c1", "-W5", "127.0.0.1"], check=True, stdout=subprocess.DEVNULL)
        running.pause()
        return [event.func for event in events(running)], running.losses().recursion
    finally:
        running.close()


if __name__ == "__main__":
    tables = {"usual": argument_table, "crowded": crowded, "unknown": unknown, "nobody": nobody}
    print(json.dumps({name: watch(table) for name, table in tables.items()}))
