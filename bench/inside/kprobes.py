# SPDX-License-Identifier: Apache-2.0
"""Starts that take a minute, while packets come: when does what is asked for show up?"""

from __future__ import annotations

import json
import re
import sys
import threading
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.inside.process import Tracer
from bench.inside.traffic import Flow, make_network

OUTPUT = "/tmp/bench.out"
_TICK_S = 0.1


class _Watcher(threading.Thread):
    """Sends a packet each tick, and notes when the output first names a useful function."""

    def __init__(self, useful: Sequence[str]) -> None:
        super().__init__()
        Path(OUTPUT).write_bytes(b"")
        self._wanted = re.compile(rf"\b({'|'.join(useful)})\b".encode())
        self._flow = Flow("udp")
        self._done = threading.Event()
        self.seen_s = 0.0

    def run(self) -> None:
        while not self._done.wait(_TICK_S):
            if not self.seen_s and self._wanted.search(Path(OUTPUT).read_bytes()):
                self.seen_s = time.monotonic()
            self._flow.send(1)

    def stop(self) -> None:
        self._done.set()
        self.join()
        self._flow.close()


def one(tool: Mapping[str, Any], arguments: Sequence[str], useful: Sequence[str]) -> dict[str, Any]:
    watcher = _Watcher(useful)
    watcher.start()
    begin = time.monotonic()
    tracer = Tracer(tool, arguments, OUTPUT, timeout_s=900)
    end = time.monotonic() + 10
    while not watcher.seen_s and time.monotonic() < end:
        time.sleep(_TICK_S)
    watcher.stop()
    return {
        "useful_s": watcher.seen_s - begin if watcher.seen_s else float("nan"),
        "start_s": tracer.start_s,
        "start_cpu_s": tracer.start_cpu_s,
        "peak_kb": tracer.peak_kb(),
        "stop_s": tracer.stop(timeout_s=900),
    }


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    make_network()
    found: dict[str, dict[str, list[float]]] = {tool["name"]: {} for tool in plan["tools"]}
    for _ in range(plan["rounds"]):
        for tool in plan["tools"]:
            arguments = [*tool["arguments"], *tool["columns"], *plan["filter"]]
            for key, value in one(tool, arguments, plan["useful"]).items():
                found[tool["name"]].setdefault(key, []).append(value)
    json.dump(found, sys.stdout)


if __name__ == "__main__":
    main()
