# SPDX-License-Identifier: Apache-2.0
"""Which chains of nf_tables can drop, of what nft(8) lists as JSON. Pure."""

from __future__ import annotations

import json
from typing import Any

_CHAINS_MAX = 64


def dropping(items: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Chains that drop, of what ``nft -j list ruleset`` prints: ``family``, ``table``, ``chain``,
    ``drops`` (why), ``packets`` that the counters of their dropping rules have seen.
    """
    found: dict[tuple[str, str, str], dict[str, Any]] = {}

    def note(family: str, table: str, chain: str, why: str, packets: int) -> None:
        empty = {"family": family, "table": table, "chain": chain, "drops": why, "packets": 0}
        found.setdefault((family, table, chain), empty)["packets"] += packets

    for item in items:
        if (chain := item.get("chain")) and chain.get("policy") == "drop":
            note(chain["family"], chain["table"], chain["name"], "policy drop", 0)
        if (rule := item.get("rule")) and any(_ends(one) for one in rule["expr"]):
            counters = [one["counter"] for one in rule["expr"] if "counter" in one]
            packets = sum(c["packets"] for c in counters if isinstance(c, dict))
            invalid = " invalid" if '"invalid"' in json.dumps(rule["expr"]) else ""
            why = f"rule {rule['handle']}{invalid}"
            note(rule["family"], rule["table"], rule["chain"], why, packets)
    return list(found.values())[:_CHAINS_MAX]


def _ends(expression: dict[str, Any]) -> bool:
    """Whether a rule with it can drop: a verdict, a reject, a target, a map, a queue."""
    return any(key in expression for key in ("drop", "reject", "xt", "vmap", "queue"))
