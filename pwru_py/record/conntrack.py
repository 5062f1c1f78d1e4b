# SPDX-License-Identifier: Apache-2.0
"""struct conntracked and struct nf_conn of a record to ``Conntrack``. Pure."""

from __future__ import annotations

import re
import struct
import sys
from socket import AF_INET, AF_INET6, inet_ntop

from ..escape import escape
from ..facts.conntrack import CtState, EntryLayout, status_names, tcp_state_name
from . import contract
from .event import Conntrack, Icmp, Tuple

_STATES = {getattr(contract, f"CT_{state.name}"): state for state in CtState}
_TUPLE = struct.Struct("=16s2sH16s2sBB")  # struct nf_conntrack_tuple
_TCP, _ICMP, _ICMP6 = 6, 1, 58
_CONVERSION = re.compile(
    r"\s*%(p\w*|[-+#0-9.]*[hlz]*[a-zA-Z])"
)  # of printk(), and what leads to it
_WITH_PORTS = frozenset({_TCP, 17, 33, 132, 136})


def decode_conntrack(
    layout: EntryLayout, state: int, why: bytes, entry: bytes, *, reply: bool
) -> Conntrack | None:
    """``entry``: empty where there is none. None: the packet has given it back."""
    if state == contract.CT_UNTOLD:
        return None
    word = _STATES[state]
    if not entry:
        return Conntrack(word, why=_CONVERSION.sub("", escape(why)).strip())
    mark = _number(entry, layout.mark, 4) if layout.mark is not None else None
    zone = _number(entry, layout.zone, 2) if layout.zone is not None else None
    status = status_names(_number(entry, layout.status, 8))
    if word is CtState.TEMPLATE:  # no connection's
        return Conntrack(word, None, status, mark, zone)
    original, answer = (_decode_tuple(entry, at) for at in (layout.original, layout.reply))
    of_tcp = original is not None and original.proto == _TCP
    tcp_state = tcp_state_name(entry[layout.tcp_state]) if of_tcp else ""
    return Conntrack(word, reply, status, mark, zone, tcp_state, original, answer)


def _number(entry: bytes, at: int, size: int) -> int:
    return int.from_bytes(entry[at : at + size], sys.byteorder)


def _decode_tuple(entry: bytes, at: int) -> Tuple | None:
    """None of a family without addresses that are known."""
    saddr, source, family, daddr, target, proto, _direction = _TUPLE.unpack_from(entry, at)
    if family == AF_INET:
        addresses = inet_ntop(AF_INET, saddr[:4]), inet_ntop(AF_INET, daddr[:4])
    elif family == AF_INET6:
        addresses = inet_ntop(AF_INET6, saddr), inet_ntop(AF_INET6, daddr)
    else:
        return None
    if proto in _WITH_PORTS:
        ports = int.from_bytes(source, "big"), int.from_bytes(target, "big")
        return Tuple(*addresses, *ports, proto, True)
    icmp = None
    if proto == (_ICMP6 if family == AF_INET6 else _ICMP):  # type and code stand for the target
        icmp = Icmp(target[0], int.from_bytes(source, "big"))
    return Tuple(*addresses, 0, 0, proto, False, icmp)
