# SPDX-License-Identifier: Apache-2.0
"""The closing account of a session, and the notice of a loss while it runs, as text lines."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict
from textwrap import wrap
from typing import Any

from ..facts.counters import silent
from ..facts.roles import NO_REASON
from ..record.event import Losses, Summary

NOTICE_INTERVAL_S = 1.0
SCHEMA_VERSION = 1
"""Of ``schema.json``: rises when a key goes, or means something else; not when one is added."""


class LossWatch:
    """Says when a loss is worth a word: it rose, and the last word is a second ago."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._said = Losses()
        self._next_s = float("-inf")

    def lost_more(self, losses: Losses, *, recursion: bool = False) -> bool:
        """Whether to speak now. ``recursion``: hits skipped by the kernel count as well."""
        said = self._said
        rose = losses.buffer_full > said.buffer_full or losses.track_full > said.track_full
        rose = rose or (recursion and (losses.recursion or 0) > (said.recursion or 0))
        now_s = self._clock() if rose else 0.0
        if not rose or now_s < self._next_s:
            return False
        self._said, self._next_s = losses, now_s + NOTICE_INTERVAL_S
        return True


def json_losses(losses: Losses) -> dict[str, Any]:
    """The line of what was lost so far."""
    return {"type": "lost", **asdict(losses)}


def json_summary(summary: Summary) -> dict[str, Any]:
    """The last line."""
    return {"type": "summary", "schema": SCHEMA_VERSION, **asdict(summary)}


def plural(count: int, noun: str) -> str:
    """``1 event``, ``2 events``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def loss_notice(losses: Losses) -> str:
    """One line on what is lost so far and what helps."""
    return "; ".join(_loss_lines(losses)) or "nothing lost"


def summary_lines(summary: Summary, *, seen: bool = True) -> list[str]:
    """The account, a line a fact; it always says what was lost and what is unknown.

    ``seen``: events were to come, and not counts alone.
    """
    least = "about " if summary.packets_limited and summary.packets else ""
    events = plural(summary.events, "event")
    lines = [f"{least}{plural(summary.packets, 'packet')}, {events}"] if seen else []
    lines += _drop_lines(summary)
    lines += _loss_lines(summary.losses) or ["lost: nothing"]
    lines.append(_recursion_line(summary.losses))
    if summary.unreturned:
        calls = plural(summary.unreturned, "function")
        lines.append(f"not seen to return: {calls}, still under way or skipped by the kernel")
    if summary.tagged:
        hits = plural(summary.tagged, "hit")
        lines.append(
            f"tagged: {hits} matched but for a VLAN tag: try 'vlan and (...)', as in tcpdump"
        )
    if summary.unbelieved:
        hits = plural(summary.unbelieved, "hit")
        lines.append(f"not believed: {hits}, for what the function got can be no sk_buff")
    if summary.failed:
        failed, tried = plural(summary.failed, "function"), summary.attached + summary.failed
        lines.append(f"not attached: {failed} of {tried} (see --debug)")
    return lines


def _explained(means: str, check: str) -> list[str]:
    texts = (means, check)
    return [
        line
        for text in texts
        for line in wrap(text, 79, initial_indent="   ", subsequent_indent="   ")
    ]


def explained_drops(summary: Summary) -> list[str]:
    """What each kind of drop means and what to check, the most frequent first."""
    from ..facts.meanings import meaning

    lines = []
    for place, count in sorted(summary.drop_places.items(), key=lambda item: (-item[1], item[0])):
        reason, _, function = place.partition(" at ")
        found = meaning("" if reason == NO_REASON else reason, function)
        lines.append(f"{count}  {place}")
        if found is not None:
            lines += _explained(found.means, found.check)
    for name, count in summary.silent.items():
        lines.append(f"silent: {count}  {name} (no drop to the kernel; of all packets there)")
        lines += _explained(silent(name).means, silent(name).check)
    return lines


def standing(summary: Summary, functions: int) -> str:
    """Where a session is, in one line; ``functions``: how many it will have attached to."""
    packets, events = plural(summary.packets, "packet"), plural(summary.events, "event")
    attached = f"attached to {summary.attached} of {plural(functions, 'function')}"
    return f"{packets}, {events}; {loss_notice(summary.losses)}; {attached}"


def _drop_lines(summary: Summary) -> list[str]:
    drops = _drops(summary.drops, "at least " if summary.drops_limited else "")
    if summary.replies:
        replies = _some(summary.replies, "is an echo reply", "are echo replies")
        drops.append(f"  ({replies}; raw sockets, as ping's, had their copies before)")
    if summary.closings:
        closings = _some(
            summary.closings,
            "may be the last packet of a TCP connection",
            "may be the last packets of TCP connections",
        )
        drops.append(f"  ({closings}, taken in by TIME-WAIT)")
    if summary.pieces:
        pieces = plural(summary.pieces, "sk_buff")
        drops.append(
            f"freed in lists: {pieces}, drops or fragments of packets that arrived: this kernel "
            "does not tell"
        )
    return drops


def _some(count: int, one: str, several: str) -> str:
    return f"one {one}" if count == 1 else f"{count} {several}"


def _drops(drops: dict[str, int], least: str) -> list[str]:
    if not drops:
        return ["drops: none seen"]
    ordered = sorted(drops.items(), key=lambda item: (-item[1], item[0]))
    width = len(str(ordered[0][1]))
    total = sum(drops.values())
    return [f"drops: {least}{total}", *(f"  {count:{width}d}  {name}" for name, count in ordered)]


def _loss_lines(losses: Losses) -> list[str]:
    lines = []
    if losses.buffer_full:
        lost = plural(losses.buffer_full, "event")
        lines.append(f"lost: {lost}, buffer full: narrow the filter or raise --buffer-size")
    if losses.track_full:
        lost = plural(losses.track_full, "packet")
        lines.append(
            f"not followed: {lost}, too many at once: narrow the filter or raise --track-size"
        )
    return lines


def _recursion_line(losses: Losses) -> str:
    if losses.recursion is None:
        return "skipped by the kernel: not counted by this kernel"
    if not losses.recursion and not losses.recursion_whole:
        return "skipped by the kernel: none that it counts, and it does not count all"
    least = "" if losses.recursion_whole else "at least "
    hits = plural(losses.recursion, "hit")
    return f"skipped by the kernel: {least}{hits} inside another probe"
