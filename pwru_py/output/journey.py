# SPDX-License-Identifier: Apache-2.0
"""Journeys as a person draws them, and as JSON.

A line a hop: time since the packet's first sight, namespace, ``in`` or ``out``, interface, what is
another than before; then the end. ``✔`` arrived, ``✘`` dropped, ``?`` not seen.
"""

from __future__ import annotations

from bisect import bisect
from collections.abc import Callable, Iterator
from itertools import groupby
from typing import Any, NamedTuple

from ..facts.conntrack import CtState
from ..facts.meanings import EVERY_FUNCTION, meaning
from ..facts.roles import FRAGMENTATION, SEGMENTATION, UNSAID
from ..options.config import Timestamp
from ..record.dropped_by import NoRules, Rules, dropped_by, dropped_by_text, step_of
from ..record.event import DroppedBy, Step
from ..record.journey import Change, Changed, End, Ended, Hop, Journey, Judged, Made, tunnels
from ..record.paths import Finish, Path
from .conntrack import CONNTRACK_SCHEMA, conntrack_text, json_conntrack
from .formats import cell_width, format_end, format_said, format_tuple, pad
from .json_tuple import TUPLE_SCHEMA, json_addresses
from .stamp import iso_time
from .verdicts import (
    DROPPED_BY_SCHEMA,
    STEP_SCHEMA,
    VERDICT_MEMBERS,
    json_dropped_by,
    json_step,
    json_verdict,
    step_text,
)

Name = Callable[[int], str]
"""What a namespace is called, by its inode number."""

Device = Callable[[int, str], str]
"""What a device belongs to or lies on, by namespace and name; '' where nothing tells."""


Outside = Callable[[int, str], bool]
"""Whether what a device sends leaves this host, by namespace and name; False where nothing tells.
"""


def _no_device(_netns: int, _ifname: str) -> str:
    return ""


def _not_known(_netns: int, _ifname: str) -> bool:
    return False


class Names(NamedTuple):
    """What turns numbers of a journey into words."""

    name: Name
    device: Device = _no_device
    rules: Rules = NoRules()
    outside: Outside = _not_known


ARRIVED, LOST, UNKNOWN = "✔", "✘", "?"
_MARKS = {Ended.DROPPED: LOST, Ended.UNSEEN: UNKNOWN}
_CUT = {FRAGMENTATION: "fragments", SEGMENTATION: "segments"}
_WAY_CELLS, _DEVICE_CELLS = 3, 15
_SAID = "nf"  # netfilter
_TUNNEL = "┄"  # one for each that the packet is in
_UNFIT = -1  # no device's MTU
_TUNNELS = (Changed.INTO, Changed.OUT_OF)


def journey_lines(
    journey: Journey,
    names: Names,
    timestamp: Timestamp = Timestamp.NONE,
    since_ns: int | None = None,
) -> list[str]:
    """A journey, without an empty line behind it.

    Times are since its first sight, or since ``since_ns``; with ``RELATIVE`` since the line before;
    with ``ABSOLUTE`` the head says when that was.
    """
    end = journey.end
    last = _Row(end.ts_ns, end.netns, f"{mark(journey)} {end_text(journey, names)}")
    rows = [*_way_rows(journey, names.device), *_step_rows(journey, names), last]
    rows.sort(key=lambda row: row.ts_ns)
    places = [place_text(names.name(row.netns)) for row in rows]
    width = max(map(cell_width, places))
    lines, since = [_head(journey, timestamp)], journey.begin_ns
    if since_ns is not None and timestamp is not Timestamp.RELATIVE:
        since = since_ns
    for place, row in zip(places, rows, strict=True):
        after = f"{'' if row.seen else '≥'}{(row.ts_ns - since) / 1e6:.3f}"
        lines.append(f"{after:>8} ms  {pad(place, width)}  {row.text}".rstrip())
        if timestamp is Timestamp.RELATIVE:
            since = row.ts_ns
    return lines


class _Row(NamedTuple):
    ts_ns: int
    netns: int
    text: str
    seen: bool = True


