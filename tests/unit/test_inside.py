# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterable

import pytest

from pwru_py.attach.argument_table import argument_table, cookie, place, tells_caller
from pwru_py.errors import NotFoundError, UsageError
from pwru_py.facts.map_functions import MapFunction, find_map_functions
from pwru_py.options.config import Backend, Config
from pwru_py.plan.functions import Attachable, Plan, Skipped, Target
from pwru_py.plan.inside import (
    NO_TYPE,
    Wanted,
    add_inside,
    check_met,
    find_named,
    find_plain,
    helper_names,
)
from pwru_py.record import contract

from .test_plan import Kernel

NONE = Plan((), ())


def kernel() -> Kernel:
    k = Kernel()
    k.func("fib_lookup", k.ptr(k.struct("net", 8)), k.number)
    k.func("fib_table_lookup", k.ptr(k.struct("fib_table", 8)))
    k.func("sock_wmalloc", k.sock)
    k.func("kmalloc", k.number)
    k.func("many", *[k.number] * 13)
    k.func("nothing")
    return k


def plain(*texts: str, others: Iterable[str] = ()) -> list[str]:
    return sorted(find_plain(kernel().btf(), Wanted(texts), others))


def test_names_patterns_and_all_of_networking() -> None:
    assert plain("kmalloc") == ["kmalloc"]
    assert plain("fib_.*") == ["fib_lookup", "fib_table_lookup"]
    assert plain("fib") == []
    assert plain("@inside") == ["fib_lookup", "fib_table_lookup", "sock_wmalloc"]
    assert plain("@inside", "nothing", others=["kmalloc", "absent"]) == [
        "fib_lookup", "fib_table_lookup", "kmalloc", "nothing", "sock_wmalloc",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["@core", "fib_(", "a{99999999999}"])
def test_what_is_neither(text: str) -> None:
    with pytest.raises(UsageError):
        Wanted([text])


def test_a_name_that_no_function_has() -> None:
    btf = kernel().btf()
    wanted = Wanted(["fib_lokup", "kmalloc"])
    find_plain(btf, wanted)
    with pytest.raises(NotFoundError, match="'fib_lokup': did you mean fib_lookup") as refused:
        check_met(wanted, lambda: (function.name for function in btf.functions()))
    assert "`filter_non_skb_funcs`" in str(refused.value)
    check_met(Wanted(["@inside"]), list)


def test_names_alone_where_types_are_not_known() -> None:
    """As on a kernel without BTF: its symbols say that a function is there."""
    wanted = Wanted(["fib_.*"])
    symbols = ["fib_table_lookup", "fib_seq_ops", "bpf_redirect", "kmalloc"]
    functions = find_named(symbols, wanted, {"bpf_redirect"})
    check_met(wanted, list)
    assert sorted(functions) == ["bpf_redirect", "fib_seq_ops", "fib_table_lookup"]
    assert functions["fib_seq_ops"] == [(NO_TYPE, False)]
    probed = Attachable({("fib_table_lookup", ""): [0x10], ("bpf_redirect", ""): [0x20]}, "ftrace")
    found = add_inside(NONE, [("", functions)], probed, wanted.texts, maps={}, slots=False)
    assert [(target.name, target.arg) for target in found.targets] == [
        ("fib_table_lookup", 0), ("bpf_redirect", 0),
    ]  # fmt: skip
    assert found.skipped == ()


def test_targets_come_behind_those_with_an_sk_buff() -> None:
    btf = kernel().btf()
    functions = find_plain(btf, Wanted(["fib_.*", "kmalloc", "many", "nothing"]))
    probed = Attachable(
        {("fib_lookup", ""): [0x10], ("kmalloc", ""): [0x20, 0x30], ("nothing", ""): [0x40]},
        "kallsyms",
    )
    first = Plan((Target("nothing", "", 0x40, 1, 0),), ())
    asked = ["kmalloc", "many"]
    found = add_inside(first, [("", functions)], probed, asked, maps={}, slots=False)
    assert [(target.name, target.addr, target.arg) for target in found.targets] == [
        ("nothing", 0x40, 1),
        ("fib_lookup", 0x10, 0),
        ("kmalloc", 0x20, 0),
        ("kmalloc", 0x30, 0),
    ]
    assert found.skipped == (Skipped("many", "", "not in kallsyms"),), (
        "what nobody named is not told"
    )


