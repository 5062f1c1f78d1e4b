# SPDX-License-Identifier: Apache-2.0
"""What a packet is to conntrack, as text and as JSON."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ..facts.conntrack import CtState
from ..record.event import Conntrack, Event
from .formats import format_end
from .json_tuple import TUPLE_SCHEMA, json_addresses

# What most entries have, or what other words say.
_USUAL = frozenset({"confirmed", "seen-reply", "snat-done", "dnat-done", "template"})
_NAT = {"snat": ("source", "target"), "dnat": ("target", "source")}  # there, and in the answer


def format_conntrack(event: Event) -> str:
    """``established reply tcp SYN_RECV dnat A:80->B:8080 mark 0x7``; '' where nothing is known."""
    return "" if event.conntrack is None else conntrack_text(event.conntrack)


def conntrack_text(ct: Conntrack, *, ends: bool = True) -> str:
    """The same of an event that has it; without ``ends`` what is translated is not told."""
    words = " ".join(_words(ct, ends))
    return f"{words}: {ct.why}" if ct.why else words


def short_conntrack(event: Event) -> str:
    """State, direction and NAT: ``established reply dnat``."""
    ct = event.conntrack
    if ct is None:
        return ""
    nat = (word for word in ct.status if word in _NAT)
    return " ".join([ct.state, *(["reply"] if ct.reply else []), *nat])


def _words(ct: Conntrack, ends: bool) -> Iterator[str]:
    yield ct.state
    if ct.reply:
        yield "reply"
    if ct.tcp_state:
        yield f"tcp {ct.tcp_state}"
    for word in ct.status:
        if word not in _USUAL:
            yield word
        if ends and word in _NAT and ct.original is not None and ct.answer is not None:
            side, other = _NAT[word]
            yield f"{format_end(ct.original, side)}->{format_end(ct.answer, other)}"
    if ct.mark:
        yield f"mark 0x{ct.mark:x}"
    if ct.zone:
        yield f"zone {ct.zone}"


def json_conntrack(ct: Conntrack | None) -> dict[str, Any] | None:
    """As ``CONNTRACK_SCHEMA`` describes."""
    if ct is None:
        return None
    return {
        "state": ct.state.value,
        "direction": None if ct.reply is None else "reply" if ct.reply else "original",
        "status": list(ct.status),
        "mark": ct.mark,
        "zone": ct.zone,
        "tcp_state": ct.tcp_state or None,
        "original": json_addresses(ct.original),
        "answer": json_addresses(ct.answer),
        "why": ct.why or None,
    }


_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_ADDRESSES = "null without an entry. Of ICMP without a sequence number."
_STATES = [state.value for state in CtState if state not in (CtState.SNAT, CtState.DNAT)]
CONNTRACK_SCHEMA: dict[str, Any] = {
    "description": "With --output-conntrack: what conntrack knows of the packet at this event; "
    "null where the packet has given its entry back already.",
    "type": ["object", "null"],
    "properties": {
        "state": {
            "description": "As nft calls it. invalid: nf_conntrack_in() let the packet go without "
            "an entry, here. none: the packet has no entry, and no more is known: conntrack has "
            "not had it yet, or has given it back to who takes the packet in. template: what "
            "conntrack is to begin with.",
            "enum": _STATES,
        },
        "direction": {
            "description": "Of the packet in its entry; null without one.",
            "enum": ["original", "reply", None],
        },
        "status": {
            "description": "Bits of the entry, lowest first: expected, seen-reply, assured, "
            "confirmed, snat, dnat, dying, offload, ...",
            "type": "array",
            "items": {"type": "string"},
        },
        "mark": {**_OR_NULL, "description": "The entry's; null without one."},
        "zone": {**_OR_NULL, "description": "Likewise."},
        "tcp_state": {**_TEXT_OR_NULL, "description": "SYN_SENT, ...; null of other protocols."},
        "original": {**TUPLE_SCHEMA, "description": f"Of the first packet; {_ADDRESSES}"},
        "answer": {**TUPLE_SCHEMA, "description": f"That an answer has; {_ADDRESSES}"},
        "why": {
            **_TEXT_OR_NULL,
            "description": "Of an invalid packet: what the kernel would log, without the values in "
            "it; null where it says nothing.",
        },
    },
    "required": [
        "state", "direction", "status", "mark", "zone", "tcp_state", "original", "answer", "why",
    ],
}  # fmt: skip
