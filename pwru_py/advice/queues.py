# SPDX-License-Identifier: Apache-2.0
"""Queues: qdiscs, the CPU's backlog, a tun device that nobody reads. Pure."""

from __future__ import annotations

from typing import Any

from .case import (
    ANY,
    Answers,
    Diagnosis,
    Drop,
    Fact,
    Finding,
    Reading,
    Verdict,
    link,
    number,
    peer,
    sysctl,
)

_BACKLOG = "net/core/netdev_max_backlog"
_SHAPERS = ("tbf", "htb", "hfsc", "cake", "cbs", "drr")
_DELAYERS = ("codel", "fq_codel", "fq_pie", "pie", "red", "sfb", "gred", "choke")
_QDISC_REASONS = (
    "QDISC_DROP",  # 6.1
    "FQ_BAND_LIMIT",  # 6.12
    "FQ_HORIZON_LIMIT",
    "FQ_FLOW_LIMIT",
    "QDISC_OVERLIMIT",  # 6.18
    "QDISC_CONGESTED",
    "CAKE_FLOOD",
    "DUALPI2_STEP_DROP",
    "QDISC_DROP_GENERIC",  # 7.3
    "QDISC_DROP_OVERLIMIT",
    "QDISC_DROP_CONGESTED",
    "QDISC_DROP_MAXFLOWS",
    "QDISC_DROP_FLOOD_PROTECTION",
    "QDISC_DROP_BAND_LIMIT",
    "QDISC_DROP_HORIZON_LIMIT",
    "QDISC_DROP_FLOW_LIMIT",
    "QDISC_DROP_L4S_STEP_NON_ECN",
    "QDISC_BURST_DROP",
)


def _qdiscs(drop: Drop) -> Reading:
    return Reading("qdiscs", (drop.ifname,))


def _qdisc(drop: Drop, answers: Answers) -> list[Finding]:
    listed = answers.get(_qdiscs(drop))
    idle = _down(drop, answers) or _no_carrier(drop, answers, listed or [])
    if idle:
        return idle
    if not listed:
        what = f"the queue (qdisc) of {drop.ifname} dropped it; none is there now"
        return [Finding(Verdict.LIKELY, what)]
    worst = max(listed, key=lambda q: (_rise(answers, drop, q) or 0, q["drops"], q["depth"]))
    name = f"qdisc {worst['kind']} {worst['handle']} of {drop.ifname}"
    rise = _rise(answers, drop, worst)
    end = {q["handle"]: q for q in answers.end.get(_qdiscs(drop)) or listed}
    counted = end.get(worst["handle"], worst)["drops"]
    proof = (Fact(f"drops of {name}", counted, None, rise), *_size(worst))
    sure = Verdict.PROVEN if rise or (rise is None and counted) else Verdict.LIKELY
    what, change = _cause(worst, name)
    if worst.get("loss") and not (worst["qlen"] >= (worst.get("limit") or 1 << 31)):
        return [
            Finding(sure, what, proof, change),
            Finding(Verdict.NOT_THIS, f"a full queue: {worst['qlen']} of {worst['limit']} wait"),
        ]
    return [Finding(sure, what, proof, change)]


def _down(drop: Drop, answers: Answers) -> list[Finding]:
    """A device that nobody has set up has the kernel's noop queue, too."""
    device = answers.get(link(drop.ifname)) or {}
    if device.get("up") is not False:
        return []
    what = f"{drop.ifname} is down: what is sent by it is dropped at once"
    proof = (Fact(drop.ifname, "down"),)
    return [Finding(Verdict.PROVEN, what, proof, f"ip link set {drop.ifname} up")]


def _no_carrier(drop: Drop, answers: Answers, listed: list[dict[str, Any]]) -> list[Finding]:
    """Without a carrier the kernel puts its noop queue before the device: that drops all, and the
    queue that is shown counts nothing (net/sched/sch_generic.c: dev_deactivate()).
    """
    device = answers.get(link(drop.ifname)) or {}
    rises = [_rise(answers, drop, qdisc) for qdisc in listed]
    if device.get("carrier") != 0 or any(rises):
        return []
    what = f"{drop.ifname} has no carrier: what is sent by it is dropped at once"
    proof = (Fact(f"{drop.ifname} carrier", 0), Fact(f"{drop.ifname} state", device["state"]))
    change = "see its cable and the port at the other end"
    end = answers.get(peer(drop.ifname))
    if end is not None and not end["up"]:
        named = f"{end['name']} in {end['netns']}" if end["netns"] else end["name"]
        what += f": its other end, {named}, is down"
        change = f"ip link set {end['name']} up, there"
    elif device.get("kind") == "veth":
        change = "its other end is down: ip link set … up, in the namespace it is in"
    elif device.get("kind"):
        change = "see the devices below it: ip -d link"
    counts = bool(rises) and None not in rises
    verdict = Verdict.PROVEN if counts else Verdict.LIKELY
    refuted = [Finding(Verdict.NOT_THIS, "a full queue: none has dropped")] if counts else []
    return [Finding(verdict, what, proof, change), *refuted]


def _rise(answers: Answers, drop: Drop, qdisc: dict[str, Any]) -> int | None:
    return answers.rise(f"qdisc.{drop.ifname}.{qdisc['handle']}.drops")