def test_trampolines_take_what_has_one_type_and_few_arguments() -> None:
    btf = kernel().btf()
    functions = find_plain(btf, Wanted(["kmalloc", "many", "nothing"]))
    probed = Attachable({(name, ""): [0] for name in functions}, "kallsyms")
    found = add_inside(NONE, [("", functions)], probed, ["many"], maps={}, slots=True)
    assert {target.name for target in found.targets} == {"kmalloc", "nothing"}
    assert all(target.btf_id for target in found.targets)
    assert found.skipped == (Skipped("many", "", "no trampoline takes its arguments"),)
    twice = Attachable({("kmalloc", ""): [0x20, 0x30]}, "kallsyms")
    one = {"kmalloc": functions["kmalloc"]}
    told = add_inside(NONE, [("", one)], twice, ["kmalloc"], maps={}, slots=True).skipped
    assert told == (Skipped("kmalloc", "", "several functions of this name"),)


def test_the_program_is_told_that_there_is_no_sk_buff() -> None:
    target = Target("fib_lookup", "", 0x1000, 0, 0)
    assert cookie(2, target) == 3 << contract.COOKIE_TARGET_SHIFT | contract.COOKIE_NO_SKB
    table = argument_table([target], (5,))
    assert table.places[place(0x1005)] == contract.COOKIE_NO_SKB


def test_helpers_are_known_by_their_prototypes() -> None:
    symbols = ["bpf_redirect_proto", "bpf_redirect", "inet_proto", "bpf_x_proto.cold"]
    assert list(helper_names(symbols)) == ["bpf_redirect"]


@pytest.mark.parametrize(
    "other", [{"drops": True}, {"journey": True}, {"backend": Backend.TRACEPOINT}]
)
@pytest.mark.parametrize(
    "asked",
    [
        {"filter_non_skb_funcs": ("fib_lookup",)},
        {"filter_track_bpf_helpers": True},
        {"filter_track_skb_by_stackid": True},
    ],
)
def test_tracepoints_do_not_lie_within_functions(
    asked: dict[str, object], other: dict[str, object]
) -> None:
    with pytest.raises(UsageError, match="tracepoints do not"):
        Config(**asked, **other)  # type: ignore[arg-type]


def test_functions_of_maps() -> None:
    k = Kernel()
    bpf_map = k.ptr(k.struct("bpf_map", 8))
    for name in ("__htab_map_lookup_elem", "htab_lru_map_lookup_elem", "htab_map_update_elem",
                 "trie_delete_elem", "array_of_map_lookup_elem", "queue_map_pop_elem",
                 "bloom_map_push_elem", "htab_map_get_next_key"):  # fmt: skip
        k.func(name, bpf_map, k.ptr(k.number))
    k.func("bpf_map_lookup_elem", k.number, k.number)
    k.func("array_map_alloc_check", bpf_map)
    found = find_map_functions(k.btf())
    assert found == {
        "__htab_map_lookup_elem": MapFunction.ELEMENT,
        "htab_lru_map_lookup_elem": MapFunction.FINDS,
        "htab_map_update_elem": MapFunction.KEY_VALUE,
        "trie_delete_elem": MapFunction.KEY,
        "array_of_map_lookup_elem": MapFunction.KEY,
        "queue_map_pop_elem": MapFunction.FILLS,
        "bloom_map_push_elem": MapFunction.VALUE,
    }
    plain = find_plain(k.btf(), Wanted([]), found)
    probed = Attachable({(name, ""): [n << 8] for n, name in enumerate(plain, 1)}, "kallsyms")
    plan = add_inside(NONE, [("", plain)], probed, [], maps=found, slots=False)
    assert {target.name: target.map for target in plan.targets} == found
    (lookup,) = (target for target in plan.targets if target.map is MapFunction.ELEMENT)
    second = contract.MAP_ELEMENT << contract.COOKIE_REASON_SHIFT
    assert cookie(0, lookup) & 0xFF == second | contract.COOKIE_NO_SKB
    assert not tells_caller(lookup), "its return is traced"


def test_the_programs_know_functions_of_maps_by_the_same_numbers() -> None:
    assert {kind.name: kind.value for kind in MapFunction} == {
        name.removeprefix("MAP_"): value
        for name, value in vars(contract).items()
        if name.startswith("MAP_") and not name.startswith("MAP_ACCESS") and "MAX" not in name
    }
