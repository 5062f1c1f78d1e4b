# SPDX-License-Identifier: Apache-2.0
"""Writes JSON Lines with fields of your choice: ``jsonl.py EXPRESSION FILE``, until Ctrl-C.

``pwru-py --output-json`` writes every field; this is for a format of your own.
"""

from __future__ import annotations

import json
import signal
import sys
from typing import Any

from pwru_py import Config, Event, PwruError, Tracer


def fields(event: Event) -> dict[str, Any]:
    """What to keep of an event."""
    ends = event.tuple
    return {
        "wall_ns": event.wall_ns,
        "function": event.func,
        "interface": event.ifname or None,
        "source": f"{ends.saddr}:{ends.sport}" if ends else None,
        "target": f"{ends.daddr}:{ends.dport}" if ends else None,
        "dropped": event.reason_name if event.drop else None,
    }


def main(expression: str, path: str) -> None:
    with Tracer(Config(filter=expression)) as tracer, open(path, "w") as file:
        signal.signal(signal.SIGINT, lambda *_: tracer.stop())
        for batch in tracer.batches():  # many events at a time; empty while nothing happens
            file.writelines(json.dumps(fields(event)) + "\n" for event in batch)
            file.flush()


if __name__ == "__main__":
    try:
        main(*sys.argv[1:])
    except PwruError as error:
        sys.exit(f"jsonl: {error}")
