# SPDX-License-Identifier: Apache-2.0
"""Programs of control groups, and filters of sockets. Pure."""

from __future__ import annotations

from typing import Any

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict
from .sockets import has_port

_SYSTEMD = "sd_fw_"
"""How systemd calls its own: IPAddressAllow=, IPAddressDeny= (systemd.resource-control(5))."""


def _programs(place: str, drop: Drop) -> Reading:
    """Those that a socket's packets meet; of every group where the packet tells no port."""
    if not has_port(drop):
        return Reading("group_programs", (place, 0, 0))
    assert drop.tuple is not None
    port = drop.tuple.sport if place == "egress" else drop.tuple.dport
    return Reading("group_programs", (place, drop.tuple.proto, port))


def _called(program: dict[str, Any]) -> str:
    group = program["group"] or "one above"
    return f"program {program['name'] or '?'} (id {program['id']}) of {group}"


def _listed(programs: list[dict[str, Any]]) -> str:
    more = f" and {len(programs) - 3} more" if len(programs) > 3 else ""
    return ", ".join(map(_called, programs[:3])) + more


def _facts(place: str, programs: list[dict[str, Any]]) -> tuple[Fact, ...]:
    return tuple(Fact(f"control group {place}", _called(one)) for one in programs[:3])


def _change(programs: list[dict[str, Any]]) -> str:
    if programs and all(one["name"].startswith(_SYSTEMD) for one in programs):
        return (
            "extend IPAddressAllow= of that unit by this address: it reaches the unit then (see "
            "systemctl show)"
        )
    return "change that program: its owner (systemd, a CNI) has reasons; see bpftool cgroup tree"


def _out(drop: Drop, answers: Answers) -> list[Finding]:
    told = answers.get(_programs("egress", drop))
    found = told["programs"] if told is not None else []
    if not found:
        what = "a BPF program of a control group refused it on its way out"
        if told is not None:
            what += "; none is attached now"
        return [Finding(Verdict.LIKELY, what, (), "see bpftool cgroup tree")]
    only = len(found) == 1 and (told["known"] or told["whole"])
    one_of = "" if len(found) == 1 else "one of "
    what = f"on its way out it was refused by {one_of}{_listed(found)}"
    verdict = Verdict.PROVEN if only else Verdict.LIKELY
    return [Finding(verdict, what, _facts("egress", found), _change(found))]


def _in(drop: Drop, answers: Answers) -> list[Finding]:
    """The same reason stands for a filter of the socket, a control group's and an LSM's."""
    told = answers.get(_programs("ingress", drop))
    own = "a filter of the socket itself (SO_ATTACH_FILTER)"
    see = "see what filter the program sets on its socket: it wants no such packets"
    if told is None or not (told["programs"] or told["known"] or told["whole"]):
        what = f"{own}, or a BPF program of its control group, refused it"
        return [Finding(Verdict.LIKELY, what, (), f"{see}; see bpftool cgroup tree")]
    found = told["programs"]
    if found:
        what = f"its socket's control group refused it by {_listed(found)}; else {own} did"
        proof = _facts("ingress", found)
        return [Finding(Verdict.LIKELY, what, proof, _change(found))]
    return [
        Finding(Verdict.LIKELY, f"{own} refused it, or a security module did", (), see),
        Finding(Verdict.NOT_THIS, "no BPF program of a control group judges what comes to it"),
    ]


DIAGNOSES = (
    Diagnosis(
        (
            ("BPF_CGROUP_EGRESS", ANY),
            ("", "ip_finish_output"),
            ("", "ip6_finish_output"),
            ("", "ip_mc_finish_output"),
        ),
        lambda drop: (_programs("egress", drop),),
        _out,
        "net/ipv4/ip_output.c: ip_finish_output()",
        lambda drop: drop.tuple.sport if drop.tuple is not None else None,
    ),
    Diagnosis(
        (("SOCKET_FILTER", ANY),),
        lambda drop: (_programs("ingress", drop),),
        _in,
        "net/core/filter.c: sk_filter_trim_cap()",
        lambda drop: drop.tuple.dport if drop.tuple is not None else None,
    ),
)
