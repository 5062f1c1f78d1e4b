# SPDX-License-Identifier: Apache-2.0
"""Every program that the filter compiler emits passes this kernel's verifier."""

from __future__ import annotations

import json
import os
import pickle
import shlex
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING

from pwru_filters import Cast

from pwru_py.errors import FilterError
from pwru_py.programs.splice import compile_expression
from tests.kernel.lab import Lab
from tests.unit.filters.expressions import corpus

if TYPE_CHECKING:
    from pwru_filters import CompiledFilter

FILE = "/tmp/compiled.pickle"
LONG = {
    "100 hosts": " or ".join(f"host 10.0.{n}.1" for n in range(100)),
    "1000 hosts": " or ".join(f"host 10.{n >> 8}.{n & 255}.1" for n in range(1000)),
    "2000 hosts": " or ".join(f"host 10.{n >> 8}.{n & 255}.1" for n in range(2000)),
    "2000 destinations": " or ".join(f"dst host 10.{n >> 8}.{n & 255}.1" for n in range(2000)),
    "1000 ports": " or ".join(f"port {7 * n}" for n in range(1000)),
    "1000 port ranges": " or ".join(f"portrange {20 * n}-{20 * n + 5}" for n in range(1000)),
}


CAST = """
from pwru_py.programs.known import KernelTypes
features = KernelTypes().known().features
print(*((features.cast_func, features.cast_type) if features.typed_loads else ()))
"""


@cache
def programs(cast: Cast | None) -> dict[str, CompiledFilter]:
    """All that can be compiled, here, where it takes a second; by expression or by name."""
    found = {}
    for name, expression in {**{e: e for e in corpus() if e}, **LONG}.items():
        try:
            # Of what the passes made on the way nothing is loaded.
            found[name] = replace(compile_expression(expression, cast=cast), _lowering=None)  # type: ignore[arg-type]
        except FilterError:
            assert name not in LONG
    return found


def shared(compiled: dict[str, CompiledFilter], kernel: str) -> dict[str, CompiledFilter]:
    """What this kernel loads: the long ones, and half of the others, the rest being loaded by the
    other kernel that has the same code; with PWRU_SOAK all.
    """
    if os.environ.get("PWRU_SOAK"):
        return compiled
    half = kernel in ("5.10", "6.12")
    others = [name for name in compiled if name not in LONG]
    chosen = {*LONG, *others[half::2]}
    return {name: program for name, program in compiled.items() if name in chosen}


def test_the_whole_corpus_and_the_longest_filters_load(lab: Lab) -> None:
    ids = [int(word) for word in lab.run(f"python -c {shlex.quote(CAST)}").stdout.split()]
    assert bool(ids) == (lab.kernel in ("6.12", "newest")), "which of the two code generators"
    compiled = programs(Cast(*ids) if ids else None)
    sizes = {name: len(program.ebpf) for name, program in compiled.items()}
    # libpcap or the compiler say no to fewer than 20 of the corpus.
    assert len(corpus()) - 20 < len(compiled) - len(LONG) < len(corpus())
    assert sizes["100 hosts"] > 300
    assert sizes["2000 destinations"] > 2000
    assert sizes["2000 hosts"] > 6000
    assert sizes["1000 port ranges"] > sizes["1000 ports"] > 3000
    compiled = shared(compiled, lab.kernel)
    lab.guest.write_file(FILE, pickle.dumps(compiled))
    done = lab.run(f"python -m tests.kernel.inside.verifier {FILE}", timeout=300)
    assert done.rc == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["refused"] == {}
    assert told["loads"] >= len(compiled) / 3
