# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.facts.roles import NO_REASON
from pwru_py.packets.account import Account
from pwru_py.packets.drops import tell
from pwru_py.packets.identity import Identity
from pwru_py.record.event import Dropped, Event, Frame, Summary

from .output.samples import event


def step(func: str, skb: int = 1, reason: str = "", drop: bool | None = None) -> Event:
    drop = bool(reason) if drop is None else drop
    return event(skb=skb, func=func, reason_name=reason, reason=2 if reason else -1, drop=drop)


class Counting:
    """An account with its identity, as a session has them."""

    def __init__(self, limit: int = 65536) -> None:
        self.summary = Summary()
        self.identity = Identity(limit)
        self._account = Account(self.summary, self.identity, drops=True)

    def add(self, *events: Event) -> None:
        numbered = []
        for one in events:
            last = one.drop or one.location is not None
            life = self.identity.see(one.skb, one.func, 0, device=0, last=last)
            numbered.append(one._replace(packet=life.packet, parent=life.parent))
        self._account.add(numbered)


def total(*events: Event) -> Summary:
    counting = Counting()
    counting.add(*events)
    return counting.summary


HERE = Frame(0xFFFFFFFF81000000, "nf_hook_slow", 0xAB, "")


def told(skb: int = 1, reason: str = "NO_SOCKET", drop: bool = True) -> Event:
    """What the tracepoint says."""
    return step("skb:kfree_skb", skb, reason, drop)._replace(location=HERE)


def test_a_packet_counts_once_however_many_functions_it_passes() -> None:
    summary = total(step("ip_rcv"), step("udp_rcv"), step("ip_rcv", skb=2), step("udp_rcv", skb=2))
    assert (summary.events, summary.packets, summary.drops) == (4, 2, {})
    assert not summary.packets_limited


@pytest.mark.parametrize("last", ["kfree_skbmem", "napi_skb_cache_put"])
def test_a_freed_address_is_another_packet_when_it_returns(last: str) -> None:
    journey = [step("ip_rcv"), step("udp_rcv"), step(last)]
    assert total(*journey * 3).packets == 3
    assert total(*journey * 3).events == 9


def test_a_batch_may_end_anywhere() -> None:
    counting = Counting()
    for one in [step("ip_rcv"), step("kfree_skb_reason", reason="A"), step("kfree_skbmem")] * 2:
        counting.add(one)
    summary = counting.summary
    assert (summary.events, summary.packets, summary.drops) == (6, 2, {"A": 2})


def test_a_drop_counts_once_though_several_functions_carry_its_reason() -> None:
    journey = [
        step("tcp_drop_reason", reason="TCP_FLAGS"),
        step("sk_skb_reason_drop", reason="TCP_FLAGS"),
        step("skb_release_data", reason="TCP_FLAGS", drop=False),
        step("kfree_skbmem"),
    ]
    assert total(*journey).drops == {"TCP_FLAGS": 1}
    assert total(*journey * 2).drops == {"TCP_FLAGS": 2}
    assert total(*journey * 2).packets == 2


def test_drops_are_counted_when_their_function_alone_is_traced() -> None:
    """Nothing tells of the end of a packet then, and the allocator repeats addresses at once."""
    summary = total(*[step("kfree_skb_reason", reason="NO_SOCKET")] * 1000)
    assert (summary.packets, summary.drops) == (1000, {"NO_SOCKET": 1000})
    both = [step("tcp_drop_reason", reason="A"), step("kfree_skb_reason", reason="A")]
    assert total(*both * 10).drops == {"A": 10}
    assert total(*both, both[1], *both).drops == {"A": 3}


def test_consumed_and_shared_packets_are_no_drops() -> None:
    summary = total(step("kfree_skb_reason", reason="CONSUMED", drop=False), step("consume_skb"))
    assert summary.drops == {}


def test_kernels_without_reasons() -> None:
    assert total(step("kfree_skb", drop=True)).drops == {NO_REASON: 1}


def test_each_word_of_the_tracepoint_is_a_drop() -> None:
    """Of a list no other function is seen, and the allocator repeats addresses at once."""
    assert total(*[told(skb=0xA)] * 300).drops == {"NO_SOCKET": 300}
    journey = [step("ip_rcv"), told(), step("__kfree_skb"), step("kfree_skbmem")]
    summary = total(*journey * 2, told(), step("ip_rcv"))
    assert (summary.packets, summary.drops) == (4, {"NO_SOCKET": 3})


def test_what_the_kernel_counts_is_told_as_it_is() -> None:
    lists, ping = HERE._replace(symbol="kfree_skb_list"), HERE._replace(symbol="icmp_rcv")
    rows = [
        Dropped("NETFILTER_DROP", HERE, 3),
        Dropped("NETFILTER_DROP", lists, 2),
        Dropped("NOT_SPECIFIED", lists, 20),
        Dropped("NO_SOCKET", ping, 4),
        Dropped("NO_SOCKET", HERE, 1),
        Dropped("", lists, 1),
        Dropped("", HERE, 1),
        Dropped("NOT_SPECIFIED", HERE._replace(symbol="tcp_v4_rcv"), 2),
    ]
    summary = Summary(drops={"OLD": 1})
    tell(summary, rows, {"kfree_skb_list"})
    assert summary.drops == {"NETFILTER_DROP": 5, "NO_SOCKET": 5, NO_REASON: 1, "NOT_SPECIFIED": 2}
    assert (summary.pieces, summary.replies, summary.closings) == (21, 4, 2)
    tell(summary, rows, frozenset())
    assert (summary.pieces, summary.drops["NOT_SPECIFIED"]) == (0, 22)


def test_where_the_kernel_counts_events_do_not() -> None:
    summary = Summary()
    Account(summary, Identity(), drops=False).add([told()])
    assert (summary.drops, summary.events) == ({}, 1)


def test_the_limit_is_admitted() -> None:
    counting = Counting(limit=4)
    counting.add(*[step("ip_rcv", skb=skb) for skb in range(4)])
    assert not counting.summary.packets_limited
    counting.add(*[step("kfree_skb_reason", skb=skb, reason="A") for skb in range(4, 100)])
    assert counting.summary.packets_limited
    assert (counting.summary.packets, counting.summary.drops) == (100, {"A": 96})
