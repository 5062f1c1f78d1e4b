# SPDX-License-Identifier: Apache-2.0
"""Parts of a saved event that are objects of their own. Pure.

Each raises ``SavedError`` for what is not as the schema says.
"""

from __future__ import annotations

from ..escape import printable, quote
from ..facts.conntrack import CtState
from .event import (
    BpfProgram,
    Conntrack,
    DroppedBy,
    Icmp,
    MapAccess,
    Owner,
    Returned,
    Step,
    TcpFlag,
    Tuple,
    Verdict,
)
from .saved_values import (
    U8,
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

_PORTS = frozenset({6, 17, 33, 132, 136})  # TCP, UDP, DCCP, SCTP, UDP-Lite
_FLAGS = {flag.name: int(flag) for flag in TcpFlag}


def saved_addresses(packet: Record | None) -> Tuple | None:
    if packet is None:
        return None
    proto = read_optional(packet, "proto", most=U8)
    icmp, arp = read_object(packet, "icmp"), read_object(packet, "arp")
    fragment = read_bool(packet, "fragment", default=False)
    sport, dport = (read_int(packet, key, most=U16) for key in ("sport", "dport"))
    return Tuple(
        read_text(packet, "saddr"),
        read_text(packet, "daddr"),
        sport,
        dport,
        -1 if proto is None else proto,
        has_ports=proto in _PORTS and not fragment,
        icmp=None if icmp is None else _icmp(icmp),
        fragment=fragment,
        label=read_text(packet, "label", ""),
        arp=0 if arp is None else read_int(arp, "operation", most=U16),
    )


def _icmp(message: Record) -> Icmp:
    ident, sequence = (read_optional(message, key, most=U16) for key in ("id", "seq"))
    mtu = read_optional(message, "mtu", most=U32) if "mtu" in message else None
    return Icmp(read_int(message, "type", most=U8), ident, sequence, mtu)


def saved_tcp_flags(packet: Record | None) -> int:
    names = read_text(packet, "flags") if packet else ""
    bits = 0
    for name in names.split(",") if names else ():
        if name not in _FLAGS:
            raise SavedError(f"{quote(names)} are no TCP flags")
        bits |= _FLAGS[name]
    return bits


def saved_program(record: Record) -> BpfProgram | None:
    program = read_object(record, "program")
    if program is None:
        return None
    kind = read_text(program, "kind")
    return BpfProgram(
        kind, read_int(program, "id"), read_text(record, "func"), read_address(record, "addr")
    )


def saved_owner(process: Record | None) -> Owner | None:
    if process is None:
        return None
    return Owner(read_int(process, "pid", most=U32), read_text(process, "comm"))


def saved_dropped_by(said: Record | None) -> DroppedBy | None:
    """What was not known of a rule, ``why``, is not in a file."""
    if said is None:
        return None
    verdict = Verdict(
        read_text(said, "family"),
        read_text(said, "table"),
        read_text(said, "chain"),
        read_text(said, "hook"),
        read_text(said, "verdict"),
        table_handle=read_optional(said, "table_handle") or 0,
        policy=read_text(said, "policy", None),
        tool=read_text(said, "tool", None),
    )
    return DroppedBy(
        verdict,
        read_optional(said, "rule") or 0,
        read_text(said, "rule_chain", None),
        read_text(said, "rule_text", None),
        by_policy=read_bool(said, "by_policy"),
    )


def saved_conntrack(said: Record | None) -> Conntrack | None:
    if said is None:
        return None
    direction = read_text(said, "direction", None)
    if direction not in ("", "original", "reply"):
        raise SavedError(f"there is no direction {quote(direction)}")
    state = read_text(said, "state")
    if state not in [*CtState]:
        raise SavedError(f"there is no state {quote(state)} of conntrack")
    status = read_list(said, "status")
    if not all(isinstance(word, str) for word in status):
        raise SavedError("'status' is no list of words")
    return Conntrack(
        CtState(state),
        direction == "reply" if direction else None,
        tuple(map(printable, status)),
        read_optional(said, "mark", most=U32),
        read_optional(said, "zone", most=U32),
        read_text(said, "tcp_state", None),
        saved_addresses(read_object(said, "original")),
        saved_addresses(read_object(said, "answer")),
        read_text(said, "why", None),
    )


def saved_step(said: object) -> Step:
    """Of ``nf_path``."""
    if not isinstance(said, dict):
        raise SavedError("'nf_path' is no list of objects")
    step, chain = read_text(said, "step"), read_text(said, "chain", None)
    verdict = Verdict(
        read_text(said, "family"),
        read_text(said, "table"),
        "" if step == "rule" else chain,
        read_text(said, "hook"),
        read_text(said, "verdict"),
        rule=read_optional(said, "rule") or 0,
        step=step,
        tool=read_text(said, "tool", None),
    )
    return Step(verdict, chain if step == "rule" else "", read_text(said, "rule_text", None))


def saved_returned(record: Record) -> Returned | None:
    """Of a line whose ``type`` is ``return``."""
    if record.get("type") != "return":
        return None
    duration_ns, name = read_int(record, "duration_ns"), read_text(record, "returned_name", None)
    number = record.get("returned")
    if isinstance(number, str):
        number = read_address(record, "returned")
        return Returned(number, name or hex(number), duration_ns)
    if number is not None:
        number = read_int(record, "returned", least=-(1 << 63))
    return Returned(number, name or ("" if number is None else str(number)), duration_ns)


def saved_map(said: Record | None) -> MapAccess | None:
    if said is None:
        return None
    return MapAccess(
        read_int(said, "id", most=U32),
        read_text(said, "name"),
        read_int(said, "key_size", most=U32),
        read_int(said, "value_size", most=U32),
        _bytes(said, "key"),
        _bytes(said, "value"),
    )


def _bytes(record: Record, key: str) -> bytes | None:
    if record.get(key) is None:
        return None
    try:
        return bytes.fromhex(read_text(record, key))
    except ValueError:
        raise SavedError(f"{quote(key)} is not in hexadecimal") from None
