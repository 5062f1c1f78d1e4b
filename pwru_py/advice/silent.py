# SPDX-License-Identifier: Apache-2.0
"""Losses that are no drops to the kernel: what stands behind a counter that rose. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from ..facts.driver_counters import Loss, kind
from .case import Answers, Fact, Finding, Reading, Verdict, link, number, setting, sysctl
from .devices import judge_programs, programs_of
from .neighbours import arp_unanswered, judge_arp
from .tcp import judge_accept_queue

LISTENERS = Reading("listeners", (6,))
_COOKIES, _HALF_OPEN = "net/ipv4/tcp_syncookies", "net/ipv4/tcp_max_syn_backlog"
_ARP = "ARP requests ignored"


_DEFAULT, _RULES = Reading("default_routes"), Reading("rules", (4,))


def _no_route_needs(ifname: str) -> tuple[Reading, ...]:
    return (_DEFAULT, _RULES)


def _no_route(ifname: str, count: int, answers: Answers) -> list[Finding]:
    """The counter is the proof that a route was missing; to where is not known."""
    default, rules = answers.get(_DEFAULT), answers.get(_RULES) or []
    told = "a program here wanted to send and no route led there"
    moved = answers.moved("Ip.OutNoRoutes") or (Fact("OutNoRoutes", count),)
    if default is None:
        return [Finding(Verdict.LIKELY, told, moved, "see ip route and ip rule")]
    listed = Fact("default route", ", ".join(default[:2]) or "none")
    if not default:
        what, change = f"{told}: there is no default route", "ip route add default via GATEWAY"
        return [Finding(Verdict.LIKELY, what, (listed, *moved), change)]
    proof = (listed, *(Fact("ip rule", one["text"]) for one in rules[:3]), *moved)
    what = f"{told} then; there is a default route now"
    if rules:
        what = f"{told}, though there is a default route: a rule asks another table, or refuses it"
    return [Finding(Verdict.LIKELY, what, proof, "see ip route get TARGET and ip rule")]


def _refused_syn(ifname: str, count: int, answers: Answers) -> list[Finding]:
    """What neither queue explains (tcp_conn_request()): no route back to the sender, as a rule."""
    full = ("TcpExt.ListenOverflows", "TcpExt.TCPReqQFullDrop")
    queues = [answers.rise(name) for name in full]
    if None in queues or sum(rise or 0 for rise in queues) >= count:
        return []  # a full queue, of which that counter tells
    moved = answers.moved("TcpExt.ListenDrops") or (Fact("ListenDrops", count),)
    default = answers.get(_DEFAULT)
    listed = () if default is None else (Fact("default route", ", ".join(default[:2]) or "none"),)
    why = "no route leads back to its sender, or no memory"
    if default == []:
        why = "its sender is behind no route, as none is default"
    what = f"a listening socket did not take a SYN: {why}"
    change = "see ip route get SENDER; add a route back"
    return [Finding(Verdict.LIKELY, what, (*listed, *moved), change)]


def _overflow_needs(ifname: str) -> tuple[Reading, ...]:
    return (LISTENERS, sysctl("net/core/somaxconn"))


def _overflow(ifname: str, count: int, answers: Answers) -> list[Finding]:
    return judge_accept_queue(answers, answers.get(LISTENERS) or [], told=False)


def _half_open_needs(ifname: str) -> tuple[Reading, ...]:
    return (sysctl(_COOKIES), sysctl(_HALF_OPEN))


def _half_open(ifname: str, count: int, answers: Answers) -> list[Finding]:
    proof = (
        *setting(answers, _COOKIES),
        *setting(answers, _HALF_OPEN),
        *answers.moved("TcpExt.TCPReqQFullDrop"),
    )
    what = "half-open connections fill their queue, and no cookie is sent: a SYN flood, or a burst"
    change = "set net.ipv4.tcp_syncookies=1 (connections by cookie lose some TCP options)"
    off = number(answers, _COOKIES) == 0
    return [Finding(Verdict.PROVEN if off else Verdict.LIKELY, what, proof, change)]


# What drivers count by names of their own


def _moved(ifname: str, counter: str, count: int, answers: Answers) -> tuple[Fact, ...]:
    """A driver's counter, as ``ethtool -S`` has it; what the session has seen where it is gone."""
    told = answers.moved(f"driver.{ifname}.{counter}", f"{ifname} {counter}")
    return told or (Fact(f"{ifname} {counter}", count),)


def _driver_needs(ifname: str, loss: Loss) -> tuple[Reading, ...]:
    return (programs_of(ifname),) if loss is Loss.XDP else ()


