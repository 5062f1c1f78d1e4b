# SPDX-License-Identifier: Apache-2.0
"""The table by which the program finds its argument."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pwru_py.attach.argument_table import (
    EVENT_IPS,
    FPROBE_IPS,
    KPROBE_IPS,
    ArgumentTable,
    argument_table,
    cookie,
    place,
)
from pwru_py.plan.functions import Target
from pwru_py.record import contract


def look_up(table: ArgumentTable, ip: int) -> int:
    """As ``find_skb`` of bpf/pwru.bpf.c does."""
    found = table.places[
        (ip * contract.ARGUMENTS_HASH & 0xFFFFFFFF) >> 32 - contract.ARGUMENTS_BITS
    ]
    return table.crowded.get(ip, 0) if found == contract.ARGUMENTS_CROWDED else found


ADDRS = st.integers(0xFFFFFFFF80000000 >> 4, 0xFFFFFFFFFFFFFF00 >> 4).map(lambda n: n << 4)
TARGETS = st.dictionaries(
    ADDRS, st.tuples(st.integers(1, 6), st.integers(0, 6)), min_size=1, max_size=400
).map(lambda found: [Target("f", "", addr, *args) for addr, args in found.items()])


@given(TARGETS, st.sampled_from([KPROBE_IPS, FPROBE_IPS, EVENT_IPS]))
def test_every_probe_finds_its_arguments(targets: list[Target], ips: tuple[int, ...]) -> None:
    table = argument_table(targets, ips)
    for index, target in enumerate(targets):
        for behind in ips:
            found = look_up(table, target.addr + behind)
            assert found == cookie(index, target) & 0xFF
            assert found & 0xF == target.arg
            assert found >> contract.COOKIE_REASON_SHIFT == target.reason_arg


def test_who_frees_for_a_drop_is_known_where_there_are_no_reasons() -> None:
    cookies = [
        cookie(0, Target(name, "", 0xFFFFFFFF81000000, 1, reason)) & 0xFF
        for name, reason in (("kfree_skb", 0), ("kfree_skb", 2), ("consume_skb", 0))
    ]
    assert cookies == [0xF1, 0x21, 0x01]


def test_those_that_share_a_place_and_differ() -> None:
    first = 0xFFFFFFFF81000000
    ip = first + FPROBE_IPS[0]
    other = next(
        addr
        for addr in range(first + 16, first + (1 << 24), 16)
        if place(addr + FPROBE_IPS[0]) == place(ip)
    )
    same = [Target("a", "", first, 1, 0), Target("b", "", other, 1, 0)]
    assert argument_table(same, FPROBE_IPS[:1]).crowded == {}
    differ = [Target("a", "", first, 1, 0), Target("b", "", other, 3, 2)]
    table = argument_table(differ, FPROBE_IPS[:1])
    assert table.places[place(ip)] == contract.ARGUMENTS_CROWDED
    assert table.crowded == {ip: 0x01, other + FPROBE_IPS[0]: 0x23}


def test_nowhere_else_is_anything() -> None:
    table = argument_table([Target("a", "", 0xFFFFFFFF81000000, 2, 0)], FPROBE_IPS)
    assert len(table.places) == 1 << contract.ARGUMENTS_BITS
    assert sorted(set(table.places)) == [0, 2]
    assert len(table.places) - table.places.count(0) == len(FPROBE_IPS)