def _size(qdisc: dict[str, Any]) -> tuple[Fact, ...]:
    limit = qdisc.get("limit")
    if qdisc.get("limit_bytes"):
        return (Fact("bytes that wait", qdisc["backlog"], qdisc["limit_bytes"]),)
    return (Fact("packets that wait", qdisc["qlen"], limit),)


def _cause(qdisc: dict[str, Any], name: str) -> tuple[str, str]:
    kind = qdisc["kind"]
    if qdisc.get("loss"):
        what = f"{name} drops {qdisc['loss']} % on purpose"
        return what, "remove its loss: somebody has set it for a test"
    if kind in _SHAPERS:
        rate = f" to {qdisc['rate']} bit/s" if qdisc.get("rate") else ""
        what = f"{name} shapes{rate}, and more comes than it sends"
        return what, "send slower, or raise its rate; a longer queue only makes packets late"
    if kind in _DELAYERS:
        what = f"{name} drops to keep delay short: more comes than the link sends"
        return what, "send slower or over a faster link; a higher target makes packets late"
    if kind == "fq":
        what = f"{name} refuses what a flow, a band or its horizon has no room for"
        return what, "raise its limit or flow_limit (memory, delay), or send slower"
    what = f"{name} is full: more comes than the device sends"
    return what, "raise its limit (packets become late), or send slower"


def _cpu_needs(drop: Drop) -> tuple[Reading, ...]:
    return (sysctl(_BACKLOG), sysctl("net/core/flow_limit_cpu_bitmap"))


def _cpu(drop: Drop, answers: Answers) -> list[Finding]:
    dropped, limited = answers.rise("softnet.dropped"), answers.rise("softnet.flow_limit")
    most = number(answers, _BACKLOG)
    proof = (
        *answers.moved("softnet.dropped", "softnet_stat dropped"),
        *answers.moved("softnet.time_squeeze", "time_squeeze"),
        *((Fact("net.core.netdev_max_backlog", most),) if most is not None else ()),
    )
    what = "a CPU's backlog of packets is full: they come faster than it works them off"
    change = (
        "spread the load (RPS, more queues), or raise net.core.netdev_max_backlog (packets become "
        "late)"
    )
    if limited:
        what = "one flow fills more than half of a CPU's backlog, and the flow limit cuts it"
        proof += answers.moved("softnet.flow_limit", "flow_limit")
        change = "send slower, or spread the flow; without flow limit it crowds the others out"
    return [Finding(Verdict.PROVEN if dropped or limited else Verdict.LIKELY, what, proof, change)]


def _ring_needs(drop: Drop) -> tuple[Reading, ...]:
    return (link(drop.ifname),)


def _ring(drop: Drop, answers: Answers) -> list[Finding]:
    device = answers.get(link(drop.ifname)) or {}
    moved = answers.moved(f"dev.{drop.ifname}.tx_dropped", f"{drop.ifname} tx_dropped")
    if device.get("kind") not in ("tun", "macvtap", "ipvtap", None):
        what = f"the ring of {drop.ifname} was full"
        return [Finding(Verdict.LIKELY, what, moved, "see who takes packets out of it")]
    length = device.get("txqlen")
    proof = (*moved, *((Fact("txqueuelen", length),) if length is not None else ()))
    what = f"the program behind {drop.ifname} (a VM, a VPN) does not read as fast as packets come"
    change = f"see whether it hangs or lacks CPU; a larger txqueuelen of {drop.ifname} delays more"
    sure = answers.rise(f"dev.{drop.ifname}.tx_dropped") and device.get("kind") == "tun"
    return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]


def _ready(drop: Drop, answers: Answers) -> list[Finding]:
    device = answers.get(link(drop.ifname)) or {}
    state = device.get("state")
    proof = (Fact(f"{drop.ifname} state", state),) if state else ()
    if device.get("kind") == "tun":
        what = f"no program has {drop.ifname} open"
        change = "start the VM or VPN that belongs to it"
        sure = state in ("down", "lowerlayerdown", "dormant") or device.get("carrier") == 0
        return [Finding(Verdict.PROVEN if sure else Verdict.LIKELY, what, proof, change)]
    what = f"{drop.ifname} is not ready: it is down, or leaves"
    return [Finding(Verdict.LIKELY, what, proof, f"ip link set {drop.ifname} up")]


DIAGNOSES = (
    Diagnosis(
        (
            *((reason, ANY) for reason in _QDISC_REASONS),
            ("", "__dev_queue_xmit"),
        ),
        lambda drop: (_qdiscs(drop), link(drop.ifname), peer(drop.ifname)),
        _qdisc,
        "net/core/dev.c: __dev_xmit_skb()",
    ),
    Diagnosis(
        (("CPU_BACKLOG", ANY), ("", "enqueue_to_backlog")),
        _cpu_needs,
        _cpu,
        "net/core/dev.c: enqueue_to_backlog()",
    ),
    Diagnosis(
        (("FULL_RING", ANY),),
        _ring_needs,
        _ring,
        "drivers/net/tun.c: tun_net_xmit()",
    ),
    Diagnosis(
        (("DEV_READY", ANY),),
        _ring_needs,
        _ready,
        "drivers/net/tun.c: tun_net_xmit()",
    ),
)
