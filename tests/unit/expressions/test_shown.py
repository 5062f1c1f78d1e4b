# SPDX-License-Identifier: Apache-2.0
"""Values that are shown: run on an sk_buff, and decoded."""

from __future__ import annotations

import pytest

from pwru_py.expressions.compiled import compile_values
from tests.unit.expressions.kernel import DEV, PRIVATE, SKB, memory, types
from tests.unit.expressions.machine import Machine, Memory

IP = "((struct iphdr *)(skb->head + skb->network_header))"
VALUES = {
    "skb->mark": 16,
    "skb->mark & ~0x10": 0,
    "skb->len - skb->mark - 83": -1,
    "skb->pkt_type": 4,
    "skb->ignore_df": 1,
    "skb->sign": -3,
    "skb->skb_iif": -7,
    "skb->hash": (1 << 64) - 2,
    "skb->protocol": 0x0800,
    "skb->dev": hex(DEV),
    "skb": hex(SKB),
    "skb->private": hex(PRIVATE),
    "skb->dev->name": "eth0",
    "skb->dev->alias": "uplink",
    "skb->cb": "abcdefgh",
    "skb->cb[2]": 99,
    "skb->dev->state": "DEV_READY",
    "skb->dev->up": True,
    "skb->dev->perm_addr": "02:00:00:00:01:02",
    "skb->sk->__sk_common.skc_dport": 443,
    "skb->sk->__sk_common.skc_daddr": "10.0.0.1",
    "skb->sk->__sk_common.skc_v6_daddr": "fe80::1",
    "skb->sk->__sk_common.skc_v6_daddr.u6_addr8": "fe80::1",
    f"{IP}->saddr": "192.0.2.7",
    f"{IP}->ihl * 4": 20,
    "(u8)skb->hash": 254,
    "(enum dev_state)(skb->mark - 14)": "DEV_GONE",
    "skb->dev->words[1]": 2,
}


def shown(texts: list[str], memory: Memory) -> tuple[int | str | bool | None, ...]:
    """What a session would show."""
    compiled = compile_values(texts, types(), 1024)
    machine = Machine(memory, SKB, compiled.size_bytes)
    machine.run(compiled.code)
    return compiled.decode(bytes(machine.section))


@pytest.mark.parametrize("text", VALUES)
def test_a_value(text: str) -> None:
    found = shown([text], memory())
    assert found == (VALUES[text],)
    assert type(found[0]) is type(VALUES[text])


def test_all_at_once() -> None:
    assert shown([*VALUES], memory()) == tuple(VALUES.values())


def test_what_cannot_be_read_is_none_and_the_others_are_there() -> None:
    texts = ["skb->mark", "skb->dev->mtu", "skb->dev->name", "skb->dev->alias", "skb->len"]
    assert shown(texts, memory(dev=0)) == (16, None, None, None, 98)


def test_a_number_without_a_name_stays_one() -> None:
    assert shown(["(enum dev_state)skb->mark"], memory()) == (16,)


def test_control_characters_are_escaped() -> None:
    odd = memory()
    odd.regions[DEV] = b"a\x1b[1m".ljust(16, b"\0") + odd.regions[DEV][16:]
    assert shown(["skb->dev->name"], odd) == ("a\\x1b[1m",)