def _driver(ifname: str, counter: str, loss: Loss, count: int, answers: Answers) -> list[Finding]:
    proof = _moved(ifname, counter, count, answers)
    if loss is Loss.XDP:
        return judge_programs("xdp", ifname, answers, proof)
    if loss is Loss.RING:
        return _ring(ifname, count, answers, proof)
    if loss is Loss.LIMIT:
        which = counter.removesuffix("_allowance_exceeded")
        what = f"the cloud provider cut traffic of {ifname}: past this machine's limit for {which}"
        change = "send less, or fewer packets; a larger size of machine has larger limits"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    if loss is Loss.MEMORY:
        what = f"the driver of {ifname} got no memory for frames"
        change = "see free -m and dmesg; a larger vm.min_free_kbytes is taken from programs"
        return [Finding(Verdict.PROVEN, what, proof, change)]
    what = f"{ifname} or its driver dropped frames that were to be sent"
    if loss is Loss.RECEIVED:
        what = f"{ifname} or its driver dropped frames that came"
    change = f"see ethtool -S {ifname}, and what its driver means by {counter}"
    return [Finding(Verdict.LIKELY, what, proof, change)]


def _device_needs(ifname: str) -> tuple[Reading, ...]:
    return (link(ifname),)


def _device(ifname: str, count: int, answers: Answers) -> list[Finding]:
    device = answers.get(link(ifname)) or {}
    proof = (Fact(f"{ifname} receive errors", count),)
    if device.get("kind") == "wireguard":
        what = f"{ifname} refused what came: a source outside of allowed-ips, or a wrong key"
        change = "extend the peer's allowed-ips by that source (the peer may send from it then)"
        return [Finding(Verdict.LIKELY, what, proof, change)]
    what = f"frames came to {ifname} broken"
    return [Finding(Verdict.LIKELY, what, proof, "see ethtool -S: cable, duplex, MTU of the peer")]


def _ring(ifname: str, count: int, answers: Answers, told: tuple[Fact, ...] = ()) -> list[Finding]:
    what = f"the host did not empty the receive ring of {ifname} in time"
    proof = (
        *(told or (Fact(f"{ifname} frames missed", count),)),
        *answers.moved("softnet.time_squeeze", "time_squeeze"),
    )
    change = "a larger ring (ethtool -G: packets may become late), more queues, or spread them"
    return [Finding(Verdict.PROVEN, what, proof, change)]


_Needs = Callable[[str], tuple[Reading, ...]]
_Judge = Callable[[str, int, Answers], list[Finding]]
_KINDS: dict[str, tuple[_Needs, _Judge]] = {
    "OutNoRoutes": (_no_route_needs, _no_route),
    "ListenDrops": (_no_route_needs, _refused_syn),
    "ListenOverflows": (_overflow_needs, _overflow),
    "TCPReqQFullDrop": (_half_open_needs, _half_open),
    _ARP: (lambda ifname: arp_unanswered(ifname)[0], judge_arp),
    "receive errors": (_device_needs, _device),
    "receive overruns": (_device_needs, _ring),
    "frames missed": (_device_needs, _ring),
}
"""By the counter's name, the interface's left out (``facts.counters``)."""


def _split(key: str) -> tuple[str, str]:
    """(counter, interface)."""
    ifname, _, counter = key.rpartition(": ")
    return counter, ifname


def _needs(counter: str, ifname: str) -> tuple[Reading, ...] | None:
    """None where there is nothing to say."""
    if counter in _KINDS:
        return _KINDS[counter][0](ifname)
    loss = kind(counter) if ifname else None
    return None if loss is None else _driver_needs(ifname, loss)


def known(risen: Mapping[str, int]) -> bool:
    """Whether there is something to say about any of them."""
    return any(_needs(*_split(key)) is not None for key in risen)


def readings(risen: Mapping[str, int]) -> tuple[Reading, ...]:
    """What is to be read, each once."""
    asked: dict[Reading, None] = {}
    for key in risen:
        asked |= dict.fromkeys(_needs(*_split(key)) or ())
    return tuple(asked)


def judge(
    risen: Mapping[str, int], answers: Answers
) -> Iterator[tuple[str, str, str, list[Finding]]]:
    """(key, counter, interface, findings) of each that is known."""
    for key, count in risen.items():
        counter, ifname = _split(key)
        if counter in _KINDS:
            yield key, counter, ifname, _KINDS[counter][1](ifname, count, answers)
        elif ifname and (loss := kind(counter)) is not None:
            yield key, counter, ifname, _driver(ifname, counter, loss, count, answers)
