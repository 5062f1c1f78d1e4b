# SPDX-License-Identifier: Apache-2.0
"""Journeys as a person draws them, and as JSON.

A line a hop: time since the packet's first sight, namespace, ``in`` or ``out``, interface, what is
another than before; then the end. ``✔`` arrived, ``✘`` dropped, ``?`` not seen.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable
from itertools import groupby
from typing import Any, NamedTuple, Protocol

from ..facts.ruleset import Rule
from ..options.config import Timestamp
from ..record.event import Tuple, Verdict
from ..record.journey import Change, Changed, End, Ended, Hop, Journey
from ..record.paths import Finish
from .formats import cell_width, format_said, format_tuple, pad
from .json_tuple import TUPLE_SCHEMA, json_addresses
from .stamp import iso_time

Name = Callable[[int], str]
"""What a namespace is called, by its inode number."""

Device = Callable[[int, str], str]
"""What a device belongs to or lies on, by namespace and name; '' where nothing tells."""


def _no_device(_netns: int, _ifname: str) -> str:
    return ""


class Rules(Protocol):
    """Rules of nf_tables, as they are listed now: ``kernel.rules.RuleBook``."""

    def find(self, netns: int, table: int, rule: int) -> Rule | None:
        """By namespace and the handles of table and rule; None where nothing tells."""

    def is_plain(self, netns: int, table: int) -> bool:
        """Whether in a table nothing but verdicts of rules, and policies, decides."""


class NoRules:
    """Where they cannot be looked up."""

    def find(self, netns: int, table: int, rule: int) -> Rule | None:
        return None

    def is_plain(self, netns: int, table: int) -> bool:
        return False


class Names(NamedTuple):
    """What turns numbers of a journey into words."""

    name: Name
    device: Device = _no_device
    rules: Rules = NoRules()


ARRIVED, LOST, UNKNOWN = "✔", "✘", "?"
_MARKS = {Ended.DROPPED: LOST, Ended.UNSEEN: UNKNOWN}
_WAY_CELLS, _DEVICE_CELLS = 3, 15
_SAID = "nf"  # netfilter


def journey_lines(
    journey: Journey, names: Names, timestamp: Timestamp = Timestamp.NONE
) -> list[str]:
    """A journey, without an empty line behind it.

    Times are since its first sight, with ``RELATIVE`` since the line before; with ``ABSOLUTE`` the
    head says when that was.
    """
    end = journey.end
    last = _Row(end.ts_ns, end.netns, f"{mark(journey)} {end_text(journey, names)}")
    rows = [*_way_rows(journey, names.device), last]
    places = [place_text(names.name(row.netns)) for row in rows]
    width = max(map(cell_width, places))
    lines, since = [_head(journey, timestamp)], journey.begin_ns
    for place, row in zip(places, rows, strict=True):
        lines.append(
            f"{(row.ts_ns - since) / 1e6:8.3f} ms  {pad(place, width)}  {row.text}".rstrip()
        )
        if timestamp is Timestamp.RELATIVE:
            since = row.ts_ns
    return lines


class _Row(NamedTuple):
    ts_ns: int
    netns: int
    text: str


def _hop_text(hop: Hop, before: Hop | None, device: str) -> str:
    """What explains the device, and what is another than at the hop before."""
    told = [
        device,
        _change_text(hop.change) if hop.change is not None else "",
        _vlan_text(hop.vlan, before.vlan if before is not None else None),
        f"mtu {hop.mtu}" if before is not None and 0 != hop.mtu != before.mtu else "",
    ]
    return f"{hop.way:<{_WAY_CELLS}}  {pad(hop.ifname, _DEVICE_CELLS)}  " + ", ".join(
        filter(None, told)
    )


def _vlan_text(vlan: int | None, before: int | None) -> str:
    if vlan == before:
        return ""
    return "no vlan" if vlan is None else f"vlan {vlan}"


def _way_rows(journey: Journey, device: Device) -> list[_Row]:
    """Hops, and between them a row for what netfilter says at each hook."""
    rows = [
        _Row(hop.ts_ns, hop.netns, _hop_text(hop, before, device(hop.netns, hop.ifname)))
        for hop, before in zip(journey.hops, (None, *journey.hops), strict=False)
    ]
    since = [hop.ts_ns for hop in journey.hops]
    hooks = groupby(
        journey.judged,
        lambda judged: (bisect(since, judged.ts_ns), judged.netns, judged.verdict.hook),
    )
    for (_hop, netns, _hook), group in hooks:
        judged = [*group]
        said = ", ".join(format_said(each.verdict) for each in judged)
        rows.append(_Row(judged[0].ts_ns, netns, f"{_SAID:<{_WAY_CELLS}}  {said}"))
    return sorted(rows, key=lambda row: row.ts_ns)


def mark(journey: Journey) -> str:
    """How it ended, in a character."""
    return _mark(journey.end.how, sure=journey.end.sure)


def _mark(how: Ended, *, sure: bool) -> str:
    return _MARKS.get(how, ARRIVED) if sure else UNKNOWN


def place_text(name: str) -> str:
    """A namespace's name as a line shows it."""
    return name if name in ("host", "?") else f"[{name}]"


