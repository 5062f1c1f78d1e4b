# SPDX-License-Identifier: Apache-2.0
"""Memory of sockets: what all of a protocol may have together, and TCP's receive buffer. Pure."""

from __future__ import annotations

from .case import ANY, Answers, Diagnosis, Drop, Fact, Finding, Reading, Verdict, sysctl

_UDP = 17


def _protocol(drop: Drop) -> str:
    return "UDP" if drop.tuple is not None and drop.tuple.proto == _UDP else "TCP"


def _limit(drop: Drop) -> Reading:
    return sysctl(f"net/ipv4/{_protocol(drop).lower()}_mem")


def _pages(drop: Drop) -> Reading:
    return Reading("socket_pages", (_protocol(drop),))


def _memory(drop: Drop, answers: Answers) -> list[Finding]:
    name = _protocol(drop)
    if name == "UDP":
        return [_all_sockets(drop, answers, answers.moved("Udp.MemErrors"))]
    queue = answers.moved("TcpExt.TCPRcvQDrop")
    pruned = answers.rise("TcpExt.RcvPruned")
    whole = _all_sockets(drop, answers, queue)
    if not pruned:
        return [whole]
    proof = (*queue, *answers.moved("TcpExt.RcvPruned"))
    what = "the connection's receive buffer is full: its process reads too slowly"
    change = "read faster, or a larger receive buffer (net.ipv4.tcp_rmem, SO_RCVBUF)"
    own = Finding(Verdict.LIKELY, what, proof, change)
    every = pruned >= (answers.rise("TcpExt.TCPRcvQDrop") or 0)
    used, most = _share(drop, answers)
    if used is None or most is None or used >= most or not every:
        return [own, whole._replace(verdict=Verdict.LIKELY)]
    room = (Fact("pages in use", used, most),)
    return [
        own._replace(verdict=Verdict.PROVEN),
        Finding(Verdict.NOT_THIS, "the memory of all TCP sockets has room", room),
    ]


def _share(drop: Drop, answers: Answers) -> tuple[int | None, int | None]:
    """Pages that the protocol's sockets held at the drop, and how many they may."""
    words = str(answers.get(_limit(drop)) or "").split()
    return answers.get(_pages(drop)), int(words[2]) if len(words) == 3 else None


def _all_sockets(drop: Drop, answers: Answers, moved: tuple[Fact, ...]) -> Finding:
    name = _protocol(drop)
    used, most = _share(drop, answers)
    proof = (*((Fact("pages in use", used, most),) if used is not None else ()), *moved)
    what = f"all {name} sockets together may have no more memory (net.ipv4.{name.lower()}_mem)"
    change = (
        f"see which sockets hold it (ss -{name[0].lower()}am); raise net.ipv4.{name.lower()}_mem, "
        "the host's memory pays"
    )
    if used is None or most is None:
        return Finding(Verdict.LIKELY, what, proof, change)
    if used >= most:
        return Finding(Verdict.PROVEN, what, proof, change)
    what += ": they have room now; else the memory limit of its control group was reached"
    return Finding(Verdict.LIKELY, what, proof, change)


DIAGNOSES = (
    Diagnosis(
        (("PROTO_MEM", ANY),),
        lambda drop: (_pages(drop), _limit(drop)),
        _memory,
        "net/ipv4/udp.c: __udp_enqueue_schedule_skb(), net/ipv4/tcp_input.c: tcp_data_queue(), "
        "tcp_prune_queue()",
    ),
)
