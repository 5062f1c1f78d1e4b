# SPDX-License-Identifier: Apache-2.0
"""Shows the path of each packet as a list of functions: ``follow.py EXPRESSION``, until Ctrl-C.

A packet that matches once is followed from there on, also where it does not match any more: through
NAT, into a tunnel.
"""

from __future__ import annotations

import signal
import sys

from pwru_py import Config, Event, PwruError, Tracer


def show(path: list[Event]) -> None:
    """A path, with the microseconds since its first event."""
    first = path[0]
    print(f"{first.skb:#x} {first.comm} {first.tuple}")
    for event in path:
        spent_us = (event.ts_ns - first.ts_ns) / 1000
        print(f"{spent_us:10.1f} {event.ifname or '-':10} {event.func} {event.reason_name}")


def main(expression: str) -> None:
    paths: dict[int, list[Event]] = {}
    with Tracer(Config(filter=expression, filter_track_skb=True)) as tracer:
        signal.signal(signal.SIGINT, lambda *_: tracer.stop())
        for event in tracer:
            paths.setdefault(event.skb, []).append(event)
            if event.func == "kfree_skbmem":  # the kernel may use the address again
                show(paths.pop(event.skb))
    for path in paths.values():
        show(path)


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PwruError as error:
        sys.exit(f"follow: {error}")
