# SPDX-License-Identifier: Apache-2.0
"""Advice as lines of text, at most three a cause, and as JSON. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..advice.case import VAGUE, Advice, Drop, Fact, Finding, Verdict
from .json_tuple import TUPLE_SCHEMA, json_addresses

_FACTS_SHOWN = 5
_HEAD = "advice, by the state of the kernel:"


def advice_lines(said: Sequence[Advice], left: int = 0) -> list[str]:
    """What was found. ``left``: drops that came behind too many others."""
    lines = [_HEAD] if said or left else []
    lines += [line for one in said for line in _lines(one)]
    if left:
        lines.append(f"no advice for {left} more drops: there were too many causes to look at")
    return lines


def _lines(one: Advice) -> list[str]:
    head = f"{one.packets}  {_title(one)}"
    if one.note:
        return [f"{head}: no advice: {one.note}"]
    causes = [f for f in one.findings if f.verdict is not Verdict.NOT_THIS]
    refuted = [f for f in one.findings if f.verdict is Verdict.NOT_THIS]
    if not causes:
        return [
            f"{head}: {Verdict.NOT_THIS}: {'; '.join(f.what for f in refuted)}",
            *_proof(refuted),
        ]
    first = causes[0]
    lines = [f"{head}: {first.verdict}: {first.what}", *_proof([first, *refuted], refuted)]
    return [*lines, f"   change: {first.change}"] if first.change else lines


def _title(one: Advice) -> str:
    drop = one.drop
    place = f" at {drop.function}" if drop.function else ""
    name = f"{drop.reason}{place}" if drop.reason not in VAGUE else drop.function
    where = ", ".join(filter(None, (drop.ifname, one.netns_name)))
    return f"{name} ({where})" if where else name


def _proof(findings: Sequence[Finding], refuted: Sequence[Finding] = ()) -> list[str]:
    facts = dict.fromkeys(fact for finding in findings for fact in finding.proof)
    parts = [str(fact) for fact in list(facts)[:_FACTS_SHOWN]]
    parts += [f"{Verdict.NOT_THIS}: {finding.what}" for finding in refuted]
    return [f"   now: {'; '.join(parts)}"] if parts else []


def json_advice(one: Advice) -> dict[str, Any]:
    """As ``ADVICE_SCHEMA`` describes."""
    drop: Drop = one.drop
    return {
        "type": "advice",
        "reason": drop.reason,
        "function": drop.function,
        "netns": drop.netns,
        "netns_name": one.netns_name,
        "ifname": drop.ifname,
        "packets": one.packets,
        "tuple": json_addresses(drop.tuple, drop.tcp_flags),
        "findings": [
            {
                "verdict": finding.verdict.value,
                "what": finding.what,
                "proof": [_fact(fact) for fact in finding.proof],
                "change": finding.change,
            }
            for finding in one.findings
        ],
        "note": one.note,
    }


def _fact(fact: Fact) -> dict[str, Any]:
    return {"name": fact.name, "value": fact.value, "limit": fact.limit, "rise": fact.rise}


_VALUE = ["integer", "string"]
ADVICE_SCHEMA: dict[str, Any] = {
    "title": "Advice",
    "description": "With --advice, before the summary: one cause of drops, what the kernel's state "
    "says of it, and what would change it.",
    "type": "object",
    "properties": {
        "type": {"const": "advice"},
        "reason": {
            "description": "The drop reason, '' or NOT_SPECIFIED where the kernel gives none; of a "
            "loss that is no drop the name of its counter.",
            "type": "string",
        },
        "function": {"description": "Who freed the packets; '' of a counter.", "type": "string"},
        "netns": {"description": "As in an event.", "type": "integer"},
        "netns_name": {
            "description": "host, a name of ip netns, a container, pod or process inside; '' where "
            "not known.",
            "type": "string",
        },
        "ifname": {"description": "Interface, '' without one.", "type": "string"},
        "packets": {"description": "Drops of this cause.", "type": "integer", "minimum": 1},
        "tuple": TUPLE_SCHEMA,
        "findings": {
            "description": "The surest first.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "verdict": {
                        "description": "not this: a cause that the values refute.",
                        "enum": [verdict.value for verdict in Verdict],
                    },
                    "what": {"description": "What happened.", "type": "string"},
                    "proof": {
                        "description": "The values that say so.",
                        "type": "array",
                        "items": {
                            "type": "object",
                            "properties": {
                                "name": {"type": "string"},
                                "value": {"description": "Now.", "type": _VALUE},
                                "limit": {
                                    "description": "What it is measured against; null without.",
                                    "type": [*_VALUE, "null"],
                                },
                                "rise": {
                                    "description": "By how much it rose during the trace; null "
                                    "where that is not known.",
                                    "type": ["integer", "null"],
                                },
                            },
                            "required": ["name", "value", "limit", "rise"],
                        },
                    },
                    "change": {
                        "description": "What would change it, and what that costs.",
                        "type": "string",
                    },
                },
                "required": ["verdict", "what", "proof", "change"],
            },
        },
        "note": {"description": "Why nothing could be read; '' else.", "type": "string"},
    },
    "required": [
        "type", "reason", "function", "netns", "netns_name", "ifname", "packets", "tuple",
        "findings", "note",
    ],
}  # fmt: skip