def _head(journey: Journey, timestamp: Timestamp) -> str:
    made = f" (of packet {journey.parent})" if journey.parent else ""
    process = journey.process if journey.process_sure else f"({journey.process})"
    parts = (
        f"packet {journey.packet}{made}",
        iso_time(journey.wall_ns) if timestamp is Timestamp.ABSOLUTE else "",
        format_tuple(journey.tuple, journey.tcp_flags),
        journey.process and process,
    )
    return "  ".join(filter(None, parts))


def _change_text(change: Change) -> str:
    what, before, after = change
    if what in (Changed.INTO, Changed.OUT_OF):
        return f"{what}: {format_tuple(after)}"
    ends = [
        f"{side} {_end_point(before, side)} -> {_end_point(after, side)}"
        for side, told in (("source", Changed.TARGET), ("target", Changed.SOURCE))
        if what is not told
    ]
    return f"nat {', '.join(ends)}"


def _end_point(packet: Tuple, side: str) -> str:
    address = packet.saddr if side == "source" else packet.daddr
    port = packet.sport if side == "source" else packet.dport
    if not packet.has_ports:
        return address
    return f"[{address}]:{port}" if ":" in address else f"{address}:{port}"


def end_text(journey: Journey, names: Names) -> str:
    """The end in words, with what came of it."""
    end = journey.end
    parts = [_how(end, names)]
    if end.note:
        parts.append(end.note)
    if journey.answered_by:
        parts.append(f"answered by packet {journey.answered_by}")
    if journey.answers:
        text = f"answers packet {journey.answers}"
        if journey.round_trip_ns is not None and end.how in (Ended.READ, Ended.TAKEN):
            text += f", {journey.round_trip_ns / 1e6:.3f} ms after it was sent"
        parts.append(text)
    return "; ".join(parts)


def _how(end: End, names: Names) -> str:
    text = _how_text(end, names)
    if end.how is Ended.READ:
        return f"{text}, {(end.waited_ns or 0) / 1e6:.3f} ms after it came"
    return text


def finish_text(finish: Finish, names: Names) -> str:
    """``✔ read by ping``."""
    return f"{_mark(finish.how, sure=finish.sure)} {_how_text(finish, names)}"


def _how_text(finish: End | Finish, names: Names) -> str:
    seems = "" if finish.sure else ", it seems"
    if finish.how is Ended.DROPPED:
        reason = finish.reason or "dropped"
        reason = f"{reason} in {finish.by}" if finish.by else reason
        verdict = finish.verdict
        return reason if verdict is None else f"{reason}: {_table_text(finish, verdict, names)}"
    words = {Ended.READ: "read by", Ended.TAKEN: "taken in by", Ended.LEFT: "left by"}
    if finish.how in words:
        return f"{words[finish.how]} {finish.by}{seems}"
    return "lost sight of"


def _table_text(finish: End | Finish, verdict: Verdict, names: Names) -> str:
    """Which table has dropped it, and which rule, as far as that is known."""
    if not verdict.family:
        return f"table {verdict.table}, {verdict.hook}"
    table = f"table {verdict.family} {verdict.table}, chain {verdict.chain}, {verdict.hook}"
    if not verdict.rule:
        policy = "its policy, drop, or " if verdict.policy == "DROP" else ""
        if _by_policy(finish, verdict, names):
            return f"{table}, by its policy, drop"
        return f"{table}, by {policy}a rule that is not known"
    rule = names.rules.find(finish.netns, verdict.table_handle, verdict.rule)
    if rule is None:
        return f"{table}, rule {verdict.rule} (gone, or it cannot be listed)"
    of = f" of chain {rule.chain}" if rule.chain != verdict.chain else ""
    return f"{table}, rule {verdict.rule}{of}: {rule.text}"


