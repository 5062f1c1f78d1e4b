# SPDX-License-Identifier: Apache-2.0
"""Which way of attaching, with which loads, and what comes next when the kernel refuses it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

from ..attach.probes import Probes
from ..attach.ways import WAYS
from ..errors import AttachError, FeatureUnsupportedError, PrivilegeError, PwruError
from ..facts.features import Features
from ..kernel import system
from ..options.config import Backend, Config


@dataclass(frozen=True, slots=True)
class Choice:
    """``typed``: the program reads by plain loads through ``bpf_rdonly_cast``. ``follows``: with
    programs at functions that make a packet, where a session remembers packets.
    """

    way: type[Probes]
    typed: bool
    follows: bool = True

    def features(self, features: Features) -> Features:
        """What of ``features`` it uses."""
        return features if self.typed else features.without_casts()


def choices(config: Config, features: Features) -> tuple[Choice, ...]:
    """What the system offers of what ``config`` allows, the best first.

    Raises the reason of the last way for functions when there is none.
    """
    modules = bool(config.all_kmods or config.kmods)
    lacking: PwruError | None = None
    found: list[Choice] = []
    wanted = Backend.TRACEPOINT if config.drops or config.journey else config.backend
    for way in WAYS:
        if wanted not in (Backend.AUTO, way.backend) or way.returns != config.sees_returns:
            continue
        if way.tracepoints and config.knows_stacks:
            continue
        missing = way.lacking(features, modules=modules)
        if not way.tracepoints:
            missing = missing or ftrace_off()
        if missing is not None:
            lacking = missing
            continue
        loads = [True] * features.typed_loads + [False] * (not way.trampoline)
        for typed in loads:
            found.append(Choice(way, typed))
            if way.tracepoints and remembers(config):
                found.append(Choice(way, typed, follows=False))
    if not found and config.sees_returns:
        raise _no_returns(config, lacking)
    if not found:
        assert lacking is not None, "every backend has a row"
        raise lacking
    return tuple(found)


def _no_returns(config: Config, why: PwruError | None) -> PwruError:
    if why is None:
        why = FeatureUnsupportedError(
            f"`backend`={config.backend} does not see where functions return: leave it, or "
            "`output_return`, `filter_return` and `output_bpfmap` out",
            feature="returns",
        )
    return why


def ftrace_off() -> PwruError | None:
    """Why no function can be probed, where the kernel attaches and then calls nobody."""
    if not system.ftrace_disabled():
        return None
    return FeatureUnsupportedError(
        "ftrace is switched off, through which functions are probed: sysctl "
        "kernel.ftrace_enabled=1",
        feature="ftrace",
    )


def left(refused: Choice, others: Sequence[Choice], why: PwruError) -> tuple[Choice, ...]:
    """What of ``others`` may do where ``refused`` did not.

    One way's refusal to attach says nothing of the others. A program that is refused with typed
    loads may pass without; the trampolines' is another program. Where no function can be probed,
    it may be the programs that follow packets that are refused.
    """
    if isinstance(why, AttachError):
        return tuple(choice for choice in others if choice.way is not refused.way)
    if refused.follows and replace(refused, follows=False) in others:
        return tuple(choice for choice in others if not choice.follows)
    if isinstance(why, PrivilegeError):
        return ()
    if refused.typed and not refused.way.trampoline:
        return tuple(choice for choice in others if not choice.typed)
    return tuple(others)


def remembers(config: Config) -> bool:
    """Whether a session must know when a packet begins: it follows some, or knows where they were,
    or what conntrack has said of them.
    """
    judges = config.tells_invalid and system.kprobe_pmu() is not None
    return bool(config.follows or config.filter_netns or config.filter_ifname or judges)


_NOT_FOLLOWED = "what is made of a packet is not followed: programs at functions are refused"


def instead(refused: Choice, chosen: Choice, why: PwruError) -> str:
    """The line that says so."""
    if chosen.follows != refused.follows:
        return _NOT_FOLLOWED
    if chosen.way is refused.way:
        what, other = "typed loads", "helper calls"
    else:
        what, other = refused.way.words, chosen.way.words
    return f"{what} refused, using {other} instead: {why}"