def _hop_text(hop: Hop, before: Hop | None, mtu: int, device: str, inside: int) -> str:
    """What explains the device, and what is another than at the hop before; ``mtu``: there, or at
    the last one that is known. ``inside``: so many tunnels."""
    told = [
        device,
        _change_text(hop.change) if hop.change is not None else "",
        _entry_text(hop),
        _vlan_text(hop.vlan, before.vlan if before is not None else None),
        f"mtu {hop.mtu}" if hop.mtu and mtu not in (0, hop.mtu) else "",
    ]
    nested = f"{_TUNNEL * inside} " if inside else ""
    return f"{hop.way:<{_WAY_CELLS}}  {pad(hop.ifname, _DEVICE_CELLS)}  {nested}" + ", ".join(
        filter(None, told)
    )


def _entry_text(hop: Hop) -> str:
    """Of a packet that is translated, the state of the entry that says so."""
    ct, change = hop.conntrack, hop.change
    if ct is None or ct.original is None or change is None or change.what in _TUNNELS:
        return ""
    return f"conntrack {conntrack_text(ct, ends=False)}"


def _vlan_text(vlan: int | None, before: int | None) -> str:
    if vlan == before:
        return ""
    return "no vlan" if vlan is None else f"vlan {vlan}"


def _way_rows(journey: Journey, device: Device) -> list[_Row]:
    """Hops, and between them a row for what netfilter says at each hook."""
    rows: list[_Row] = []
    before: Hop | None = None
    mtu = _UNFIT if _is_fragment(journey) else 0
    for hop, inside in zip(journey.hops, tunnels(journey.hops), strict=True):
        text = _hop_text(hop, before, mtu, device(hop.netns, hop.ifname), inside)
        rows.append(_Row(hop.ts_ns, hop.netns, text, hop.seen))
        before, mtu = hop, hop.mtu or mtu
    since = [hop.ts_ns for hop in journey.hops]
    hooks = groupby(
        journey.judged,
        lambda judged: (bisect(since, judged.ts_ns), judged.netns, judged.verdict.hook),
    )
    for (_hop, netns, _hook), group in hooks:
        judged = [*group]
        said = ", ".join(format_said(each.verdict) for each in judged)
        rows.append(_Row(judged[0].ts_ns, netns, f"{_SAID:<{_WAY_CELLS}}  {said}"))
    return rows


def _is_fragment(journey: Journey) -> bool:
    """Whether the MTU that it is cut to is worth to be told."""
    later = journey.tuple is not None and journey.tuple.fragment
    return later or journey.made is Made.FRAGMENT


def _step_rows(journey: Journey, names: Names) -> list[_Row]:
    """A row for each rule that the packet met."""
    return [
        _Row(met.ts_ns, met.netns, " " * (_WAY_CELLS + 2) + step_text(step))
        for met, step in _steps(journey, names)
    ]


def _steps(journey: Journey, names: Names) -> Iterator[tuple[Judged, Step]]:
    for met in journey.steps:
        step = step_of(met.netns, met.verdict, names.rules)
        if step is not None:
            yield met, step


def mark(journey: Journey) -> str:
    """How it ended, in a character."""
    return _mark(journey.end.how, sure=journey.end.sure)


def _mark(how: Ended, *, sure: bool) -> str:
    return _MARKS.get(how, ARRIVED) if sure else UNKNOWN


def place_text(name: str) -> str:
    """A namespace's name as a line shows it."""
    return name if name in ("host", "?") else f"[{name}]"


def _head(journey: Journey, timestamp: Timestamp) -> str:
    made = f" ({_made_text(journey)})" if journey.parent else ""
    process = journey.process if journey.process_sure else f"({journey.process})"
    parts = (
        f"packet {journey.packet}{made}",
        iso_time(journey.wall_ns) if timestamp is Timestamp.ABSOLUTE else "",
        format_tuple(journey.tuple, journey.tcp_flags),
        journey.process and process,
    )
    return "  ".join(filter(None, parts))


def _made_text(journey: Journey) -> str:
    """``copy of packet 1``; with ``?`` where it is concluded."""
    what = f"{journey.made} " if journey.made is not None else ""
    return f"{what}of packet {journey.parent}{'' if journey.parent_sure else '?'}"


def _change_text(change: Change) -> str:
    what, before, after = change
    if what in _TUNNELS:
        return f"{what}: {format_tuple(after)}"
    ends = [
        f"{side} {format_end(before, side)} -> {format_end(after, side)}"
        for side, told in (("source", Changed.TARGET), ("target", Changed.SOURCE))
        if what is not told
    ]
    return f"nat {', '.join(ends)}"


