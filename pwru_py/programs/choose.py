# SPDX-License-Identifier: Apache-2.0
"""Which way of attaching, with which loads, and what comes next when the kernel refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from ..attach.probes import Probes
from ..attach.ways import WAYS
from ..errors import AttachError, PwruError
from ..facts.features import Features
from ..options.config import Backend, Config


@dataclass(frozen=True, slots=True)
class Choice:
    """``typed``: the program reads by plain loads through ``bpf_rdonly_cast``."""

    way: type[Probes]
    typed: bool

    def features(self, features: Features) -> Features:
        """What of ``features`` it uses."""
        return features if self.typed else features.without_casts()


def choices(config: Config, features: Features) -> tuple[Choice, ...]:
    """What the system offers of what ``config`` allows, the best first.

    Raises the reason of the last way when there is none.
    """
    modules = bool(config.all_kmods or config.kmods)
    lacking: PwruError | None = None
    found: list[Choice] = []
    for way in WAYS:
        if config.backend not in (Backend.AUTO, way.backend):
            continue
        missing = way.lacking(features, modules=modules)
        if missing is not None:
            lacking = missing
            continue
        if features.typed_loads:
            found.append(Choice(way, True))
        if not way.trampoline:
            found.append(Choice(way, False))
    if not found:
        assert lacking is not None, "every backend has a row"
        raise lacking
    return tuple(found)


def left(refused: Choice, others: Sequence[Choice], why: PwruError) -> tuple[Choice, ...]:
    """What of ``others`` may do where ``refused`` did not.

    One way's refusal to attach says nothing of the others. A program that is refused with typed
    loads may pass without; the trampolines' is another program.
    """
    if isinstance(why, AttachError):
        return tuple(choice for choice in others if choice.way is not refused.way)
    if refused.typed and not refused.way.trampoline:
        return tuple(choice for choice in others if not choice.typed)
    return tuple(others)


def instead(refused: Choice, chosen: Choice, why: PwruError) -> str:
    """The line that says so."""
    if chosen.way is refused.way:
        what, other = "typed loads", "helper calls"
    else:
        what, other = refused.way.words, chosen.way.words
    return f"{what} refused, using {other} instead: {why}"
