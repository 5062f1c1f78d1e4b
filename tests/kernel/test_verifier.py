# SPDX-License-Identifier: Apache-2.0
"""Every program that the filter compiler emits passes this kernel's verifier."""

from __future__ import annotations

import json

from tests.kernel.lab import Lab
from tests.unit.filters.expressions import corpus


def test_the_whole_corpus_and_the_longest_filters_load(lab: Lab) -> None:
    done = lab.run("python -m tests.kernel.inside.verifier", timeout=400)
    assert done.rc == 0, done.stderr
    told = json.loads(done.stdout)
    assert told["refused"] == {}
    # libpcap or the compiler say no to a few of the corpus; the rest has been loaded.
    sizes, impossible = told["sizes"], told["impossible"]
    assert {*sizes, *impossible} >= {expression for expression in corpus() if expression}
    assert len(impossible) < 60, impossible
    assert len(sizes) > 830
    assert told["loads"] > len(sizes) / 3
    assert sizes["100 hosts"] > 300
    assert sizes["2000 destinations"] > 4000
    assert sizes["1000 hosts"] > 8000