def _by_policy(finish: End | Finish, verdict: Verdict, names: Names) -> bool:
    """Whether a drop is that of a chain's policy, as no rule that was seen has decided."""
    dropped = not verdict.rule and verdict.policy == "DROP"
    return dropped and names.rules.is_plain(finish.netns, verdict.table_handle)


def json_verdict(finish: End | Finish, names: Names) -> dict[str, Any] | None:
    """The verdict that dropped a packet, as ``VERDICT_SCHEMA`` describes; None without one."""
    verdict = finish.verdict
    if verdict is None:
        return None
    found = verdict.rule and names.rules.find(finish.netns, verdict.table_handle, verdict.rule)
    rule = found or None
    return {
        **_verdict_members(verdict),
        "rule_chain": rule.chain if rule else None,
        "rule_text": rule.text if rule else None,
        "by_policy": _by_policy(finish, verdict, names),
    }


def _verdict_members(verdict: Verdict) -> dict[str, Any]:
    members = verdict._asdict()
    for optional in ("table_handle", "rule", "policy"):
        members[optional] = members[optional] or None
    return members


def json_journey(journey: Journey, names: Names) -> dict[str, Any]:
    """As ``JOURNEY_SCHEMA`` describes."""
    end = journey.end
    return {
        "type": "journey",
        "packet": journey.packet,
        "parent": journey.parent,
        "begin_ns": journey.begin_ns,
        "wall_ns": journey.wall_ns,
        "tuple": json_addresses(journey.tuple, journey.tcp_flags),
        "process": journey.process or None,
        "process_sure": journey.process_sure,
        "hops": [
            {
                "ts_ns": hop.ts_ns,
                "netns": hop.netns,
                "namespace": names.name(hop.netns),
                "iface": hop.ifname,
                "way": hop.way.value,
                "mtu": hop.mtu,
                "vlan": hop.vlan,
                "device": names.device(hop.netns, hop.ifname) or None,
                "change": None
                if hop.change is None
                else {
                    "what": hop.change.what.value,
                    "before": json_addresses(hop.change.before),
                    "after": json_addresses(hop.change.after),
                },
            }
            for hop in journey.hops
        ],
        "verdicts": [
            {
                "ts_ns": judged.ts_ns,
                "netns": judged.netns,
                "namespace": names.name(judged.netns),
                "iface": judged.ifname,
                **_verdict_members(judged.verdict),
            }
            for judged in journey.judged
        ],
        "end": {
            "how": end.how.value,
            "ts_ns": end.ts_ns,
            "netns": end.netns,
            "namespace": names.name(end.netns),
            "by": end.by,
            "reason": end.reason or None,
            "verdict": json_verdict(end, names),
            "waited_ns": end.waited_ns,
            "sure": end.sure,
            "note": end.note,
        },
        "answers": journey.answers or None,
        "answered_by": journey.answered_by or None,
        "round_trip_ns": journey.round_trip_ns,
    }


_INTEGER = {"type": "integer", "minimum": 0}
_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
_TEXT = {"type": "string"}
_NETNS = {
    "netns": {**_INTEGER, "description": "As in an event."},
    "namespace": {
        "description": "What it is called: host, a name of ip netns, a process inside, its number, "
        '"?" where it is not known.',
        **_TEXT,
    },
}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_VERDICT = {
    "family": {**_TEXT, "description": 'Of nf_tables; "" of x_tables.'},
    "table": _TEXT,
    "chain": {**_TEXT, "description": 'Of nf_tables, the base chain; else "".'},
    "hook": {**_TEXT, "description": "PREROUTING, INPUT, ..."},
    "verdict": {**_TEXT, "description": "ACCEPT, DROP, STOLEN, QUEUE, ..."},
    "table_handle": {**_OR_NULL, "description": "Of nf_tables."},
    "rule": {**_OR_NULL, "description": "Handle of the rule that said so; null: none is known."},
    "policy": {**_TEXT_OR_NULL, "description": "Of the base chain then: ACCEPT, DROP."},
}
VERDICT_SCHEMA: dict[str, Any] = {
    "description": "What netfilter said that dropped the packet; null: it did not, or its tables "
    "cannot be probed.",
    "type": ["object", "null"],
    "properties": {
        **_VERDICT,
        "rule_chain": {**_TEXT_OR_NULL, "description": "The chain that has the rule."},
        "rule_text": {
            **_TEXT_OR_NULL,
            "description": "The rule, as nft lists it; null: it is gone, or cannot be listed.",
        },
        "by_policy": {
            "description": "The chain's policy dropped it; false: a rule did, or it may have.",
            "type": "boolean",
        },
    },
    "required": [*_VERDICT, "rule_chain", "rule_text", "by_policy"],
}
_ADDRESSES = {**TUPLE_SCHEMA, "description": "As in an event."}

