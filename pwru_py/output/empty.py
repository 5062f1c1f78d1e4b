# SPDX-License-Identifier: Apache-2.0
"""Why a trace stayed empty, as lines and as JSON."""

from __future__ import annotations

from typing import Any

from ..escape import printable
from ..record.empty import Explanation

LINES_MAX = 10
_CAUSES_MAX = 5
CAUSES = (
    "no drop", "dropped", "functions", "group", "conntrack", "unexplained", "place", "interface",
    "mark", "swapped", "tagged", "untagged", "other tag", "pppoe", "mpls", "family", "tunnel",
    "translated", "no route", "xdp", "clause", "unsent", "quiet",
)  # fmt: skip
"""Names of causes."""


def empty_lines(why: Explanation) -> list[str]:
    """At most ten, the likeliest cause first; none where there is nothing to tell."""
    causes = [
        f"  {number}. {'' if cause.certain else 'likely: '}{cause.text}"
        for number, cause in enumerate(why.causes[:_CAUSES_MAX], 1)
    ]
    lines = [*causes, *(f"  {fact}" for fact in why.facts)][: LINES_MAX - 1]
    return [printable(line) for line in ["no event came:", *lines]] if lines else []


def json_empty(why: Explanation) -> dict[str, object]:
    """As EMPTY_SCHEMA has it."""
    return {
        "type": "empty",
        "causes": [
            {"cause": c.name, "certain": c.certain, "text": printable(c.text), "packets": c.packets}
            for c in why.causes
        ],
        "facts": [printable(fact) for fact in why.facts],
    }


EMPTY_SCHEMA: dict[str, Any] = {
    "title": "Why no event came",
    "description": "Of a session that ends without an event, before the summary.",
    "type": "object",
    "properties": {
        "type": {"const": "empty"},
        "causes": {
            "description": "The likeliest first.",
            "type": "array",
            "items": {
                "type": "object",
                "properties": {
                    "cause": {"enum": list(CAUSES)},
                    "certain": {
                        "description": "Whether the evidence leaves no other reading.",
                        "type": "boolean",
                    },
                    "text": {"type": "string"},
                    "packets": {
                        "description": "Those that show it, 0 where none do.",
                        "type": "integer",
                        "minimum": 0,
                    },
                },
                "required": ["cause", "certain", "text", "packets"],
            },
        },
        "facts": {"type": "array", "items": {"type": "string"}},
    },
    "required": ["type", "causes", "facts"],
}
