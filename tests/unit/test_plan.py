# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace

from pwru_py.facts.btf import Btf, Kind
from pwru_py.plan.candidates import Functions, module_functions
from pwru_py.plan.functions import Attachable, Plan, Skipped, Target, make_plan

from .btf_builder import Builder


class Kernel(Builder):
    """The types that functions take."""

    def __init__(self) -> None:
        super().__init__()
        self.sk_buff = self.struct("sk_buff", 232)
        self.skb = self.ptr(self.sk_buff)
        self.const_skb = self.ptr(self.alias(Kind.CONST, self.sk_buff))
        self.sock = self.ptr(self.struct("sock"))
        self.number = self.integer()
        self.reason = self.enum("skb_drop_reason", {"SKB_DROP_REASON_NOT_SPECIFIED": 2})


def everything(*btfs: Btf, source: str = "available_filter_functions") -> Attachable:
    names = {
        (function.name, btf.name if btf.base else ""): [0]
        for btf in btfs
        for function in btf.functions()
    }
    return Attachable(names, source)


def plan(b: Builder, wanted: str = ".*", attachable: Attachable | None = None) -> Plan:
    btf = b.btf()
    return make_plan(
        [("", Functions.of(btf))], attachable or everything(btf), re.compile(wanted).fullmatch
    )


def positions(found: Plan) -> dict[str, tuple[int, int]]:
    return {target.name: (target.arg, target.reason_arg) for target in found.targets}


def why(found: Plan) -> dict[str, str]:
    return {skipped.name: skipped.why for skipped in found.skipped}


def test_which_pointers_are_sk_buffs() -> None:
    k = Kernel()
    k.func("plain", k.skb)
    k.func("const_skb", k.const_skb)
    k.func("const_pointer", k.alias(Kind.CONST, k.skb))
    k.func("typedef", k.alias(Kind.TYPEDEF, k.const_skb, "skb_t"))
    tagged = k.alias(Kind.TYPE_TAG, k.sk_buff, "rcu")
    k.func("tagged", k.ptr(k.alias(Kind.VOLATILE, tagged)))
    k.func("forward", k.ptr(k.fwd("sk_buff")))
    k.func("second", k.sock, k.skb)
    k.func("first_of_two", k.number, k.skb, k.skb)
    k.func("by_value", k.sk_buff)
    k.func("void_pointer", k.ptr(0))
    k.func("pointer_to_prototype", k.ptr(k.proto(k.skb)))
    k.func("nothing")
    k.func("variadic", k.sock, 0)
    found = plan(k)
    assert positions(found) == {
        "plain": (1, 0),
        "const_skb": (1, 0),
        "const_pointer": (1, 0),
        "typedef": (1, 0),
        "tagged": (1, 0),
        "forward": (1, 0),
        "second": (2, 0),
        "first_of_two": (2, 0),
    }
    assert found.skipped == ()


PLACE = "takes no sk_buff, but the address of a pointer to one (struct sk_buff **)"
LIST = "takes no sk_buff, but a list of them (struct sk_buff_head *)"


def test_those_that_are_told_where_sk_buffs_are_have_their_reason() -> None:
    k = Kernel()
    place, head = k.ptr(k.skb), k.ptr(k.struct("sk_buff_head", 24))
    k.func("__netif_receive_skb_core", place, k.number)
    k.func("const_place", k.alias(Kind.CONST, k.ptr(k.const_skb)))
    k.func("skb_dequeue", head)
    k.func("const_list", k.number, k.ptr(k.alias(Kind.CONST, k.fwd("sk_buff_head"))))
    k.func("both", head, place)
    k.func("has_one", k.skb, place, head)
    k.func("sometimes_has_one", place)
    k.func("sometimes_has_one", k.skb)
    k.func("deeper", k.ptr(place))
    module = Builder(k)
    module.func("of_a_module", head)
    module.func("of_its_own", module.ptr(module.ptr(module.alias(Kind.CONST, k.sk_buff))))
    module.func("skb_dequeue", k.skb)
    vmlinux = k.btf()
    veth = module.btf(vmlinux, "veth")
    sources = [("", Functions.of(vmlinux)), *module_functions(vmlinux, [veth])]
    found = make_plan(sources, everything(vmlinux, veth), lambda name: True)
    assert {target.name for target in found.targets} == {
        "has_one",
        "skb_dequeue",
    }
    assert {(skipped.name, skipped.module): skipped.why for skipped in found.skipped} == {
        ("__netif_receive_skb_core", ""): PLACE,
        ("const_place", ""): PLACE,
        ("both", ""): PLACE,
        ("sometimes_has_one", ""): "2 functions of this name differ in arguments",
        ("skb_dequeue", ""): LIST,
        ("const_list", ""): LIST,
        ("of_a_module", "veth"): LIST,
        ("of_its_own", "veth"): PLACE,
    }
    assert make_plan(sources, everything(vmlinux, veth), {"both"}.__contains__).skipped == (
        Skipped("both", "", PLACE),
    )


