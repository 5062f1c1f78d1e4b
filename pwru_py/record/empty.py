# SPDX-License-Identifier: Apache-2.0
"""Why a trace stayed empty: what is told of it."""

from __future__ import annotations

from typing import NamedTuple


class Cause(NamedTuple):
    """One reason. ``name``: a word for programs, in ``output.empty.CAUSES``. ``certain``: the
    evidence leaves no other reading; else it is likely. ``packets``: those that show it, 0 where
    none do.
    """

    name: str
    certain: bool
    text: str
    packets: int = 0


class Explanation(NamedTuple):
    """``causes``: the likeliest first. ``facts``: what was found, a line each."""

    causes: tuple[Cause, ...]
    facts: tuple[str, ...]
