# SPDX-License-Identifier: Apache-2.0
"""What a kernel's types say of what it can do."""

from __future__ import annotations

import pytest

from pwru_py.facts.btf import Kind
from pwru_py.facts.features import Features

from .btf_builder import Builder


def kernel(*, rt: bool = False, lock: str = "raw_spinlock_t") -> Builder:
    b = Builder()
    word = b.integer("int", 4)
    b.enum("bpf_map_type", {"BPF_MAP_TYPE_RINGBUF": 27})
    b.struct("spinlock", 8, [("lock" if rt else "rlock", word)])
    held = b.alias(Kind.TYPEDEF, word, lock)
    b.struct("bpf_ringbuf", 8, [("nr_pages", word), ("spinlock", held)])
    return b


@pytest.mark.parametrize(
    ("rt", "lock", "ring"),
    [
        (False, "spinlock_t", True),
        (False, "raw_spinlock_t", True),
        (True, "spinlock_t", False),
        (True, "raw_spinlock_t", True),
    ],
)
def test_a_ring_whose_lock_sleeps(rt: bool, lock: str, ring: bool) -> None:
    assert Features.of(kernel(rt=rt, lock=lock).btf()).ring is ring


def test_a_kernel_without_a_ring() -> None:
    assert not Features.of(Builder().btf()).ring


def test_where_the_preempt_count_is() -> None:
    found = Features.of(kernel().btf())
    assert (found.preempt_variable, found.preempt_offset) == ("__preempt_count", 0)
    assert found.interrupt_masks == (0x000F0000, 0x00F00000)
    b = kernel()
    word = b.integer("int", 4)
    b.struct("pcpu_hot", 16, [("current_task", word), ("preempt_count", word)])
    b.add(Kind.VAR, "local_interrupt_disable_state", word, 1)
    found = Features.of(b.btf())
    assert found.preempt_variable == "pcpu_hot"
    assert found.interrupt_masks == (0x0F000000, 0xF0000000)


def test_typed_loads_are_off_where_a_bit_tells_of_the_tag() -> None:
    b = kernel()
    b.struct("sk_buff", 8, [("vlan_present", b.integer("unsigned char", 1))])
    assert Features.of(b.btf()).tag_bit
    good = Features(
        True, 59, True, 1, 2, True, False, True, True, "pcpu_hot", 8, False, True, False, True, 4,
        56, 5, 6,
    )  # fmt: skip
    assert good.typed_loads
    assert not good.without_casts().typed_loads
    assert good.without_casts().typed_task
    assert not good.without_own_btf().typed_task


def sk_buff(**moved: int) -> Builder:
    """As on every kernel so far, but for what has ``moved``: bytes from the start."""
    places = {
        "dev": 16, "sk": 24, "len": 112, "vlan_proto": 160, "vlan_tci": 162, "mark": 168,
        "protocol": 180, "network_header": 184, "mac_header": 186, "tail": 188, "head": 192,
        "users": 212,
    }  # fmt: skip
    b = kernel()
    word = b.integer("unsigned int", 4)
    members = [(b.string(name), word, 8 * at) for name, at in (places | moved).items()]
    words = [each for member in members for each in member]
    b.add(Kind.STRUCT, "sk_buff", 240, *words, vlen=len(members))
    return b


def test_fields_that_the_program_reads_together() -> None:
    assert Features.of(sk_buff().btf()).adjacent
    for moved in (
        {"tail": 200, "head": 208},  # kcov_handle (CONFIG_KCOV) lies before it
        {"mac_header": 182},
        {"head": 196},
        {"mark": 100},
        {"users": 240},
    ):
        assert not Features.of(sk_buff(**moved).btf()).adjacent, moved
