# SPDX-License-Identifier: Apache-2.0
"""Lines of ``--output-json`` back to the values that they were made of. Pure.

A file may come from anybody: whatever is not as the schema says raises ``SavedError``, and text is
escaped again. Keys that are not known are left alone, as the schema asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from ..escape import printable, quote
from ..facts.structures import Compound, Structure
from .event import Context, Event, Frame, Losses, SkbValue, Summary
from .saved_parts import (
    saved_addresses,
    saved_conntrack,
    saved_dropped_by,
    saved_map,
    saved_owner,
    saved_program,
    saved_returned,
    saved_step,
    saved_tcp_flags,
)
from .saved_values import (
    HEX,
    U16,
    U32,
    Record,
    SavedError,
    read_address,
    read_bool,
    read_int,
    read_list,
    read_object,
    read_optional,
    read_text,
)  # fmt: skip

_FRAME = re.compile(r"(?P<symbol>[^ ]+)\+0x(?P<offset>[0-9a-f]+)(?: \[(?P<module>[^\]]*)\])?")
_LAST_NS = 253_402_214_400 * 1_000_000_000  # the last day of the year 9999, in UTC


def event_of(record: Record) -> Event:
    """The event of a line whose ``type`` is ``event`` or ``return``."""
    reason = read_optional(record, "drop_reason_code")
    packet = read_object(record, "tuple")
    tunnel = read_object(record, "tunnel_tuple")
    return Event(
        skb=read_address(record, "skb"),
        cpu=read_int(record, "cpu"),
        pid=read_int(record, "pid"),
        comm=read_text(record, "comm"),
        context=_context(read_text(record, "context")),
        func=read_text(record, "func"),
        module=read_text(record, "module"),
        addr=read_address(record, "addr"),
        ts_ns=read_int(record, "ts_ns"),
        wall_ns=read_int(record, "time_ns", most=_LAST_NS),
        netns=read_int(record, "netns", 0),
        mark=read_int(record, "mark", 0),
        ifindex=read_int(record, "ifindex", 0),
        ifname=read_text(record, "iface", ""),
        proto=read_int(record, "proto", 0),
        mtu=read_int(record, "mtu", 0),
        len=read_int(record, "len", 0),
        tuple=saved_addresses(packet),
        tcp_flags=saved_tcp_flags(packet),
        reason=-1 if reason is None else reason,
        reason_name=read_text(record, "drop_reason", None),
        stack=tuple(_frame(frame) for frame in read_list(record, "stack")),
        drop=read_bool(record, "drop"),
        location=_frame_of(read_text(record, "location", None)),
        packet=read_optional(record, "packet") or 0,
        parent=read_optional(record, "parent"),
        netns_name=read_text(record, "netns_name", ""),
        dropped_by=saved_dropped_by(read_object(record, "verdict")),
        skb_metadata=tuple(_metadata(read_object(record, "skb_metadata") or {})),
        xdp_metadata=tuple(_metadata(read_object(record, "xdp_metadata") or {})),
        caller=_frame_of(read_text(record, "caller_func", None)),
        tunnel=saved_addresses(tunnel),
        tunnel_flags=saved_tcp_flags(tunnel),
        cb=tuple(_word(word) for word in read_list(record, "cb")),
        sk_buff=_structure("sk_buff", read_object(record, "sk_buff")),
        shared_info=_structure("skb_shared_info", read_object(record, "skb_shared_info")),
        owner=saved_owner(read_object(record, "owner")),
        conntrack=saved_conntrack(read_object(record, "conntrack")),
        nf_path=tuple(saved_step(step) for step in read_list(record, "nf_path")),
        inside=read_bool(record, "inside", default=False),
        depth=read_int(record, "depth", 0, most=U16),
        returned=saved_returned(record),
        bpf_map=saved_map(read_object(record, "bpf_map")),
        program=saved_program(record),
    )


def _context(word: str) -> Context:
    try:
        return Context[word.upper()]
    except KeyError:
        raise SavedError(f"there is no context {quote(word)}") from None


def _frame(frame: object) -> Frame:
    if not isinstance(frame, dict):
        raise SavedError("'stack' is no list of objects")
    symbol = read_text(frame, "symbol", None)
    return Frame(
        read_address(frame, "addr"), symbol, read_int(frame, "offset"), read_text(frame, "module")
    )


def _frame_of(text: str) -> Frame | None:
    """``symbol+0x1f [module]``, or an address."""
    if not text:
        return None
    if HEX.fullmatch(text):
        return Frame(int(text, 16), "", 0, "")
    match = _FRAME.fullmatch(text)
    if match is None or len(match["offset"]) > 16:
        raise SavedError(f"{quote(text)} is no place in a function")
    return Frame(0, match["symbol"], int(match["offset"], 16), match["module"] or "")


def _word(word: object) -> int:
    if type(word) is not int or not 0 <= word <= U32:
        raise SavedError("'cb' is no list of numbers of 32 bits")
    return word


def _metadata(values: Record) -> Iterator[SkbValue]:
    for expression, value in values.items():
        if isinstance(value, str):
            value = printable(value)
        elif not isinstance(value, (int, type(None))):
            raise SavedError(f"{quote(expression)} cannot be {type(value).__name__}")
        yield SkbValue(printable(expression), value)


class _SavedStructure(Structure):
    """A structure of which the values are known, not its bytes and types."""

    __slots__ = ("_members",)

    def __init__(self, name: str, members: dict[str, Any]) -> None:
        super().__init__(Compound(f"struct {name}", 0, ()), b"")
        self._members = members

    def values(self) -> dict[str, Any]:
        return self._members

    def text(self) -> str:
        """A member a line; what is zero is left out."""
        lines = [*_member_lines(self._members, " ")]
        return "\n".join([f"({self._shape.type}){{", *lines, "}"])


def _member_lines(members: Record, indent: str) -> Iterator[str]:
    for name, value in members.items():
        if isinstance(value, dict):
            inner = [*_member_lines(value, indent + " ")]
            if inner:
                yield from (f"{indent}.{printable(name)} = {{", *inner, f"{indent}}},")
        elif value not in (0, "0x0", [], None) and not (isinstance(value, list) and not any(value)):
            yield f"{indent}.{printable(name)} = {printable(str(value))},"


def _structure(name: str, members: Record | None) -> Structure | None:
    return None if members is None else _SavedStructure(name, dict(members))


def losses_of(record: Record) -> Losses:
    """Of a line whose ``type`` is ``lost``, or of the summary's ``losses``."""
    return Losses(
        read_int(record, "buffer_full"),
        read_int(record, "track_full"),
        read_optional(record, "recursion"),
        read_bool(record, "recursion_whole"),
    )


def summary_of(record: Record) -> Summary:
    """Of a line whose ``type`` is ``summary``."""
    losses = read_object(record, "losses")
    if losses is None:
        raise SavedError("'losses' is missing")
    numbers = ("events", "packets", "pieces", "replies", "closings", "tagged", "attached", "failed")
    return Summary(
        packets_limited=read_bool(record, "packets_limited"),
        drops_limited=read_bool(record, "drops_limited"),
        drops=_counts(record, "drops"),
        drop_places=_counts(record, "drop_places"),
        silent=_counts(record, "silent"),
        losses=losses_of(losses),
        **{name: read_int(record, name) for name in numbers},
    )


def _counts(record: Record, key: str) -> dict[str, int]:
    counts = read_object(record, key)
    if counts is None:
        raise SavedError(f"{quote(key)} is missing")
    return {printable(name): read_int(counts, name) for name in counts}
