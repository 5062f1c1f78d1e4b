# SPDX-License-Identifier: Apache-2.0
"""All diagnoses: which have a say about a drop, and what they find together. Pure."""

from __future__ import annotations

from functools import cache

from . import (
    bridges,
    devices,
    forwarding,
    groups,
    memory,
    neighbours,
    netfilter,
    protocols,
    queues,
    routing,
    sockets,
    tcp,
    tunnels,
)
from .case import ANY, VAGUE, Answers, Diagnosis, Drop, Finding, Reading, Verdict

_ROOMS = (
    routing, forwarding, neighbours, sockets, tcp, netfilter, queues, devices, bridges,
    groups, tunnels, protocols, memory,
)  # fmt: skip
_ORDER = (Verdict.PROVEN, Verdict.LIKELY, Verdict.NOT_THIS)


@cache
def _table() -> dict[tuple[str, str], tuple[Diagnosis, ...]]:
    found: dict[tuple[str, str], tuple[Diagnosis, ...]] = {}
    for room in _ROOMS:
        for diagnosis in room.DIAGNOSES:
            for key in diagnosis.keys:
                found[key] = (*found.get(key, ()), diagnosis)
    return found


def diagnoses(reason: str, function: str) -> tuple[Diagnosis, ...]:
    """Those for a drop; both bare. A reason that says nothing leaves it to the function."""
    if reason in VAGUE:
        return _table().get(("", function), ())
    table = _table()
    return table.get((reason, function), ()) or table.get((reason, ANY), ())


def every() -> tuple[tuple[str, str], ...]:
    """Every (reason, function) that has a diagnosis; ``*`` for any, '' for a vague reason."""
    return tuple(_table())


def readings(drop: Drop) -> tuple[Reading, ...]:
    """What is to be read for a drop, each once."""
    asked = (need for d in diagnoses(drop.reason, drop.function) for need in d.needs(drop))
    return tuple(dict.fromkeys(asked))


def variant(drop: Drop) -> object:
    """Drops of the same kind with different variants may have different causes."""
    return tuple(d.variant(drop) for d in diagnoses(drop.reason, drop.function))


def findings(drop: Drop, answers: Answers) -> list[Finding]:
    """What all of them find, the surest first; of the same verdict in their order."""
    found = [
        finding
        for diagnosis in diagnoses(drop.reason, drop.function)
        for finding in diagnosis.judge(drop, answers)
    ]
    return sorted(found, key=lambda finding: _ORDER.index(finding.verdict))