def test_a_copy_that_is_not_filled_in_yet_is_not_the_packet() -> None:
    k = Kernel()
    k.func("__copy_skb_header", k.skb, k.const_skb)  # (new, old)
    k.func("skb_try_coalesce", k.skb, k.const_skb)
    k.func("skb_zerocopy", k.skb, k.skb, k.number, k.number)
    k.func("ip_copy_metadata", k.skb)
    assert positions(plan(k)) == {
        "__copy_skb_header": (2, 0),
        "skb_try_coalesce": (1, 0),
        "skb_zerocopy": (2, 0),
        "ip_copy_metadata": (1, 0),
    }


def test_the_register_follows_from_all_arguments_before() -> None:
    k = Kernel()
    two, three = k.struct("two", 16), k.struct("three", 24)
    k.func("behind_16_bytes", two, k.skb)
    k.func("behind_24_bytes", three, k.skb)
    k.func("behind_a_large_result", k.skb, returns=three)
    k.func("sixth", *[k.number] * 5, k.skb)
    k.func("seventh", *[k.number] * 6, k.skb)
    k.func("pushed_out", *[two] * 3, k.skb)
    found = plan(k)
    assert positions(found) == {
        "behind_16_bytes": (3, 0),
        "behind_24_bytes": (1, 0),
        "behind_a_large_result": (2, 0),
        "sixth": (6, 0),
    }
    on_stack = "its sk_buff is passed on the stack"
    assert why(found) == {"seventh": on_stack, "pushed_out": on_stack}


def test_a_reason_is_known_by_its_type() -> None:
    k = Kernel()
    ovs = k.enum("ovs_drop_reason", {"OVS_DROP_LAST_ACTION": 0x30001})
    k.func("kfree_skb_reason", k.skb, k.reason)
    k.func("sk_skb_reason_drop", k.sock, k.skb, k.reason)
    k.func("behind", k.struct("s", 16), k.reason, k.skb)
    k.func("ovs_kfree_skb_reason", k.skb, k.alias(Kind.TYPEDEF, ovs, "ovs_t"))
    k.func("takes_a_pointer_to_one", k.skb, k.ptr(k.reason))
    k.func("takes_another_enum", k.skb, k.enum("sk_rst_reason", {"A": 0}))
    k.func("takes_a_number", k.skb, k.number)
    k.func("reason_on_stack", k.skb, *[k.number] * 5, k.reason)
    k.func("reason_alone", k.reason)
    assert positions(plan(k)) == {
        "kfree_skb_reason": (1, 2),
        "sk_skb_reason_drop": (2, 3),
        "behind": (4, 3),
        "ovs_kfree_skb_reason": (1, 2),
        "takes_a_pointer_to_one": (1, 0),
        "takes_another_enum": (1, 0),
        "takes_a_number": (1, 0),
        "reason_on_stack": (1, 0),
    }


def test_what_is_left_out_is_named_with_its_reason() -> None:
    k = Kernel()
    names = ["good", "inlined", "refused", "twice"]
    for name in names:
        k.func(name, k.skb)
    k.func("differs", k.skb)
    k.func("differs", k.sock, k.skb)
    k.func("differs_elsewhere", k.skb, k.sock)
    k.func("differs_elsewhere", k.skb, k.number)
    functions: dict[tuple[str, str], Sequence[int]] = {
        ("good", ""): [0xFFFF0010],
        ("refused", ""): [0],
        ("twice", ""): [0xFFFF0020, 0xFFFF0030],
        ("differs", ""): [0, 0],
        ("differs_elsewhere", ""): [],
        ("inlined", "a_module"): [0],
    }
    found = plan(k, attachable=Attachable(functions, "kallsyms", frozenset({"refused"})))
    assert set(found.targets) == {
        Target("good", "", 0xFFFF0010, 1, 0),
        Target("differs_elsewhere", "", 0, 1, 0),
    }
    assert why(found) == {
        "inlined": "not in kallsyms",
        "refused": "on the kprobe blacklist",
        "twice": "2 functions of this name, BTF knows 1",
        "differs": "2 functions of this name differ in arguments",
    }


