# SPDX-License-Identifier: Apache-2.0
"""Losses that are no drops to the kernel: what stands behind a counter that rose. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping

from .case import Answers, Fact, Finding, Reading, Verdict, link, number, setting, sysctl
from .neighbours import arp_unanswered, judge_arp
from .tcp import judge_accept_queue

LISTENERS = Reading("listeners", (6,))
_COOKIES, _HALF_OPEN = "net/ipv4/tcp_syncookies", "net/ipv4/tcp_max_syn_backlog"
_ARP = "ARP requests ignored"


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


def _ring(ifname: str, count: int, answers: Answers) -> list[Finding]:
    what = f"the host did not empty the receive ring of {ifname} in time"
    proof = (
        Fact(f"{ifname} frames missed", count),
        *answers.moved("softnet.time_squeeze", "time_squeeze"),
    )
    change = "a larger ring (ethtool -G: packets may become late), more queues, or spread them"
    return [Finding(Verdict.PROVEN, what, proof, change)]


_Needs = Callable[[str], tuple[Reading, ...]]
_Judge = Callable[[str, int, Answers], list[Finding]]
_KINDS: dict[str, tuple[_Needs, _Judge]] = {
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


def known(risen: Mapping[str, int]) -> bool:
    """Whether there is something to say about any of them."""
    return any(_split(key)[0] in _KINDS for key in risen)


def readings(risen: Mapping[str, int]) -> tuple[Reading, ...]:
    """What is to be read, each once."""
    asked: dict[Reading, None] = {}
    for key in risen:
        counter, ifname = _split(key)
        if counter in _KINDS:
            asked |= dict.fromkeys(_KINDS[counter][0](ifname))
    return tuple(asked)


def judge(
    risen: Mapping[str, int], answers: Answers
) -> Iterator[tuple[str, str, str, list[Finding]]]:
    """(key, counter, interface, findings) of each that is known."""
    for key, count in risen.items():
        counter, ifname = _split(key)
        if counter in _KINDS:
            yield key, counter, ifname, _KINDS[counter][1](ifname, count, answers)
