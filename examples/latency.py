# SPDX-License-Identifier: Apache-2.0
"""Measures how long packets take from one function to another: ``latency.py FROM TO [EXPRESSION]``.

For example ``latency.py ip_rcv tcp_v4_rcv 'port 443'``; Ctrl-C ends it and prints the result.
"""

from __future__ import annotations

import re
import signal
import statistics
import sys

from pwru_py import Config, PwruError, Tracer


def main(begin: str, end: str, expression: str = "") -> None:
    pattern = "|".join(map(re.escape, (begin, end)))
    began: dict[int, int] = {}
    spent_us: list[float] = []
    with Tracer(Config(filter=expression, filter_func=pattern, output_tuple=False)) as tracer:
        signal.signal(signal.SIGINT, lambda *_: tracer.stop())
        for event in tracer:
            if event.func == begin:
                began[event.skb] = event.ts_ns
            elif event.skb in began:
                spent_us.append((event.ts_ns - began.pop(event.skb)) / 1000)
    print(f"{len(spent_us)} packets from {begin} to {end}, {len(began)} did not arrive")
    if spent_us:
        median = statistics.median(spent_us)
        print(f"least {min(spent_us):.1f} us, median {median:.1f} us, most {max(spent_us):.1f} us")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PwruError as error:
        sys.exit(f"latency: {error}")