def end_text(journey: Journey, names: Names) -> str:
    """The end in words, with what came of it."""
    end = journey.end
    parts = [_how(journey, names)]
    if end.conntrack is not None and end.conntrack.state is not CtState.NONE:
        parts.append(f"conntrack {conntrack_text(end.conntrack)}")
    note = end.note or _meaning(end)
    if note:
        parts.append(note)
    if journey.answered_by:
        parts.append(f"answered by packet {journey.answered_by}")
    if journey.answers:
        text = f"answers packet {journey.answers}"
        if journey.round_trip_ns is not None and end.how in (Ended.READ, Ended.TAKEN):
            text += f", {journey.round_trip_ns / 1e6:.3f} ms after it was sent"
        parts.append(text)
    return "; ".join(parts)


def _meaning(end: End) -> str:
    """Of a drop whose reason says nothing, what its function does; '' where neither is known."""
    if end.how is not Ended.DROPPED or end.reason not in ("", UNSAID) or end.verdict is not None:
        return ""
    found = meaning(end.reason, end.by)
    text = found.means.rstrip(".") if found is not None and found.function != EVERY_FUNCTION else ""
    return text if text[1:2].isupper() else text[:1].lower() + text[1:]


def _how(journey: Journey, names: Names) -> str:
    end = journey.end
    text = _how_text(end, names, forwarded=journey.forwarded)
    if end.how is Ended.READ:
        return f"{text}, {(end.waited_ns or 0) / 1e6:.3f} ms after it came"
    return text


def finish_text(path: Path, names: Names) -> str:
    """``✔ read by ping``."""
    finish = path.finish
    text = _how_text(finish, names, forwarded=path.forwarded)
    return f"{_mark(finish.how, sure=finish.sure)} {text}"


def _how_text(finish: End | Finish, names: Names, *, forwarded: bool) -> str:
    seems = "" if finish.sure else ", it seems"
    if finish.how is Ended.DROPPED:
        reason = finish.reason or "dropped"
        reason = f"{reason} in {finish.by}" if finish.by else reason
        dropped = dropper(finish, names)
        return reason if dropped is None else f"{reason}: {dropped_by_text(dropped)}"
    if finish.how is Ended.TAKEN and finish.by in _CUT:
        return f"cut into {_CUT[finish.by]}{seems}"
    words = {Ended.READ: "read by", Ended.TAKEN: "taken in by", Ended.LEFT: "left by"}
    if finish.how is Ended.LEFT and names.outside(finish.netns, finish.by):
        return f"{'forwarded: ' if forwarded else ''}left this host by {finish.by}{seems}"
    if finish.how is Ended.LEFT and forwarded:
        return f"forwarded by {finish.by}{seems}"
    if finish.how in words:
        return f"{words[finish.how]} {finish.by}{seems}"
    return "lost sight of"


def dropper(finish: End | Finish, names: Names) -> DroppedBy | None:
    """What in netfilter dropped it; None: nothing did."""
    verdict = finish.verdict
    return dropped_by(finish.netns, verdict, names.rules) if verdict is not None else None


def json_journey(journey: Journey, names: Names) -> dict[str, Any]:
    """As ``JOURNEY_SCHEMA`` describes."""
    end = journey.end
    return {
        "type": "journey",
        "packet": journey.packet,
        "parent": journey.parent,
        "made": journey.made,
        "parent_sure": journey.parent_sure,
        "begin_ns": journey.begin_ns,
        "time_ns": journey.wall_ns,
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
                "tunnels": inside,
                "conntrack": json_conntrack(hop.conntrack),
                "seen": hop.seen,
            }
            for hop, inside in zip(journey.hops, tunnels(journey.hops), strict=True)
        ],
        "verdicts": [
            {
                "ts_ns": judged.ts_ns,
                "netns": judged.netns,
                "namespace": names.name(judged.netns),
                "iface": judged.ifname,
                **json_verdict(judged.verdict),
            }
            for judged in journey.judged
        ],
        "nf_path": [
            {
                "ts_ns": met.ts_ns,
                "netns": met.netns,
                "namespace": names.name(met.netns),
                **json_step(step),
            }
            for met, step in _steps(journey, names)
        ],
        "end": {
            "how": end.how.value,
            "ts_ns": end.ts_ns,
            "netns": end.netns,
            "namespace": names.name(end.netns),
            "by": end.by,
            "reason": end.reason or None,
            "verdict": json_dropped_by(dropper(end, names)),
            "conntrack": json_conntrack(end.conntrack),
            "waited_ns": end.waited_ns,
            "forwarded": journey.forwarded,
            "left_host": end.how is Ended.LEFT and names.outside(end.netns, end.by),
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
        "description": "What it is called: host, a name of ip netns, a container, pod or process "
        'inside, its number, "?" where it is not known.',
        **_TEXT,
    },
}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_ADDRESSES = {**TUPLE_SCHEMA, "description": "As in an event."}

