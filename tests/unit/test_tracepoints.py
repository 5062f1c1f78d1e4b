# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pwru_py.attach.tracepoints import Tracepoints, attachable
from pwru_py.facts.btf import Kind
from pwru_py.plan.functions import Skipped, Target
from pwru_py.plan.tracepoints import Tracepoint, bare_name, find_tracepoints, tracepoint_plan

from .btf_builder import Builder


def tracepoint(built: Builder, name: str, *arguments: int) -> int:
    """``typedef void (*btf_trace_NAME)(void *, ...)``."""
    own = built.ptr(0)
    return built.alias(Kind.TYPEDEF, built.ptr(built.proto(own, *arguments)), f"btf_trace_{name}")


def test_tracepoints_and_their_arguments() -> None:
    built = Builder()
    skb = built.ptr(built.struct("sk_buff"))
    const = built.ptr(built.alias(Kind.CONST, built.struct("sk_buff")))
    sock = built.ptr(built.struct("sock"))
    reason = built.enum("skb_drop_reason", {"SKB_NOT_DROPPED_YET": 0})
    void = built.ptr(0)
    number = built.integer()
    freed = tracepoint(built, "kfree_skb", skb, void, reason, sock)
    sent = tracepoint(built, "tcp_retransmit_skb", sock, const)
    queued = tracepoint(built, "qdisc_enqueue", void, void, skb)
    tracepoint(built, "sched_switch", number)
    built.alias(Kind.TYPEDEF, built.ptr(built.proto(skb)), "some_other_typedef")
    built.func("a_function", skb)
    assert find_tracepoints(built.btf()) == [
        Tracepoint("kfree_skb", "", 1, 3, 2, freed),
        Tracepoint("qdisc_enqueue", "", 3, 0, 0, queued),
        Tracepoint("tcp_retransmit_skb", "", 2, 0, 0, sent),
    ]


def test_what_is_before_the_programs_arguments_is_no_packet() -> None:
    built = Builder()
    skb = built.ptr(built.struct("sk_buff"))
    built.alias(Kind.TYPEDEF, built.ptr(built.proto(skb)), "btf_trace_odd")
    assert find_tracepoints(built.btf()) == []


def test_a_modules_tracepoints_use_types_of_the_kernel() -> None:
    kernel = Builder()
    skb = kernel.ptr(kernel.struct("sk_buff"))
    tracepoint(kernel, "netif_rx", skb)
    module = Builder(kernel)
    typedef = tracepoint(module, "ath_tx", module.integer(), skb)
    base = kernel.btf()
    found = find_tracepoints(module.btf(base, "ath"), "ath")
    assert found == [Tracepoint("ath_tx", "ath", 2, 0, 0, typedef)]


KFREE = Tracepoint("kfree_skb", "", 1, 3, 2, 9)
FOUND = (
    Tracepoint("consume_skb", "", 1, 0, 2, 8),
    KFREE,
    Tracepoint("napi_gro_receive_entry", "", 1, 0, 0, 7),
    Tracepoint("subflow_check_data_avail", "", 2, 0, 0, 6),
    Tracepoint("brand_new", "", 6, 0, 0, 5),
    Tracepoint("ath_tx", "ath", 2, 0, 0, 4),
)


def test_a_plan_names_them_as_the_kernel_does() -> None:
    plan = tracepoint_plan(FOUND, lambda name: True, attachable)
    assert [bare_name(target.name) for target in plan.targets] == [
        found.name for found in FOUND if found.arg < 6
    ]
    assert [target.name for target in plan.targets] == [
        "skb:consume_skb",
        "skb:kfree_skb",
        "net:napi_gro_receive_entry",
        "mptcp:subflow_check_data_avail",
        "ath:ath_tx",
    ]
    assert plan.skipped == (Skipped("tracepoint:brand_new", "", "no program takes its arguments"),)


def test_a_pattern_may_leave_out_the_system() -> None:
    for pattern in ("skb:kfree_skb", "kfree_skb"):
        plan = tracepoint_plan(FOUND, pattern.__eq__, attachable)
        assert plan.targets == (Target("skb:kfree_skb", "", 0, 1, 3, 9, 2),)


def test_each_place_of_the_packet_has_its_program() -> None:
    """The program of drops serves kfree_skb."""
    targets = tracepoint_plan(FOUND, lambda name: True, attachable).targets
    assert Tracepoints.programs(targets, "usual") == (
        "tracepoint_1", "tracepoint_1_located", "tracepoint_2",
    )  # fmt: skip
