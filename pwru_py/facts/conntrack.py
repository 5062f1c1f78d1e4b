# SPDX-License-Identifier: Apache-2.0
"""Conntrack: where struct nf_conn has what, and what its numbers are called. Pure.

Words are those of nft(8) and conntrack(8), numbers those of
include/uapi/linux/netfilter/nf_conntrack_common.h and nf_conntrack_tcp.h.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum

from .btf import Btf, Kind

MODULE = "nf_conntrack"
JUDGE = "nf_conntrack_in"
"""Gives a packet its entry, or lets it go without: (sk_buff *, nf_hook_state *)
(net/netfilter/nf_conntrack_core.c).
"""

# Say why a packet is invalid, to who has asked for it in a log: the argument that is the format,
# from 1 up, as 5.10 has it, and as those that follow (nf_conntrack_proto.c).
_WHYS_OF_5_10 = {"nf_ct_l4proto_log_invalid": 3, "nf_l4proto_log_invalid": 5}


class CtState(StrEnum):
    """What a packet is to conntrack. The last two are for filters: bits of the entry's status."""

    NONE = "none"
    NEW = "new"
    ESTABLISHED = "established"
    RELATED = "related"
    INVALID = "invalid"
    UNTRACKED = "untracked"
    TEMPLATE = "template"
    SNAT = "snat"
    DNAT = "dnat"


_STATUS = (
    "expected", "seen-reply", "assured", "confirmed", "snat", "dnat", "seq-adjust", "snat-done",
    "dnat-done", "dying", "fixed-timeout", "template", "nat-clash", "helper", "offload",
    "hw-offload",
)  # fmt: skip
_TCP_STATES = (
    "NONE", "SYN_SENT", "SYN_RECV", "ESTABLISHED", "FIN_WAIT", "CLOSE_WAIT", "LAST_ACK",
    "TIME_WAIT", "CLOSE", "SYN_SENT2",
)  # fmt: skip


def status_names(status: int) -> tuple[str, ...]:
    """The bits that are set, by name, lowest first; ``bit 20`` of one without a name."""
    return tuple(
        _STATUS[bit] if bit < len(_STATUS) else f"bit {bit}"
        for bit in range(status.bit_length())
        if status >> bit & 1
    )


def tcp_state_name(state: int) -> str:
    """``SYN_SENT``; the number where it has no name."""
    return _TCP_STATES[state] if state < len(_TCP_STATES) else str(state)


@dataclass(frozen=True, slots=True)
class EntryLayout:
    """Bytes from the start of struct nf_conn. ``mark``, ``zone``: None in kernels without them.

    ``bytes``: as many as all of these take.
    """

    bytes: int
    status: int
    original: int
    reply: int
    tcp_state: int
    mark: int | None
    zone: int | None


_TUPLE_BYTES = 40


def find_entry_layout(btfs: Iterable[Btf]) -> EntryLayout | None:
    """Of the first of them that has the structure; None where none has, or it is another one."""
    for btf in btfs:
        if btf.named("nf_conn", (Kind.STRUCT,)):
            return _entry_layout(btf)
    return None


def _entry_layout(btf: Btf) -> EntryLayout | None:
    places = {
        "status": btf.member_offset("nf_conn", "status"),
        "hashes": btf.member_offset("nf_conn", "tuplehash"),
        "within": btf.member_offset("nf_conntrack_tuple_hash", "tuple"),
        "each": _size(btf, "nf_conntrack_tuple_hash"),
        "proto": btf.member_offset("nf_conn", "proto"),
        "state": btf.member_offset("ip_ct_tcp", "state"),  # of a union: proto begins with it
    }
    at = {name: offset for name, offset in places.items() if offset is not None}
    counted_first = btf.member_offset("nf_conn", "ct_general") == 0
    if at.keys() != places.keys() or not counted_first:
        return None
    if _size(btf, "nf_conntrack_tuple") != _TUPLE_BYTES:
        return None
    mark, zone = btf.member_offset("nf_conn", "mark"), btf.member_offset("nf_conn", "zone")
    original, tcp_state = at["hashes"] + at["within"], at["proto"] + at["state"]
    reply = original + at["each"]
    ends = [at["status"] + 8, reply + _TUPLE_BYTES, tcp_state + 1]
    ends += [offset + 4 for offset in (mark, zone) if offset is not None]
    return EntryLayout(max(ends), at["status"], original, reply, tcp_state, mark, zone)


def _size(btf: Btf, name: str) -> int | None:
    return next((btf.size(found) for found in btf.named(name, (Kind.STRUCT,))), None)


def find_whys(btfs: Sequence[Btf]) -> Mapping[str, int]:
    """Functions that say why a packet is invalid, each with the argument that is the format.

    ``btfs``: the kernel's first. Without BTF of modules (before 5.11) they are those of 5.10.
    """
    found = {}
    for name in _WHYS_OF_5_10:
        for btf in btfs:
            function = btf.function(name)
            if function is not None:  # what is formatted follows the format
                found[name] = len(btf.parameter_types(function.proto)) - 1
    if not found and not btfs[0].has_member("module", "btf_data"):  # 5.11, 36e68442d1af
        return _WHYS_OF_5_10
    return found
