# SPDX-License-Identifier: Apache-2.0
"""Types by BCC and a kernel's headers, held against what that kernel says of itself."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import asdict

import pytest

from pwru_py.facts.btf import Btf, Kind, Member, TypeId
from pwru_py.facts.features import Features
from pwru_py.facts.header_types import ENUMS, STRUCTURES
from pwru_py.plan.candidates import Functions
from pwru_py.plan.tracepoints import find_tracepoints
from tests.vm.errors import LabError
from tests.vm.headers import own_and_made

pytestmark = pytest.mark.xdist_group("headers")
PRIVATE = {"vlan_group", "metadata_dst", "bpf_ringbuf", "htab_elem", "bpf_raw_tp_link"}
"""Structures that are asked for, and that no header of these kernels defines or we include."""
NOT_INCLUDED = PRIVATE | {"ethtool_ops"}
OF_MODULES = {"nft_", "xt_", "ipt_"}
TRACEPOINTS_WITHOUT = {"subflow_check_data_avail", "devlink_trap_report"}
"""Their headers are not included."""


class Both:
    """A kernel's BTF, and that by its headers."""

    def __init__(self, name: str) -> None:
        own, made = own_and_made(name)
        self.own, self.made = Btf(own), Btf(made)


@pytest.fixture(scope="module", params=["5.10", "6.1"])
def both(request: pytest.FixtureRequest) -> Both:
    try:
        return Both(request.param)
    except LabError as error:
        if os.environ.get("CI"):
            raise
        pytest.skip(f"no headers: {error}")


def structures(btf: Btf) -> Iterator[tuple[str, TypeId]]:
    for number in range(1, btf.count + 1):
        type_id = TypeId(number)
        name = btf.type_name(type_id)
        if btf.kind(type_id) is Kind.STRUCT and name and not name.startswith("pwru_"):
            yield name, type_id


def meaning(btf: Btf, type_id: TypeId, depth: int = 0) -> object:
    """What a type is, by what matters: compilers spell ``unsigned long`` in two ways."""
    plain = btf.resolve(type_id)
    kind = btf.kind(plain)
    if kind is Kind.PTR and not depth:
        return ("pointer", meaning(btf, btf.target(plain), 1))
    if kind is Kind.INT:
        signed, truth = btf.integer(plain)
        size = btf.size(plain)
        return ("number", size, signed and size > 1, truth)  # GCC says of char that it is unsigned
    if kind is Kind.ARRAY:
        element = btf.resolve(btf.element(plain))
        while btf.kind(element) is Kind.ARRAY:  # which pahole of then has made one array
            element = btf.resolve(btf.element(element))
        return ("array", btf.size(plain), meaning(btf, element, 1))
    if kind in (Kind.STRUCT, Kind.UNION, Kind.FWD):
        name = btf.type_name(plain)
        if name:
            return ("structure", name, 0 if depth else btf.size(plain))
        return [member_meaning(btf, member) for member in btf.layout(plain)]
    return (kind, btf.size(plain))


def member_meaning(btf: Btf, member: Member) -> tuple[object, ...]:
    return member.name, member.at_bits, member.width_bits, meaning(btf, member.type)


def layout(btf: Btf, type_id: TypeId) -> list[object]:
    members = [member_meaning(btf, member) for member in btf.layout(type_id)]
    return [btf.size(type_id), *members]


def test_every_member_is_where_the_kernel_has_it(both: Both) -> None:
    compared = members = 0
    for name, made in structures(both.made):
        own = both.own.named(name, (Kind.STRUCT,))
        if not own:
            assert any(name.startswith(prefix) for prefix in OF_MODULES), name
            continue
        found = layout(both.made, made)
        assert found in [layout(both.own, each) for each in own], name
        compared, members = compared + 1, members + len(found) - 1
    assert compared > 450
    assert members > 4500


def test_every_structure_that_is_asked_for_is_there(both: Both) -> None:
    kinds = (Kind.STRUCT, Kind.UNION, Kind.TYPEDEF)
    left_out = {name for name in STRUCTURES if not both.made.named(name, kinds)}
    assert {name for name in left_out if both.own.named(name, kinds)} <= NOT_INCLUDED


def test_enums_are_the_kernels(both: Both) -> None:
    for name in ENUMS:
        own, made = both.own.enum(name), both.made.enum(name)
        assert {each: value & 0xFFFFFFFF for each, value in made.items()} == {
            each: value & 0xFFFFFFFF for each, value in own.items()
        }, name  # clang says of none that it is signed
    assert both.made.enum("bpf_func_id")


def test_functions_have_their_sk_buffs_where_the_kernel_says(both: Both) -> None:
    own, made = Functions.of(both.own).candidates, Functions.of(both.made).candidates
    places = {name: {(a.arg, a.reason_arg) for a in several} for name, several in own.items()}
    for name, several in made.items():
        assert {(a.arg, a.reason_arg) for a in several} == places[name], name
    assert len(made) > 0.93 * len(own)


def test_tracepoints_are_given_what_the_kernel_says(both: Both) -> None:
    own, made = (
        {point.name: point[2:5] for point in find_tracepoints(btf)} for btf in (both.own, both.made)
    )
    assert own.keys() - made.keys() <= TRACEPOINTS_WITHOUT
    assert made == {name: own[name] for name in made}


def test_features_are_the_same_but_for_types_by_number(both: Both) -> None:
    own, made = asdict(Features.of(both.own)), asdict(Features.of(both.made))
    assert {name for name in own if own[name] != made[name]} <= {"cast_type"}
