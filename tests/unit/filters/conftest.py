# SPDX-License-Identifier: Apache-2.0
"""Fixtures that are expensive to make, once for all tests."""

from __future__ import annotations

import pytest
from pwru_filters import CompiledFilter, FilterSyntaxError, compile_filter

from .expressions import corpus
from .oracles import Libpcap
from .packets import frames


@pytest.fixture(scope="session")
def compiled_corpus() -> tuple[CompiledFilter, ...]:
    """Every expression of the corpus that libpcap accepts."""
    compiled = []
    for expression in corpus():
        try:
            compiled.append(compile_filter(expression))
        except FilterSyntaxError:
            continue
    return tuple(compiled)


@pytest.fixture(scope="session")
def all_frames() -> tuple[bytes, ...]:
    """The complete packets of packets.py."""
    return frames()


@pytest.fixture(scope="session")
def libpcap() -> Libpcap:
    """libpcap's interpreter for any program."""
    return Libpcap()
