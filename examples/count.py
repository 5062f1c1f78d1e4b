# SPDX-License-Identifier: Apache-2.0
"""Counts hits by function for some seconds: ``count.py SECONDS [EXPRESSION]``."""

from __future__ import annotations

import signal
import sys
from collections import Counter
from threading import Timer

from pwru_py import Config, PwruError, Tracer


def main(seconds: str, expression: str = "") -> None:
    with Tracer(Config(filter=expression, output_tuple=False)) as tracer:
        signal.signal(signal.SIGINT, lambda *_: tracer.stop())
        end = Timer(float(seconds), tracer.stop)
        end.start()
        hits = Counter(event.func for event in tracer)
        end.cancel()
    for function, count in hits.most_common():
        print(f"{count:8} {function}")
    print(f"{tracer.summary.losses.events:8} lost")


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PwruError as error:
        sys.exit(f"count: {error}")
