# SPDX-License-Identifier: Apache-2.0
"""Conditions run: on an sk_buff whose fields are known, and on one that cannot be read."""

from __future__ import annotations

import struct

import pytest

from pwru_py.expressions.compiled import compile_filter
from pwru_py.expressions.roots import XDP
from tests.unit.expressions.kernel import DEV, SKB, memory, types
from tests.unit.expressions.machine import Machine, Memory, check

IP = "((struct iphdr *)(skb->head + skb->network_header))"
TRUE = f"""
    skb->dev->mtu > 1400
    skb->mark == 0x10 && skb->len < 100
    skb->mark == 16 and skb->len == 98
    skb->mark = 16
    0x10 == skb->mark
    1400 < skb->dev->mtu
    skb->mark != 0x11 || skb->len == 1
    skb->mark == 1 or skb->len > 97
    not skb->mark == 1
    not skb->mark == 1 and skb->len
    not (skb->mark == 1 and skb->len == 98)
    !(skb->mark == 1)
    skb->mark
    skb->dev
    skb->dev != NULL
    skb->sk && skb->dev
    skb->protocol == 0x0800
    skb->protocol == ETH_P_IP
    (u16)skb->protocol == 8
    (__be16)skb->network_header == 0x0e00
    skb->network_header == 016
    skb->network_header == 14u
    skb->pkt_type == PACKET_OUTGOING
    skb->pkt_type >= 4
    skb->ignore_df
    skb->ignore_df == 1
    skb->wide == 0x155
    skb->sign == -3
    skb->sign < 0
    skb->skb_iif == -7
    skb->skb_iif < 0
    skb->skb_iif < skb->dev->ifindex
    skb->priority == -0x10000000000
    skb->priority < -1
    skb->hash == 0xfffffffffffffffe
    skb->hash > 0x7fffffffffffffff
    skb->hash > skb->mark
    skb->len > skb->skb_iif
    (skb->mark & 0x18) == 0x10
    skb->mark & 0x10
    (skb->mark | 1) == 0x11
    (skb->mark ^ 0xff) == 0xef
    (~skb->mark & 0xff) == 0xef
    ~skb->mark == 0xffffffef
    ~skb->skb_iif == 6
    (skb->mark & ~0x10) == 0
    (skb->mark << 4) == 0x100
    (skb->mark >> 4) == 1
    (skb->skb_iif >> 1) == -4
    skb->len - skb->mark == 82
    skb->mark - skb->len == -82
    skb->len + 2 == 100
    skb->len * 2 == 196
    -skb->skb_iif == 7
    (u8)skb->priority == 0
    (s8)(skb->mark + 0xf0) == 0
    (int)skb->hash == -2
    (unsigned int)skb->hash == 0xfffffffe
    (unsigned long)skb->dev == {DEV}
    skb->dev == {DEV:#x}
    skb->dev == skb->dev
    skb->dev->name == "eth0"
    "eth0" == skb->dev->name
    skb->dev->name == 'eth0'
    skb->dev->name != "eth1"
    skb->dev->name != "eth"
    skb->dev->name != "eth00"
    skb->dev->alias == "uplink"
    skb->dev->alias != "uplin"
    skb->dev->alias != "uplinks"
    skb->cb == "abcdefgh"
    skb->cb[1] == 98
    *skb->cb == 97
    skb->dev->words[3] == 4
    *(skb->dev->words + 2) == 3
    skb->dev->state == DEV_READY
    DEV_READY == skb->dev->state
    skb->dev->state != DEV_NEW
    skb->dev->up == true
    skb->dev->up
    skb->sk->__sk_common.skc_dport == 443
    skb->sk->__sk_common.skc_num == 5000
    skb->sk->__sk_common.skc_state == TCP_ESTABLISHED
    skb->sk->__sk_common.skc_daddr == 10.0.0.1
    skb->sk->__sk_common.skc_daddr == 10.0.0.0/8
    skb->sk->__sk_common.skc_daddr != 10.0.0.2
    skb->sk->__sk_common.skc_daddr < 10.0.0.2
    10.0.0.2 == skb->sk->__sk_common.skc_rcv_saddr
    skb->sk->__sk_common.skc_daddr == 0x0a000001
    skb->sk->__sk_common.skc_v6_daddr == fe80::1
    skb->sk->__sk_common.skc_v6_daddr == fe80::/10
    skb->sk->__sk_common.skc_v6_daddr != fe80::2
    skb->sk->__sk_common.skc_v6_daddr != fc00::/7
    skb->dev->perm_addr == 02:00:00:00:01:02
    skb->dev->perm_addr != 02:00:00:00:01:03
    {IP}->saddr == 192.0.2.7
    {IP}->version == 4 and {IP}->ihl == 5 and {IP}->ttl == 64
    (*{IP}).ttl == 64
    ((ip_header *)(skb->head + 14))->ttl == 64
    (&skb->dev->mtu)[0] == 1500
    *&skb->mark == 16
    (skb->len & 0xff) + (skb->mark & (0xf0 | (skb->len << 1 & 0))) == 114
    (skb->len - (skb->mark - (skb->len - (skb->mark - skb->len)))) == 262
"""
CONDITIONS = [line.strip() for line in TRUE.strip().splitlines()]