JOURNEY_SCHEMA: dict[str, Any] = {
    "title": "Journey",
    "description": "With --journey: a packet from its first sight to its end.",
    "type": "object",
    "properties": {
        "type": {"const": "journey"},
        "packet": {**_INTEGER, "description": "The packet's number."},
        "parent": {**_OR_NULL, "description": "Of the packet it was made of; null: not known."},
        "begin_ns": {**_INTEGER, "description": "Its first sight, CLOCK_MONOTONIC."},
        "wall_ns": {"type": "integer", "description": "The same since the epoch."},
        "tuple": {**TUPLE_SCHEMA, "description": "Its addresses at first sight."},
        "process": {
            "type": ["string", "null"],
            "description": "comm:pid that sent it; null of a packet that came in.",
        },
        "process_sure": {
            "type": "boolean",
            "description": "false: an interrupt may have come upon it.",
        },
        "hops": {
            "description": "Devices on its way.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "ts_ns": _INTEGER,
                    **_NETNS,
                    "iface": {**_TEXT, "description": "The interface."},
                    "way": {"enum": ["in", "out"]},
                    "mtu": {**_INTEGER, "description": "Of the interface, bytes."},
                    "vlan": {**_OR_NULL, "description": "Identifier of the outermost VLAN tag."},
                    "device": {
                        "type": ["string", "null"],
                        "description": "What it belongs to or lies on: bridge docker0, vlan on "
                        "eth0; null: nothing, or it came later.",
                    },
                    "change": {
                        "description": "What is another than at the hop before; null: nothing.",
                        "type": ["object", "null"],
                        "properties": {
                            "what": {"enum": [what.value for what in Changed]},
                            "before": _ADDRESSES,
                            "after": _ADDRESSES,
                        },
                        "required": ["what", "before", "after"],
                    },
                },
                "required": [
                    "ts_ns", "netns", "namespace", "iface", "way", "mtu", "vlan", "device",
                    "change",
                ],
            },
        },
        "verdicts": {
            "description": "What netfilter's tables said, in the order of time; [] where they "
            "cannot be probed, too.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "ts_ns": _INTEGER,
                    **_NETNS,
                    "iface": {
                        **_TEXT,
                        "description": "It came by this one; at OUTPUT and POSTROUTING it is to "
                        "leave by it.",
                    },
                    **_VERDICT,
                },
                "required": ["ts_ns", "netns", "namespace", "iface", *_VERDICT],
            },
        },
        "end": {
            "type": "object",
            "properties": {
                "how": {
                    "description": "read by a process; taken in by a protocol or a program; left "
                    "by a device; dropped; unseen.",
                    "enum": [how.value for how in Ended],
                },
                "ts_ns": _INTEGER,
                **_NETNS,
                "by": {**_TEXT, "description": "Process, protocol, device, or dropping function."},
                "reason": {"type": ["string", "null"], "description": "Of a drop."},
                "verdict": VERDICT_SCHEMA,
                "waited_ns": {**_OR_NULL, "description": "How long it lay until it was read."},
                "sure": {
                    "type": "boolean",
                    "description": "false: it is concluded, and not seen; note says of what.",
                },
                "note": _TEXT,
            },
            "required": [
                "how", "ts_ns", "netns", "namespace", "by", "reason", "verdict", "waited_ns",
                "sure", "note",
            ],
        },
        "answers": {**_OR_NULL, "description": "The packet that asked for it."},
        "answered_by": {**_OR_NULL, "description": "The packet that answers it."},
        "round_trip_ns": {
            "type": ["integer", "null"],
            "description": "From the first sight of the question to the end of this answer.",
        },
    },
    "required": [
        "type", "packet", "parent", "begin_ns", "wall_ns", "tuple", "process",
        "process_sure", "hops", "verdicts", "end",
        "answers", "answered_by", "round_trip_ns",
    ],
}  # fmt: skip
"""A line of ``--journey --output-json``."""
