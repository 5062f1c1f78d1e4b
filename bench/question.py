# SPDX-License-Identifier: Apache-2.0
"""A question: what is measured in a guest, and the rows that tell it."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from bench.table import Row
from bench.tools import Tool

OLDER = ("5.10", "6.1")
"""Kernels with single kprobes, and without typed loads."""
BACKENDS = {"newest": ("fentry-multi", "kprobe-multi")}
"""What pwru-py is measured with where it has more than one way; the first is its own choice."""


@dataclass(frozen=True, slots=True)
class Question:
    """``measure``: a kernel and the two tools to (its release, what JSON can hold).

    ``rows``: a kernel and what was measured to the lines of a table. ``heads``: of its columns,
    where they are not the two tools.
    """

    title: str
    note: str
    kernels: tuple[str, ...]
    measure: Callable[[str, Sequence[Tool]], tuple[str, Any]]
    rows: Callable[[str, Any], list[Row]]
    heads: tuple[str, ...] = ()


def variants(kernel: str, tools: Sequence[Tool]) -> list[Tool]:
    """The tools, with one of pwru-py for each backend that it is measured with."""
    ours, *others = tools
    backends = BACKENDS.get(kernel)
    if backends is None:
        return list(tools)
    return [ours.named(f"{ours.name} {b}", "--backend", b) for b in backends] + others


def pairs(results: dict[str, Any]) -> list[tuple[str, Any, Any]]:
    """(what to add to a title, ours, theirs) by the names of ``variants``."""
    (_, theirs), *ours = reversed(results.items())
    return [(name.partition(" ")[2], one, theirs) for name, one in reversed(ours)]