def several(k: Kernel, count: int, name: str = "f") -> Plan:
    """A plan where ``count`` functions have the name."""
    addrs = [0xFFFF0010 + 16 * n for n in range(count)]
    return plan(k, attachable=Attachable({(name, ""): addrs}, "kallsyms"))


def test_each_function_of_a_name_is_traced_where_btf_has_them_all() -> None:
    """As add_grec() of IPv4 and of IPv6 on 6.1."""
    k = Kernel()
    k.func("f", k.skb, k.sock)
    k.func("f", k.skb, k.number)
    assert several(k, 2).targets == (
        Target("f", "", 0xFFFF0010, 1, 0),
        Target("f", "", 0xFFFF0020, 1, 0),
    )
    assert why(several(k, 3)) == {"f": "3 functions of this name, BTF knows 2"}
    k.func("f", k.skb, k.reason)
    assert why(several(k, 3)) == {"f": "3 functions of this name differ in arguments"}


def test_each_function_of_a_name_is_traced_where_btf_has_compared_them() -> None:
    """As reg_vif_xmit() of IPv4 and of IPv6 on 6.12, which have one prototype."""
    k = Kernel()
    of_one = k.func("f", k.sock, k.skb)
    assert why(several(k, 2)) == {"f": "2 functions of this name, BTF knows 1"}
    k.add(Kind.DECL_TAG, "bpf_kfunc", of_one, 0xFFFFFFFF)
    assert [(t.addr, t.arg) for t in several(k, 2).targets] == [(0xFFFF0010, 2), (0xFFFF0020, 2)]


def test_what_the_compiler_made_of_a_function_is_named() -> None:
    k = Kernel()
    for name in ("ip6_pkt_drop", "route", "tcp_fastopen_add_skb", "plain", "unwanted"):
        k.func(name, k.skb)
    functions: dict[tuple[str, str], Sequence[int]] = {
        ("tcp_fastopen_add_skb", ""): [0xFFFF0010],
        ("plain", ""): [0xFFFF0020],
        ("unwanted", ""): [0xFFFF0030],
    }
    clones = {
        ("ip6_pkt_drop", ""): ("ip6_pkt_drop.isra.0",),
        ("route", ""): ("route.constprop.0.isra.0", "route.part.0"),
        ("tcp_fastopen_add_skb", ""): ("tcp_fastopen_add_skb.part.0",),
        ("plain", "a_module"): ("plain.isra.0",),
        ("unwanted", ""): ("unwanted.isra.0",),
    }
    listed = Attachable(functions, "kallsyms", clones=clones)
    found = plan(k, "(?!unwanted).*", listed)
    assert [target.name for target in found.targets] == ["tcp_fastopen_add_skb", "plain"]
    parts = "may get parts of its arguments in their place"
    constant = "does not get arguments that are constant"
    part = "is a part of it and gets what that needs"
    assert why(found) == {
        "ip6_pkt_drop": f"the compiler left only ip6_pkt_drop.isra.0, which {parts}",
        "route": f"the compiler left only route.constprop.0.isra.0, which {constant} and {parts}; "
        f"route.part.0, which {part}",
        "tcp_fastopen_add_skb.part.0": f"made of tcp_fastopen_add_skb: it {part}",
    }
    assert why(plan(k, r"unwanted\.isra.*", listed)) == {
        "unwanted.isra.0": f"made of unwanted: it {parts}"
    }
    assert why(plan(k, "ip6_pkt_drop", listed)).keys() == {"ip6_pkt_drop"}