JOURNEY_SCHEMA: dict[str, Any] = {
    "title": "Journey",
    "description": "With --journey: a packet from its first sight to its end.",
    "type": "object",
    "properties": {
        "type": {"const": "journey"},
        "packet": {**_INTEGER, "description": "The packet's number."},
        "parent": {**_OR_NULL, "description": "Of the packet it was made of; null: not known."},
        "made": {
            "description": "What it is of that one; null: not known.",
            "enum": [*(made.value for made in Made), None],
        },
        "parent_sure": {
            "type": "boolean",
            "description": "false: that is concluded of what its CPU had in hand before it.",
        },
        "begin_ns": {**_INTEGER, "description": "Its first sight, CLOCK_MONOTONIC."},
        "time_ns": {"type": "integer", "description": "The same since the epoch."},
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
                    "mtu": {**_INTEGER, "description": "Of the interface, bytes; 0: not known."},
                    "vlan": {**_OR_NULL, "description": "Identifier of the outermost VLAN tag."},
                    "device": {
                        "type": ["string", "null"],
                        "description": "What it is part of or lies on, or which tunnel it is: "
                        "bridge docker0, vlan on eth0, vxlan 42; null: nothing, or it came later.",
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
                    "tunnels": {
                        **_INTEGER,
                        "description": "In how many it is there, as far as its hops tell.",
                    },
                    "conntrack": {
                        **CONNTRACK_SCHEMA,
                        "description": "As in an event; null without --output-conntrack, too.",
                    },
                    "seen": {
                        "type": "boolean",
                        "description": "false: it came there where no tracepoint is, at ts_ns or "
                        "after, and told so later.",
                    },
                },
                "required": [
                    "ts_ns", "netns", "namespace", "iface", "way", "mtu", "vlan", "device",
                    "change", "tunnels", "conntrack", "seen",
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
                    **VERDICT_MEMBERS,
                },
                "required": ["ts_ns", "netns", "namespace", "iface", *VERDICT_MEMBERS],
            },
        },
        "nf_path": {
            "description": "With --output-nf-path: the rules of netfilter that matched, and the "
            "policies that decided, in the order of time.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {"ts_ns": _INTEGER, **_NETNS, **STEP_SCHEMA["properties"]},
                "required": ["ts_ns", "netns", "namespace", *STEP_SCHEMA["required"]],
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
                "verdict": DROPPED_BY_SCHEMA,
                "conntrack": {
                    **CONNTRACK_SCHEMA,
                    "description": "Of a drop, as in an event; null elsewhere, and without "
                    "--output-conntrack.",
                },
                "waited_ns": {**_OR_NULL, "description": "How long it lay until it was read."},
                "forwarded": {
                    "type": "boolean",
                    "description": "It has come in by a device and left by one.",
                },
                "left_host": {
                    "type": "boolean",
                    "description": "It has left by a device whose other end is not on this host; "
                    "false where nothing tells, too.",
                },
                "sure": {
                    "type": "boolean",
                    "description": "false: it is concluded, and not seen; note says of what.",
                },
                "note": _TEXT,
            },
            "required": [
                "how", "ts_ns", "netns", "namespace", "by", "reason", "verdict", "conntrack",
                "waited_ns", "forwarded", "left_host", "sure", "note",
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
        "type", "packet", "parent", "begin_ns", "time_ns", "tuple", "process",
        "process_sure", "hops", "verdicts", "nf_path", "end",
        "answers", "answered_by", "round_trip_ns",
    ],
}  # fmt: skip
"""A line of ``--journey --output-json``."""
