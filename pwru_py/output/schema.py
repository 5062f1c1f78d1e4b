# SPDX-License-Identifier: Apache-2.0
"""The JSON Schema of ``--output-json``: ``python -m pwru_py.output.schema > FILE``.

``schema.json`` beside this module is what it prints.
"""

from __future__ import annotations

import json
from typing import Any

from .advice import ADVICE_SCHEMA
from .empty import EMPTY_SCHEMA
from .fields import FIELDS, RETURN_KEYS, View
from .journey import JOURNEY_SCHEMA
from .json_tuple import TUPLE_SCHEMA
from .paths import PATHS_SCHEMA
from .summary import SCHEMA_VERSION

_LEAST = View(meta=False, tuple=False)


def schema() -> dict[str, Any]:
    """The schema of a line: an event, losses or the summary."""
    kinds = ("event", "lost", "return", "drops", "journey", "paths", "advice", "empty", "summary")
    return {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "A line of pwru-py --output-json",
        "description": f"Version {SCHEMA_VERSION}. Tell lines apart by type. Later versions may "
        "add keys and types of lines: ignore what you do not know.",
        "oneOf": [{"$ref": f"#/$defs/{kind}"} for kind in kinds],
        "$defs": {
            "event": _event(),
            "return": _return(),
            "journey": JOURNEY_SCHEMA,
            "paths": PATHS_SCHEMA,
            "advice": ADVICE_SCHEMA,
            "empty": EMPTY_SCHEMA,
            **_OTHERS,
        },
    }


def _return() -> dict[str, Any]:
    """Members of an event, which are those of the entry, and what was returned."""
    event = _event()
    return {
        **event,
        "title": "Return",
        "description": "A kernel function has returned, with --output-return or --filter-return. "
        "The packet may be freed by then: what is said of it is as it was at the entry.",
        "properties": {**event["properties"], "type": {"const": "return"}},
        "required": [*event["required"], *RETURN_KEYS],
    }


def _event() -> dict[str, Any]:
    names = {row.key: [member.name for member in row.members] for row in FIELDS}
    meta = [
        name
        for row in FIELDS
        if row.shown(View(tuple=False)) and not row.shown(_LEAST)
        for name in names[row.key]
    ]
    return {
        "title": "Event",
        "description": "One packet in one kernel function.",
        "type": "object",
        "properties": {
            member.name: dict(member.schema)
            for row in sorted(FIELDS, key=lambda row: row.group)
            for member in row.members
        },
        "required": [name for row in FIELDS if row.shown(_LEAST) for name in names[row.key]],
        "dependentRequired": {meta[0]: meta[1:]},
    }


_LOSSES: dict[str, Any] = {
    "buffer_full": {
        "description": "Events that matched but found the buffer full.",
        "type": "integer",
        "minimum": 0,
    },
    "track_full": {
        "description": "Packets that could not be followed, or not to their end: too many at once.",
        "type": "integer",
        "minimum": 0,
    },
    "recursion": {
        "description": "Probe hits that are known to have been skipped because a probe"
        " already ran on that CPU; null where nothing is known.",
        "type": ["integer", "null"],
        "minimum": 0,
    },
    "recursion_whole": {
        "description": "Whether these are all; false where the kernel does not count all,"
        " or has not told yet.",
        "type": "boolean",
    },
}

