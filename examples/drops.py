# SPDX-License-Identifier: Apache-2.0
"""Prints where and why packets of a host are dropped: ``drops.py HOST``, until Ctrl-C."""

from __future__ import annotations

import signal
import sys

from pwru_py import Config, PwruError, Tracer, Tuple


def ends(found: Tuple | None) -> str:
    return f"{found.saddr}:{found.sport} -> {found.daddr}:{found.dport}" if found else "-"


def main(host: str) -> None:
    with Tracer(Config(filter=f"host {host}", output_stack=True)) as tracer:
        signal.signal(signal.SIGINT, lambda *_: tracer.stop())
        for event in tracer:
            if event.drop:
                reason = event.reason_name or "no reason given"
                print(reason, event.func, ends(event.tuple), flush=True)
                for frame in event.stack:
                    print(f"    {frame.symbol}+{frame.offset:#x}")
    for reason, packets in tracer.summary.drops.items():
        print(f"{packets} {reason}")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PwruError as error:
        sys.exit(f"drops: {error}")
