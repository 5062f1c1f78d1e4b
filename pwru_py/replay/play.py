# SPDX-License-Identifier: Apache-2.0
"""One saved trace to one sink."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import fields, replace

from ..errors import InputError, UsageError
from ..escape import quote
from ..options.flags import Options
from ..output import Sink, View
from ..record.event import Event, Summary
from ..record.saved import event_of, losses_of, summary_of
from ..record.saved_values import Record, SavedError
from .account import Account
from .select import Selection
from .source import Line, Source, chunks, parsed

# Fields of Config and Options that a saved trace can do something with.
_CONFIG = frozenset(
    {"filter", "filter_func", "filter_netns", "filter_ifname", "filter_mark", "drops",
     "output_tuple", "limit_events"}
)  # fmt: skip
_OPTIONS = frozenset(
    {"config", "read_file", "filter_event", "output_meta", "output_tuple", "output_tcp_flags",
     "output_packet_id", "output_json", "summary_only", "quiet", "output_file",
     "output_file_max_bytes", "output_file_max_age_s", "output_file_max_backups",
     "output_file_compress", "timestamp", "debug"}
)  # fmt: skip


def check(options: Options) -> None:
    """Raises UsageError for what only a kernel can do."""
    for values, kept in ((options.config, _CONFIG), (options, _OPTIONS)):
        for field in fields(values):
            changed = getattr(values, field.name) != field.default
            if field.name not in kept and changed:
                raise UsageError(
                    f"`{field.name}` is nothing that a saved trace has: leave it out with "
                    "`read_file`"
                )


def view_of(options: Options, base: View, first: Record | None) -> View:
    """What of a trace is shown: all that it has, unless it is asked to be left out."""
    if first is None:
        return base
    of_skb, of_xdp = first.get("skb_metadata"), first.get("xdp_metadata")
    return replace(
        base,
        meta=options.output_meta and "netns" in first,
        tuple=options.output_tuple and "tuple" in first,
        stack="stack" in first,
        caller="caller_func" in first,
        programs="program" in first,
        tunnel="tunnel_tuple" in first,
        conntrack="conntrack" in first,
        owner="owner" in first,
        inside="inside" in first,
        returns="depth" in first,
        maps="bpf_map" in first,
        nf_path="nf_path" in first,
        cb="cb" in first,
        sk_buff="sk_buff" in first,
        shared_info="skb_shared_info" in first,
        netns_names="netns_name" in first,
        rules="verdict" in first,
        skb_metadata=tuple(of_skb) if isinstance(of_skb, dict) else (),
        xdp_metadata=tuple(of_xdp) if isinstance(of_xdp, dict) else (),
    )


class Replay:
    """One trace to one sink. ``make_sink``: from the first event, None without one."""

    def __init__(self, options: Options, make_sink: Callable[[Record | None], Sink]) -> None:
        self._options = options
        self._name = options.read_file
        self._make_sink = make_sink
        self._selection = Selection(options)
        self._sink: Sink | None = None
        self._ended = False
        self.account = Account(all=self._selection.all)
        self.others: dict[str, int] = {}
        """Lines that are no events, by type."""

    def run(self, file: Source) -> None:
        """To the end, or the limit. Raises InputError; what came before it is shown."""
        left = self._options.config.limit_events or sys.maxsize
        for lines in chunks(file, self._name):
            events = self._selected(lines, left)
            if events:
                self._show(events)
                left -= len(events)
                if left <= 0:
                    return
            if self._sink is not None and self.account.losing:
                self._sink.losses(self.account.losses)
        self._ended = True

    @property
    def notes(self) -> list[str]:
        """What a user should know of the trace, once it has been read."""
        notes = []
        kinds = ", ".join(sorted(map(quote, self.others)))
        if kinds:
            notes.append(f"only events and returns are read again, no lines of type {kinds}")
        if self._ended and not self.account.whole:
            notes.append("the trace has no summary: what was lost is told up to its last line")
        return notes

    def finish(self) -> Summary:
        """Behind the last event."""
        sink = self._started(None)
        if self.account.losing:
            sink.losses(self.account.losses)
        summary = self.account.summary
        sink.finish(summary)
        return summary

    def _selected(self, lines: list[Line], limit: int) -> list[Event]:
        events: list[Event] = []
        for number, text in lines:
            try:
                record = parsed(text)
                if record["type"] not in ("event", "return"):
                    self._other(record)
                    continue
                event = event_of(record)
                if self._selection.takes(event, record):
                    self._started(record)
                    events.append(event)
                    self.account.add(event)
            except SavedError as error:
                self._show(events)
                raise InputError(
                    f"cannot read {quote(self._name)}: line {number}: {error}"
                ) from None
            if len(events) == limit:
                break
        return events

    def _other(self, record: Record) -> None:
        kind = record["type"]
        if kind == "lost":
            self.account.lost(losses_of(record))
        elif kind == "summary":
            self.account.found(summary_of(record))
        else:
            self.others[kind] = self.others.get(kind, 0) + 1

    def _show(self, events: list[Event]) -> None:
        if events and not self._options.summary_only:
            self._started(None).events(events)

    def _started(self, first: Record | None) -> Sink:
        if self._sink is None:
            self._sink = self._make_sink(first)
            if not self._options.summary_only:
                self._sink.start()
        return self._sink
