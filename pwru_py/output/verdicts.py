# SPDX-License-Identifier: Apache-2.0
"""What netfilter said, as text and as JSON."""

from __future__ import annotations

from typing import Any

from ..record.event import DroppedBy, Step, Verdict


def step_text(step: Step) -> str:
    """``ip filter FORWARD, chain web, rule 4: tcp dport 80 accept → ACCEPT``, as far as known."""
    said, verdict = step.verdict, step.verdict.verdict
    table = f"{said.family or 'table'} {said.table} {said.hook}"
    if said.step == "policy":
        return f"{table}, policy of chain {said.chain} → {verdict}"
    known = f", chain {step.chain}, rule {said.rule}: {step.text}"
    gone = f", rule {said.rule}" if said.rule else ", a rule"
    rule = known if step.text else f"{gone} (gone, or it cannot be listed)"
    return f"{table}{rule}" + ("" if verdict in ("", "CONTINUE") else f" → {verdict}")


def json_step(step: Step) -> dict[str, Any]:
    """As ``STEP_SCHEMA`` describes."""
    said = step.verdict
    return {
        "family": said.family,
        "tool": said.tool,
        "table": said.table,
        "hook": said.hook,
        "step": said.step,
        "verdict": said.verdict,
        "chain": (step.chain or None) if said.step == "rule" else said.chain,
        "rule": said.rule or None,
        "rule_text": step.text or None,
    }


def json_dropped_by(dropped: DroppedBy | None) -> dict[str, Any] | None:
    """As ``DROPPED_BY_SCHEMA`` describes."""
    if dropped is None:
        return None
    return {
        **json_verdict(dropped.verdict),
        "rule": dropped.rule or None,
        "rule_chain": dropped.chain or None,
        "rule_text": dropped.text or None,
        "by_policy": dropped.by_policy,
    }


def json_verdict(verdict: Verdict) -> dict[str, Any]:
    """As ``VERDICT_MEMBERS`` describe."""
    members = {name: getattr(verdict, name) for name in VERDICT_MEMBERS}
    for optional in ("table_handle", "rule", "policy"):
        members[optional] = members[optional] or None
    return members


_TEXT = {"type": "string"}
_TEXT_OR_NULL = {"type": ["string", "null"]}
_OR_NULL = {"type": ["integer", "null"], "minimum": 0}
VERDICT_MEMBERS: dict[str, dict[str, Any]] = {
    "family": {**_TEXT, "description": 'Of nf_tables; "" of x_tables.'},
    "table": _TEXT,
    "chain": {**_TEXT, "description": 'Of nf_tables, the base chain; else "".'},
    "hook": {**_TEXT, "description": "PREROUTING, INPUT, ..."},
    "verdict": {**_TEXT, "description": "ACCEPT, DROP, STOLEN, QUEUE, ..."},
    "table_handle": {**_OR_NULL, "description": "Of nf_tables."},
    "rule": {
        **_OR_NULL,
        "description": "Which rule said so; null: none is known. Of nf_tables its handle; of "
        "iptables, where a packet ends, its number in its chain.",
    },
    "tool": {
        **_TEXT,
        "description": 'Whose table: iptables, ip6tables, arptables, ebtables; "" of nf_tables.',
    },
    "policy": {**_TEXT_OR_NULL, "description": "Of nf_tables' base chain then: ACCEPT, DROP."},
}
DROPPED_BY_SCHEMA: dict[str, Any] = {
    "description": "What netfilter said that dropped the packet, or queued it, where no program "
    "takes it or one drops it; null: nothing, or its tables cannot be probed.",
    "type": ["object", "null"],
    "properties": {
        **VERDICT_MEMBERS,
        "rule_chain": {**_TEXT_OR_NULL, "description": "The chain that has the rule."},
        "rule_text": {
            **_TEXT_OR_NULL,
            "description": "The rule, as nft or iptables-save lists it; null: it is gone, or "
            "cannot be listed.",
        },
        "by_policy": {
            "description": "The chain's policy dropped it; false: a rule did, or it may have.",
            "type": "boolean",
        },
    },
    "required": [*VERDICT_MEMBERS, "rule_chain", "rule_text", "by_policy"],
}
STEP_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "family": _TEXT,
        "tool": VERDICT_MEMBERS["tool"],
        "table": _TEXT,
        "hook": VERDICT_MEMBERS["hook"],
        "step": {
            "description": "A rule that matched, or the policy that decided.",
            "enum": ["rule", "policy"],
        },
        "verdict": {
            **_TEXT,
            "description": "CONTINUE of a rule without one, JUMP, GOTO, RETURN, ACCEPT, DROP, ...; "
            'of another target of iptables its name; "": not known.',
        },
        "chain": {**_TEXT_OR_NULL, "description": "That has the rule, or the policy."},
        "rule": {
            **_OR_NULL,
            "description": "Its handle, of iptables its number in its chain; null: it is the "
            "policy.",
        },
        "rule_text": {
            **_TEXT_OR_NULL,
            "description": "As nft or iptables-save lists it; null: it is gone, or cannot be "
            "listed.",
        },
    },
}
STEP_SCHEMA["required"] = [*STEP_SCHEMA["properties"]]
