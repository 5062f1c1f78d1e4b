# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable

import pytest

from pwru_py.facts.btf import Btf
from pwru_py.facts.drop_reasons import Reasons

from .btf_builder import Builder

CORE = {
    "SKB_NOT_DROPPED_YET": 0,
    "SKB_CONSUMED": 1,
    "SKB_DROP_REASON_NOT_SPECIFIED": 2,
    "SKB_DROP_REASON_SKB_CSUM": 3,
    "SKB_DROP_REASON_MAX": 4,
    "SKB_DROP_REASON_SUBSYS_MASK": 0xFFFF0000,
}
SUBSYSTEMS = {
    "SKB_DROP_REASON_SUBSYS_CORE": 0,
    "SKB_DROP_REASON_SUBSYS_MAC80211_UNUSABLE": 1,
    "SKB_DROP_REASON_SUBSYS_OPENVSWITCH": 3,
}
OVS = {"OVS_DROP_LAST_ACTION": 0x30001, "__OVS_DROP_EXPLICIT_WITH_ERROR": 0x30002}


class Modules:
    """Counts how often it is asked."""

    def __init__(self, btfs: Iterable[Btf] = ()) -> None:
        self.asked = 0
        self._btfs = list(btfs)

    def __call__(self) -> list[Btf]:
        self.asked += 1
        return self._btfs


def kernel() -> Builder:
    b = Builder()
    b.enum("skb_drop_reason", CORE)
    b.enum("skb_drop_reason_subsys", SUBSYSTEMS)
    return b


def openvswitch(base: Builder) -> Btf:
    module = Builder(base)
    module.enum("other", {"OTHER": 0x30001})
    module.enum("ovs_drop_reason", OVS)
    return module.btf(base.btf(), "openvswitch")


@pytest.mark.parametrize(
    ("value", "name", "drop"),
    [
        (0, "NOT_DROPPED_YET", False),
        (1, "CONSUMED", False),
        (2, "NOT_SPECIFIED", True),
        (3, "SKB_CSUM", True),
        (99, "REASON_99", True),
        (0x30001, "OVS_DROP_LAST_ACTION", True),
        (0x30002, "__OVS_DROP_EXPLICIT_WITH_ERROR", True),
        (0x30007, "OPENVSWITCH_7", True),
        (0x10003, "MAC80211_UNUSABLE_3", True),
        (0x70001, f"REASON_{0x70001}", True),
        (0xFFFF0000, f"REASON_{0xFFFF0000}", True),
    ],
)
def test_names(value: int, name: str, drop: bool) -> None:
    base = kernel()
    reasons = Reasons.of(base.btf(), Modules([openvswitch(base)]))
    assert reasons.known
    assert reasons.name(value) == name
    assert reasons.name(value) == name
    assert reasons.is_drop(value) is drop


def test_modules_are_read_once_and_only_when_needed() -> None:
    base = kernel()
    modules = Modules([openvswitch(base)])
    reasons = Reasons.of(base.btf(), modules)
    assert [reasons.name(n) for n in (2, 3, 77)] == ["NOT_SPECIFIED", "SKB_CSUM", "REASON_77"]
    assert modules.asked == 0
    assert [reasons.name(n) for n in (0x10001, 0x30001)][1] == "OVS_DROP_LAST_ACTION"
    assert modules.asked == 1


def test_a_subsystem_that_is_built_in() -> None:
    b = kernel()
    b.enum("ovs_drop_reason", OVS)
    assert Reasons.of(b.btf(), Modules()).name(0x30001) == "OVS_DROP_LAST_ACTION"


def test_a_module_cannot_rename_a_core_reason() -> None:
    base = kernel()
    module = Builder(base)
    module.enum("bad_drop_reason", {"WRONG": 2, "SUBSYSTEM": 0x90001})
    reasons = Reasons.of(base.btf(), Modules([module.btf(base.btf(), "bad")]))
    assert (reasons.name(0x90001), reasons.name(2)) == ("SUBSYSTEM", "NOT_SPECIFIED")


def test_a_kernel_without_reasons() -> None:
    b = Builder()
    b.integer()
    reasons = Reasons.of(b.btf(), Modules())
    assert not reasons.known
    assert reasons.name(2) == "REASON_2"


def test_unknown_values_do_not_pile_up() -> None:
    reasons = Reasons.of(kernel().btf(), Modules())
    for value in range(100, 70000):
        reasons.name(value)
    assert len(reasons._names) == 65536
