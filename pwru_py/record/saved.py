# SPDX-License-Identifier: Apache-2.0
"""Lines of ``--output-json`` back to the values that they were made of. Pure.

A file may come from anybody: whatever is not as the schema says raises ``SavedError``, and text is
escaped again. Keys that are not known are left alone, as the schema asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

from ..escape import printable, quote
from ..facts.structures import Compound, Structure
from .event import (
    BpfProgram,
    Context,
    DroppedBy,
    Event,
    Frame,
    Icmp,
    Losses,
    Owner,
    SkbValue,
    Summary,
    TcpFlag,
    Tuple,
    Verdict,
)

Record = Mapping[str, Any]
_FRAME = re.compile(r"(?P<symbol>[^ ]+)\+0x(?P<offset>[0-9a-f]+)(?: \[(?P<module>[^\]]*)\])?")
_HEX = re.compile("0x[0-9a-f]{1,16}")
_PORTS = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite
_FLAGS = {flag.name: int(flag) for flag in TcpFlag}
_U8, _U16, _U32, _U64 = ((1 << bits) - 1 for bits in (8, 16, 32, 64))
_LAST_NS = 253_402_214_400 * 1_000_000_000  # the last day of the year 9999, in UTC


class SavedError(ValueError):
    """A line is not what pwru-py writes. Its text says what is wrong."""


def _get(record: Record, key: str, kind: type, default: object) -> Any:
    if key not in record:
        if default is not _Needed:
            return default
        raise SavedError(f"{quote(key)} is missing")
    value: Any = record[key]
    if type(value) is not kind and not (value is None and default is None):
        raise SavedError(f"{quote(key)} cannot be {type(value).__name__}")
    return value


class _Needed:
    """In place of a default."""


def _int(record: Record, key: str, default: object = _Needed, *, most: int = _U64) -> int:
    value: int = _get(record, key, int, default)
    if not 0 <= value <= most:
        raise SavedError(f"{quote(key)} is not from 0 to {most}")
    return value


def _optional(record: Record, key: str, *, most: int = _U64) -> int | None:
    return None if record.get(key) is None else _int(record, key, most=most)


def _text(record: Record, key: str, default: object = _Needed) -> str:
    return printable(_get(record, key, str, default) or "")


def _bool(record: Record, key: str, default: object = _Needed) -> bool:
    return bool(_get(record, key, bool, default))


def _object(record: Record, key: str) -> Record | None:
    value: Record | None = _get(record, key, dict, None)
    return value


def _list(record: Record, key: str) -> list[Any]:
    value: list[Any] = _get(record, key, list, None)
    return value or []


def _address(record: Record, key: str) -> int:
    text = _text(record, key)
    if not _HEX.fullmatch(text):
        raise SavedError(f"{quote(key)} is no address")
    return int(text, 16)


def event_of(record: Record) -> Event:
    """The event of a line whose ``type`` is ``event``."""
    reason = _optional(record, "drop_reason_code")
    packet = _object(record, "tuple")
    tunnel = _object(record, "tunnel_tuple")
    return Event(
        skb=_address(record, "skb"),
        cpu=_int(record, "cpu"),
        pid=_int(record, "pid"),
        comm=_text(record, "comm"),
        context=_context(_text(record, "context")),
        func=_text(record, "func"),
        module=_text(record, "module"),
        addr=_address(record, "addr"),
        ts_ns=_int(record, "ts_ns"),
        wall_ns=_int(record, "time_ns", most=_LAST_NS),
        netns=_int(record, "netns", 0),
        mark=_int(record, "mark", 0),
        ifindex=_int(record, "ifindex", 0),
        ifname=_text(record, "iface", ""),
        proto=_int(record, "proto", 0),
        mtu=_int(record, "mtu", 0),
        len=_int(record, "len", 0),
        tuple=_addresses(packet),
        tcp_flags=_tcp_flags(packet),
        reason=-1 if reason is None else reason,
        reason_name=_text(record, "drop_reason", None),
        stack=tuple(_frame(frame) for frame in _list(record, "stack")),
        drop=_bool(record, "drop"),
        location=_frame_of(_text(record, "location", None)),
        packet=_optional(record, "packet") or 0,
        parent=_optional(record, "parent"),
        netns_name=_text(record, "netns_name", ""),
        dropped_by=_dropped_by(_object(record, "verdict")),
        skb_metadata=tuple(_metadata(_object(record, "skb_metadata") or {})),
        xdp_metadata=tuple(_metadata(_object(record, "xdp_metadata") or {})),
        caller=_frame_of(_text(record, "caller_func", None)),
        tunnel=_addresses(tunnel),
        tunnel_flags=_tcp_flags(tunnel),
        cb=tuple(_word(word) for word in _list(record, "cb")),
        sk_buff=_structure("sk_buff", _object(record, "sk_buff")),
        shared_info=_structure("skb_shared_info", _object(record, "skb_shared_info")),
        owner=_owner(_object(record, "owner")),
        program=_program(record),
    )


def _context(word: str) -> Context:
    try:
        return Context[word.upper()]
    except KeyError:
        raise SavedError(f"there is no context {quote(word)}") from None


def _addresses(packet: Record | None) -> Tuple | None:
    if packet is None:
        return None
    proto = _optional(packet, "proto", most=_U8)
    icmp, arp = _object(packet, "icmp"), _object(packet, "arp")
    fragment = _bool(packet, "fragment", default=False)
    sport, dport = (_int(packet, key, most=_U16) for key in ("sport", "dport"))
    return Tuple(
        _text(packet, "saddr"),
        _text(packet, "daddr"),
        sport,
        dport,
        -1 if proto is None else proto,
        has_ports=proto in _PORTS and not fragment,
        icmp=None if icmp is None else _icmp(icmp),
        fragment=fragment,
        label=_text(packet, "label", ""),
        arp=0 if arp is None else _int(arp, "operation", most=_U16),
    )


def _icmp(message: Record) -> Icmp:
    ident, sequence = (_optional(message, key, most=_U16) for key in ("id", "seq"))
    return Icmp(_int(message, "type", most=_U8), ident, sequence)


def _tcp_flags(packet: Record | None) -> int:
    names = _text(packet, "flags") if packet else ""
    bits = 0
    for name in names.split(",") if names else ():
        if name not in _FLAGS:
            raise SavedError(f"{quote(names)} are no TCP flags")
        bits |= _FLAGS[name]
    return bits


def _program(record: Record) -> BpfProgram | None:
    program = _object(record, "program")
    if program is None:
        return None
    kind = _text(program, "kind")
    return BpfProgram(kind, _int(program, "id"), _text(record, "func"), _address(record, "addr"))


def _owner(process: Record | None) -> Owner | None:
    if process is None:
        return None
    return Owner(_int(process, "pid", most=_U32), _text(process, "comm"))


def _frame(frame: object) -> Frame:
    if not isinstance(frame, dict):
        raise SavedError("'stack' is no list of objects")
    symbol = _text(frame, "symbol", None)
    return Frame(_address(frame, "addr"), symbol, _int(frame, "offset"), _text(frame, "module"))


def _frame_of(text: str) -> Frame | None:
    """``symbol+0x1f [module]``, or an address."""
    if not text:
        return None
    if _HEX.fullmatch(text):
        return Frame(int(text, 16), "", 0, "")
    match = _FRAME.fullmatch(text)
    if match is None or len(match["offset"]) > 16:
        raise SavedError(f"{quote(text)} is no place in a function")
    return Frame(0, match["symbol"], int(match["offset"], 16), match["module"] or "")


def _word(word: object) -> int:
    if type(word) is not int or not 0 <= word <= _U32:
        raise SavedError("'cb' is no list of numbers of 32 bits")
    return word


def _metadata(values: Record) -> Iterator[SkbValue]:
    for expression, value in values.items():
        if isinstance(value, str):
            value = printable(value)
        elif not isinstance(value, (int, type(None))):
            raise SavedError(f"{quote(expression)} cannot be {type(value).__name__}")
        yield SkbValue(printable(expression), value)


def _dropped_by(said: Record | None) -> DroppedBy | None:
    """What was not known of a rule, ``why``, is not in a file."""
    if said is None:
        return None
    verdict = Verdict(
        _text(said, "family"),
        _text(said, "table"),
        _text(said, "chain"),
        _text(said, "hook"),
        _text(said, "verdict"),
        table_handle=_optional(said, "table_handle") or 0,
        policy=_text(said, "policy", None),
    )
    return DroppedBy(
        verdict,
        _optional(said, "rule") or 0,
        _text(said, "rule_chain", None),
        _text(said, "rule_text", None),
        by_policy=_bool(said, "by_policy"),
    )


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
        _int(record, "buffer_full"),
        _int(record, "track_full"),
        _optional(record, "recursion"),
        _bool(record, "recursion_whole"),
    )


def summary_of(record: Record) -> Summary:
    """Of a line whose ``type`` is ``summary``."""
    losses = _object(record, "losses")
    if losses is None:
        raise SavedError("'losses' is missing")
    numbers = ("events", "packets", "pieces", "replies", "closings", "tagged", "attached", "failed")
    return Summary(
        packets_limited=_bool(record, "packets_limited"),
        drops_limited=_bool(record, "drops_limited"),
        drops=_counts(record, "drops"),
        drop_places=_counts(record, "drop_places"),
        silent=_counts(record, "silent"),
        losses=losses_of(losses),
        **{name: _int(record, name) for name in numbers},
    )


def _counts(record: Record, key: str) -> dict[str, int]:
    counts = _object(record, key)
    if counts is None:
        raise SavedError(f"{quote(key)} is missing")
    return {printable(name): _int(counts, name) for name in counts}