def test_one_without_an_sk_buff_makes_a_name_uncertain() -> None:
    k = Kernel()
    k.func("f", k.skb)
    k.func("f", k.sock)
    for count in (1, 2):
        assert why(several(k, count)) == {"f": "2 functions of this name differ in arguments"}
    other = Kernel()
    other.func("f", other.skb)
    other.func("g", other.sock)
    assert why(several(other, 1)) == {}


def test_a_plan_for_trampolines() -> None:
    """Slots in place of registers, the function's own type, and no name that BTF has twice."""
    k = Kernel()
    pair, large = k.struct("pair", 16), k.struct("large", 24)
    made = {
        "plain": k.func("plain", k.skb, k.reason),
        "shifted": k.func("shifted", pair, k.skb, k.reason),
        "far": k.func("far", *[k.number] * 7, k.skb, k.reason),
    }
    k.func("unfit", k.skb, large)
    k.func("twice", k.skb, k.sock)
    k.func("twice", k.skb, k.number)
    k.func("of_two", k.skb, k.sock)
    module = Builder(k)
    made["of_a_module"] = module.func("of_a_module", k.skb)
    vmlinux = k.btf()
    veth = module.btf(vmlinux, "veth")
    sources = [("", Functions.of(vmlinux)), *module_functions(vmlinux, [veth])]
    listed = everything(vmlinux, veth)
    functions = {**listed.functions, ("of_two", ""): [0, 0]}
    found = make_plan(sources, replace(listed, functions=functions), lambda name: True, slots=True)
    assert positions(found) == {
        "plain": (1, 2),
        "shifted": (3, 4),
        "far": (8, 9),
        "of_a_module": (1, 0),
    }
    assert {target.name: target.btf_id for target in found.targets} == made
    assert why(found) == {
        "unfit": "no trampoline takes its arguments",
        "twice": "BTF knows 2 functions of this name",
        "of_two": "2 functions of this name, a trampoline finds the first alone",
    }


def test_only_wanted_names() -> None:
    k = Kernel()
    for name in ("tcp_v4_rcv", "tcp_v4_rcv_more", "udp_rcv"):
        k.func(name, k.skb)
    found = plan(k, "tcp_v4_rcv|udp_.*", Attachable({("udp_rcv", ""): [0]}, "kallsyms"))
    assert [target.name for target in found.targets] == ["udp_rcv"]
    assert found.skipped == (Skipped("tcp_v4_rcv", "", "not in kallsyms"),)


def test_functions_of_modules() -> None:
    k = Kernel()
    k.func("shared_name", k.skb)
    module = Builder(k)
    module.func("veth_xmit", k.skb, k.sock)
    module.func("shared_name", k.sock, k.skb)
    module.func("local_type", module.ptr(module.alias(Kind.CONST, k.sk_buff)))
    vmlinux = k.btf()
    veth = module.btf(vmlinux, "veth")
    sources = [("", Functions.of(vmlinux)), *module_functions(vmlinux, [veth])]
    found = make_plan(sources, everything(vmlinux, veth), lambda name: True)
    assert {(t.name, t.module, t.arg) for t in found.targets} == {
        ("shared_name", "", 1),
        ("shared_name", "veth", 2),
        ("veth_xmit", "veth", 1),
        ("local_type", "veth", 1),
    }
    assert found.skipped == ()


def test_the_most_telling_come_first_and_the_rest_keep_their_order() -> None:
    k = Kernel()
    names = [
        "zzz",
        "br_handle_frame",
        "nf_nat_fn",
        "dev_queue_xmit",
        "tcp_v4_rcv",
        "aaa",
        "ip_rcv",
        "kfree_skb_reason",
        "kfree_skbmem",
    ]
    for name in names:
        k.func(name, k.skb)
    assert [target.name for target in plan(k).targets] == [
        "ip_rcv",
        "kfree_skb_reason",
        "kfree_skbmem",
        "tcp_v4_rcv",
        "dev_queue_xmit",
        "nf_nat_fn",
        "br_handle_frame",
        "zzz",
        "aaa",
    ]


def test_a_kernel_without_sk_buffs_has_an_empty_plan() -> None:
    b = Builder()
    b.func("f", b.integer())
    assert plan(b) == Plan((), ())


def test_skip() -> None:
    target = Target("f", "m", 1, 2, 3)
    assert Plan.skip(target, "no addresses in kallsyms") == ("f", "m", "no addresses in kallsyms")