_OTHERS: dict[str, Any] = {
    "lost": {
        "title": "Losses",
        "description": "Counts since the start of the session, written when they rose.",
        "type": "object",
        "properties": {
            "type": {"const": "lost"},
            **_LOSSES,
        },
        "required": ["type", "buffer_full", "track_full", "recursion", "recursion_whole"],
    },
    "drops": {
        "title": "Drops counted",
        "description": "A report of --drops --top.",
        "type": "object",
        "properties": {
            "type": {"const": "drops"},
            "time_ns": {"description": "When, ns since the epoch.", "type": "integer"},
            "total": {"description": "All drops so far.", "type": "integer", "minimum": 0},
            "kinds": {
                "description": "The most frequent first.",
                "type": "array",
                "items": {
                    "type": "object",
                    "properties": {
                        "reason": {"type": "string"},
                        "function": {
                            "description": "Who freed the packets, '' where that is hidden.",
                            "type": "string",
                        },
                        "netns": {"description": "As in an event.", "type": "integer"},
                        "ifname": {"description": "Interface, '' without one.", "type": "string"},
                        "packets": {"description": "So far.", "type": "integer", "minimum": 1},
                        "rate": {
                            "description": "Packets a second since the last report.",
                            "type": "number",
                        },
                        "share": {"description": "Of all drops, 0 to 1.", "type": "number"},
                        "last_ns": {
                            "description": "When the last report was that had more of them, ns "
                            "since the epoch.",
                            "type": "integer",
                        },
                        "flows": {
                            "description": "Its busiest flows, at most 100.",
                            "type": "array",
                            "items": {
                                "type": "object",
                                "properties": {
                                    "tuple": TUPLE_SCHEMA,
                                    "packets": {
                                        "description": "So far.",
                                        "type": "integer",
                                        "minimum": 0,
                                    },
                                    "rate": {
                                        "description": "Packets a second since the last report.",
                                        "type": "number",
                                    },
                                },
                                "required": ["tuple", "packets", "rate"],
                            },
                        },
                        "other_flows": {
                            "description": "Packets of all other flows, those included that are "
                            "no longer told apart.",
                            "type": "integer",
                            "minimum": 0,
                        },
                    },
                    "required": [
                        "reason",
                        "function",
                        "netns",
                        "ifname",
                        "packets",
                        "rate",
                        "share",
                        "last_ns",
                        "flows",
                        "other_flows",
                    ],
                },
            },
        },
        "required": ["type", "time_ns", "total", "kinds"],
    },
    "summary": {
        "title": "Summary",
        "description": "The last line.",
        "type": "object",
        "properties": {
            "type": {"const": "summary"},
            "schema": {
                "description": "The version of this schema. It rises when a key goes, or means "
                "something else; not when one is added.",
                "const": SCHEMA_VERSION,
            },
            "events": {"description": "Events of the session.", "type": "integer", "minimum": 0},
            "packets": {
                "description": "Packets told apart (`packet`).",
                "type": "integer",
                "minimum": 0,
            },
            "packets_limited": {
                "description": "Whether there were more packets than could be told apart.",
                "type": "boolean",
            },
            "drops": {
                "description": "Drop reason to number of packets, as the kernel's tracepoint "
                "skb:kfree_skb tells of them.",
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "drop_places": {
                "description": "The same by reason and the function that freed the packets.",
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "drops_limited": {
                "description": "Whether there may be more drops, as the kernel skipped hits.",
                "type": "boolean",
            },
            "tagged": {
                "description": "Hits that matched but for a VLAN tag.",
                "type": "integer",
                "minimum": 0,
            },
            "unbelieved": {
                "description": "Hits that are not shown, as what the function got can be no "
                "sk_buff; where types come from the kernel's headers.",
                "type": "integer",
                "minimum": 0,
            },
            "silent": {
                "description": "With --drops: counters of the namespace that tell of losses which "
                "are no drops to the kernel, of all packets there, to how much they rose.",
                "type": "object",
                "additionalProperties": {"type": "integer", "minimum": 1},
            },
            "replies": {
                "description": "Of the drops, echo replies without a ping socket: raw sockets have "
                "had their copies before.",
                "type": "integer",
                "minimum": 0,
            },
            "closings": {
                "description": "Of the drops, those that may be the last packets of TCP "
                "connections: a TIME-WAIT socket takes them in.",
                "type": "integer",
                "minimum": 0,
            },
            "pieces": {
                "description": "sk_buffs freed in lists that may be drops, or fragments of packets "
                "that arrived: this kernel does not tell.",
                "type": "integer",
                "minimum": 0,
            },
            "unreturned": {
                "description": "With --output-return or --filter-return: functions that were "
                "entered and not seen to return, as they are under way or the kernel skipped the "
                "probe; else null.",
                "type": ["integer", "null"],
                "minimum": 0,
            },
            "losses": {"$ref": "#/$defs/losses"},
            "attached": {"description": "Functions traced.", "type": "integer", "minimum": 0},
            "failed": {
                "description": "Functions that could not be attached.",
                "type": "integer",
                "minimum": 0,
            },
        },
        "required": [
            "type",
            "schema",
            "events",
            "packets",
            "packets_limited",
            "drops",
            "drop_places",
            "drops_limited",
            "pieces",
            "replies",
            "closings",
            "tagged",
            "unbelieved",
            "silent",
            "unreturned",
            "losses",
            "attached",
            "failed",
        ],
    },
    "losses": {
        "title": "Losses so far",
        "description": "What was not shown.",
        "type": "object",
        "properties": {
            **_LOSSES,
        },
        "required": ["buffer_full", "track_full", "recursion", "recursion_whole"],
    },
}


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
