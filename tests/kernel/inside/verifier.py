# SPDX-License-Identifier: Apache-2.0
"""Loads the corpus of the unit tests, and filters as long as they get, into the kernel.

Through the product's own objects, so that the verifier sees a filter where it runs. An object takes
three at once: one for the packet, two for what a tunnel carries. Usage: ``verifier [PART OF]``.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from pwru_py.config import Config
from pwru_py.errors import FilterError, PwruError
from pwru_py.kernel.engine import Engine
from pwru_py.kernel.objects import INNER_L2, INNER_L3, OUTER, compile_expression
from pwru_py.kernel.prepare import Prepared, prepare
from tests.unit.filters.expressions import corpus

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

FUNCTION = "dev_hard_start_xmit"
STUBS = (OUTER, INNER_L2, INNER_L3)
SHORT = 100
"""Instructions; what is longer is loaded alone."""

LONG = {
    "100 hosts": " or ".join(f"host 10.0.{n}.1" for n in range(100)),
    "1000 hosts": " or ".join(f"host 10.{n >> 8}.{n & 255}.1" for n in range(1000)),
    "2000 destinations": " or ".join(f"dst host 10.{n >> 8}.{n & 255}.1" for n in range(2000)),
}


class Loader:
    """Loads filters into the object.

    ``sizes``: instructions by expression. ``impossible``: what has no program, and why.
    ``refused``: what the kernel refused, and its words.
    """

    def __init__(self) -> None:
        self._prepared: Prepared = prepare(Config(filter_func=FUNCTION))
        self._compiled: dict[str, CompiledFilter] = {}
        self.sizes: dict[str, int] = {}
        self.impossible: dict[str, str] = {}
        self.refused: dict[str, str] = {}
        self.loads = 0

    def compile(self, name: str, expression: str) -> None:
        try:
            compiled = compile_expression(expression)
        except FilterError as error:
            self.impossible[name] = str(error)
        else:
            self._compiled[name] = compiled
            self.sizes[name] = len(compiled.ebpf)

    def load(self, names: Sequence[str]) -> None:
        """Up to three together; when they are refused, each alone, to say which it is."""
        stubs = dict(zip(STUBS, (self._compiled[name] for name in names), strict=False))
        engine = Engine(Config(buffer_bytes=4096), replace(self._prepared, compiled=stubs))
        self.loads += 1
        try:
            engine.load()
        except PwruError as error:
            self.refused[" + ".join(names)] = f"{error}\n{getattr(error, 'log', '')[-2000:]}"
            if len(names) > 1:
                for name in names:
                    self.load([name])
        finally:
            engine.close()


def main() -> None:
    started_s = time.monotonic()

    def lap(what: str) -> None:
        print(f"{time.monotonic() - started_s:6.1f} s: {what}", file=sys.stderr)

    loader = Loader()
    for expression in filter(None, corpus()):
        loader.compile(expression, expression)
    lap("corpus compiled")
    sizes = loader.sizes
    short = sorted((e for e in sizes if sizes[e] <= SHORT), key=sizes.__getitem__)
    groups = [short[n : n + len(STUBS)] for n in range(0, len(short), len(STUBS))]
    groups += [[expression] for expression in sizes if sizes[expression] > SHORT]
    for group in groups:
        loader.load(group)
    lap("corpus loaded")
    for name, expression in LONG.items():
        loader.compile(name, expression)
        lap(f"{name} compiled")
        loader.load([name])
        lap(f"{name} loaded")
    told = {
        "sizes": sizes,
        "impossible": loader.impossible,
        "refused": loader.refused,
        "loads": loader.loads,
    }
    json.dump(told, sys.stdout)


if __name__ == "__main__":
    main()
