# SPDX-License-Identifier: Apache-2.0
"""Which events of a saved trace are shown."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import lru_cache

import pwru_filters
from pwru_filters import Judge

from ..errors import FilterError, UsageError
from ..escape import quote
from ..expressions.records import condition
from ..facts.function_sets import matcher
from ..options.config import Config
from ..options.flags import Options
from ..output.schema import schema
from ..record.event import Event, Tuple
from ..record.known_frame import known_frame
from ..record.saved_values import Record

# What is no byte that a saved trace may have, but a tag in front of them all.
_TAGS = re.compile(r"\b(vlan|mpls|pppoed|pppoes|geneve|vxlan)\b")


class Selection:
    """Which events are shown. Raises UsageError for what a saved trace cannot tell."""

    def __init__(self, options: Options) -> None:
        config = self._config = options.config
        self._any = config.filter == "" and not options.filter_event
        self._func = matcher(config.filter_func) if config.filter_func else None
        self._netns = _netns(config.filter_netns)
        properties = schema()["$defs"]["event"]["properties"]
        self._event = condition(options.filter_event, properties) if options.filter_event else None
        if _TAGS.search(config.filter):
            raise FilterError(_untold(config.filter))
        self._judge = _judge(config.filter) if config.filter else None
        self._verdict = lru_cache(1 << 14)(self._judged)

    @property
    def all(self) -> bool:
        """Whether nothing is left out."""
        config = self._config
        return self._any and config == Config(
            limit_events=0, drops=False, output_tuple=config.output_tuple
        )

    def takes(self, event: Event, record: Record) -> bool:
        """Whether it is shown."""
        config = self._config
        if config.drops and not event.drop:
            return False
        if config.filter_ifname and event.ifname != config.filter_ifname:
            return False
        if self._netns is not None and not self._netns(event):
            return False
        mark = config.filter_mark
        if mark is not None and event.mark & mark.mask != mark.value & mark.mask:
            return False
        if self._func is not None and not self._func(event.func):
            return False
        if self._event is not None and not self._event(record):
            return False
        return self._judge is None or self._verdict(event.tuple, event.tcp_flags)

    def _judged(self, packet: Tuple | None, tcp_flags: int) -> bool:
        assert self._judge is not None
        frame = known_frame(packet, tcp_flags) if packet is not None else None
        if frame is None:
            return False
        verdict = self._judge.verdict(frame.data, whole=False, known=frame.known)
        if verdict is None:
            raise FilterError(_untold(self._config.filter))
        return verdict


def _judge(expression: str) -> Judge:
    try:
        return Judge(expression)
    except pwru_filters.FilterError as error:
        raise FilterError(str(error)) from error


def _untold(expression: str) -> str:
    return (
        f"a saved trace cannot tell what {quote(expression)} asks: of a packet it has addresses, "
        "protocol, ports, TCP flags, ICMP type, identifier and sequence number"
    )


def _netns(wanted: str) -> Callable[[Event], bool] | None:
    """By number, or by the name that the trace has."""
    if not wanted:
        return None
    number = wanted.removeprefix("inode:")
    if number.isdecimal():
        return lambda event: event.netns == int(number)
    if "/" in wanted or ":" in wanted:
        raise UsageError(
            f"a saved trace cannot tell which namespace {quote(wanted)} was: give inode:N"
        )
    return lambda event: event.netns_name == wanted
