# SPDX-License-Identifier: Apache-2.0
"""A drop as it was seen, the values read about it, and what they prove. Pure.

A **reading** is a question to the kernel: a kind and its arguments. ``pwru_py.kernel.readings``
says what the answer to each kind looks like. None stands for an answer that could not be had.
"""

from __future__ import annotations

import builtins
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, NamedTuple

from ..record.event import DroppedBy, Tuple

ANY = "*"
VAGUE = ("", "NOT_SPECIFIED")
"""Reasons that say nothing: the function tells. '' on kernels without reasons."""


class Verdict(StrEnum):
    """How sure it is. ``NOT_THIS``: the values refute a cause that the reason suggests."""

    PROVEN = "proven"
    LIKELY = "likely"
    NOT_THIS = "not this"


class Drop(NamedTuple):
    """One kind of drop, by the first packet of it.

    ``reason``: bare, '' where the kernel has none. ``function``: who freed the packet, bare.
    ``netns``: inode, 0 unknown. ``ifname``: of skb->dev, '' without.
    ``len_bytes``: of the sk_buff. ``ethertype``: host byte order. ``tcp_flags``: the flag byte.
    ``stack``: names of callers, innermost first, () where they were not recorded. ``dropped_by``:
    what in netfilter did it, ``invalid``: why conntrack finds the packet so, '' where it does not
    say; both None where that is not known.
    """

    reason: str
    function: str
    netns: int
    ifname: str
    tuple: Tuple | None = None
    mark: int = 0
    len_bytes: int = 0
    ethertype: int = 0
    tcp_flags: int = 0
    stack: builtins.tuple[str, ...] = ()
    dropped_by: DroppedBy | None = None
    invalid: str | None = None

    @property
    def v6(self) -> bool:
        return self.tuple is not None and ":" in self.tuple.daddr


class Reading(NamedTuple):
    """A question: see ``pwru_py.kernel.readings``."""

    kind: str
    args: tuple[str | int, ...] = ()


class Fact(NamedTuple):
    """A value that proves something. ``limit``: what it is measured against, ``rise``: by how much
    it rose while the session ran; None where there is none, or nobody knows.
    """

    name: str
    value: str | int
    limit: str | int | None = None
    rise: int | None = None

    def __str__(self) -> str:
        text = f"{self.name}: {self.value}"
        if self.limit is not None:
            text += f" of {self.limit}"
        return text if self.rise is None else f"{text} (+{self.rise})"


class Finding(NamedTuple):
    """``what`` happened, the values that say so, and what would ``change`` it, with its cost."""

    verdict: Verdict
    what: str
    proof: tuple[Fact, ...] = ()
    change: str = ""


@dataclass(frozen=True, slots=True)
class Answers:
    """``at``: read right behind the drop; ``end``: when the session ended. ``before``, ``after``:
    the namespace's counters at the session's start and end; ``before`` is None of a namespace that
    was not known then.
    """

    at: Mapping[Reading, Any] = field(default_factory=dict)
    end: Mapping[Reading, Any] = field(default_factory=dict)
    before: Mapping[str, int] | None = None
    after: Mapping[str, int] | None = None

    def get(self, reading: Reading) -> Any:
        """As it was at the drop; where it was not read then, at the end."""
        value = self.at.get(reading)
        return value if value is not None else self.end.get(reading)

    def counter(self, name: str) -> int | None:
        """A counter at the end."""
        return None if self.after is None else self.after.get(name)

    def rise(self, name: str) -> int | None:
        """By how much a counter rose; None where that is not known."""
        if self.after is None or self.before is None or name not in self.after:
            return None
        return self.after[name] - self.before.get(name, 0)

    def moved(self, name: str, shown: str = "") -> tuple[Fact, ...]:
        """The counter as a fact; none where it was not read."""
        value = self.counter(name)
        if value is None:
            return ()
        return (Fact(shown or name.partition(".")[2] or name, value, None, self.rise(name)),)


@dataclass(frozen=True, slots=True)
class Diagnosis:
    """Answers for the drops of ``keys``, (reason, function) each.

    ``needs``: what is to be read; ``judge``: what that proves, the most telling first; nothing
    where it has no say. ``variant``: drops of one kind that may have different causes have
    different ones. ``source``: where the kernel drops.
    """

    keys: tuple[tuple[str, str], ...]
    needs: Callable[[Drop], tuple[Reading, ...]]
    judge: Callable[[Drop, Answers], list[Finding]]
    source: str
    variant: Callable[[Drop], object] = lambda drop: None


# Readings, each with what its answer is.


def sysctl(name: str) -> Reading:
    """``net/ipv4/conf/eth0/rp_filter``: its text. Slashes, as an interface's name may have dots."""
    return Reading("sysctl", (name,))


def route(daddr: str, saddr: str = "", iif: str = "", mark: int = 0) -> Reading:
    """The route that the kernel takes; see ``kernel.readings.route``."""
    return Reading("route", (daddr, saddr, iif, mark))


def sockets(proto: int, port: int) -> Reading:
    """Listening TCP sockets, or UDP sockets, at a local port."""
    return Reading("sockets", (proto, port))


def elsewhere(proto: int, port: int) -> Reading:
    """Names of other namespaces with such a socket."""
    return Reading("elsewhere", (proto, port))


def link(ifname: str) -> Reading:
    """An interface."""
    return Reading("link", (ifname,))


def peer(ifname: str) -> Reading:
    """The other end of a pair of devices."""
    return Reading("peer", (ifname,))


def number(answers: Answers, name: str) -> int | None:
    """The first number of a sysctl; None where it is not there."""
    text = answers.get(sysctl(name))
    try:
        return int(str(text).split()[0])
    except (ValueError, IndexError):
        return None


def setting(answers: Answers, name: str) -> tuple[Fact, ...]:
    """A sysctl as a fact, with dots."""
    value = answers.get(sysctl(name))
    if value is None:
        return ()
    text = str(value)
    return (Fact(name.replace("/", "."), int(text) if text.lstrip("-").isdigit() else text),)


class Advice(NamedTuple):
    """What is said of one cause.

    ``drop``: its first packet; ``packets``: how many drops it stands for. ``netns_name``: what
    people call its namespace. ``findings``: the surest first. ``note``: why nothing was read, ''.
    """

    drop: Drop
    packets: int
    netns_name: str = ""
    findings: tuple[Finding, ...] = ()
    note: str = ""