def holds(text: str, memory: Memory) -> bool:
    """Whether the condition does, as the kernel would have it."""
    return bool(Machine(memory, SKB).run(compile_filter(text, types()).code))


@pytest.mark.parametrize("text", CONDITIONS)
def test_a_condition_holds_and_its_negation_does_not(text: str) -> None:
    assert holds(text, memory())
    assert not holds(f"not ({text})", memory())
    assert not holds(f"!({text})", memory())
    assert holds(f"not not ({text})", memory())
    assert not holds(f"({text}) and skb->len == 97", memory())
    assert holds(f"skb->len == 97 or ({text})", memory())


@pytest.mark.parametrize("text", CONDITIONS)
def test_what_cannot_be_read_makes_neither_it_nor_its_negation_true(text: str) -> None:
    nothing = Memory()
    assert not holds(text, nothing)
    assert not holds(f"not ({text})", nothing)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("skb->dev->mtu > 1400", False),
        ("skb->dev->mtu <= 1400", False),
        ("not skb->dev->mtu > 1400", False),
        ("skb->dev->mtu == 0", False),
        ('skb->dev->name != "eth0"', False),
        ('skb->dev->alias != "x"', False),
        ("skb->dev == 0", True),
        ("!skb->dev", True),
        ("not skb->dev", True),
        ("skb->dev->mtu > 1400 or skb->mark == 0x10", True),
        ("skb->dev->mtu > 1400 and skb->mark == 0x10", False),
        ("not (skb->dev->mtu > 1400 and skb->mark == 0x11)", True),
        ("not (skb->dev->mtu > 1400 or skb->mark == 0x11)", False),
        ("not skb->dev or skb->dev->mtu > 1400", True),
    ],
)
def test_unknown_is_no_zero(text: str, expected: bool) -> None:
    """Without a device: as in SQL, what is unknown stays so until `or` or `and` settle it."""
    assert holds(text, memory(dev=0)) is expected


def test_a_string_that_cannot_be_read_is_not_different() -> None:
    gone = memory()
    del gone.regions[DEV]
    assert not holds('skb->dev->alias == "uplink"', gone)
    assert not holds('skb->dev->alias != "uplink"', gone)


@pytest.mark.parametrize(("size", "expected"), [(2048, True), (4096, False)])
def test_fields_of_a_frame_at_xdp(size: int, expected: bool) -> None:
    given = Memory({SKB: struct.pack("<QI", 0xFFFF_8880_0000_1000, size)})
    code = compile_filter("xdp->frame_sz == 2048 and xdp->data_hard_start", types(), XDP).code
    check(code)
    assert bool(Machine(given, SKB).run(code)) is expected


def test_a_long_expression() -> None:
    text = " or ".join(f"skb->mark == {number}" for number in range(100, 160))
    assert not holds(text, memory())
    assert holds(f"{text} or skb->mark == 16", memory())
