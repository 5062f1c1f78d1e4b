# SPDX-License-Identifier: Apache-2.0
"""What the running kernel can do, asked of its BTF: helpers, map and attach types, functions."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .btf import Btf, Kind


@dataclass(frozen=True, slots=True)
class Features:
    """Each is a plain yes or no; the commit that brought it stands beside it."""

    kprobe_multi: bool  # 5.18, 0dcac2725406, with CONFIG_FPROBE
    fentry_multi: int  # 7.2: number of BPF_TRACE_FENTRY_MULTI, 0 where nothing attaches by it
    ring: bool  # 5.8, 457f44363a88; with PREEMPT_RT 6.12, 8b62645b09f8
    cast_func: int  # 6.2, a35b9af4ec2c: BTF id of bpf_rdonly_cast, 0 without
    cast_type: int  # BTF id of struct bpf_raw_tracepoint_args, see bpf/headers.bpf.h
    adjacent: bool  # fields of struct sk_buff lie as read_adjacent() there reads them
    tag_bit: bool  # until 6.2, 354259fa73e2: vlan_present says that vlan_tci is valid
    small_pages: bool  # struct page has 64 bytes, see bpf/pages.bpf.h
    typed_task: bool  # 5.11, 3ca1032ab7ab: bpf_get_current_task_btf()
    preempt_variable: str  # per CPU: the one that holds the preempt count
    preempt_offset: int  # bytes from its start
    interrupts_counted: bool  # 7.3: local_interrupt_disable() has bits of the preempt count
    misses: bool  # 6.7, 3acf8ace6823: skipped runs of kprobe programs are counted
    tracepoint_cookies: bool  # 6.10, 68ca5d4eebb8: of raw tracepoints
    cgroup_sockets: bool  # CONFIG_SOCK_CGROUP_DATA: a socket knows its maker's control group
    kfree_skb_arguments: int  # of that tracepoint; the third, since 5.17 (c504e5c2f964), a reason
    session: int  # 6.12, 535a3692ba72: number of BPF_TRACE_KPROBE_SESSION, 0 without
    session_is_return: int  # BTF id of bpf_session_is_return, of the same
    session_cookie: int  # BTF id of bpf_session_cookie, 5c919acef851

    @classmethod
    def of(cls, btf: Btf) -> Features:
        attach_types = btf.enum("bpf_attach_type")
        is_return = min(btf.named("bpf_session_is_return", (Kind.FUNC,)), default=0)
        cookie = min(btf.named("bpf_session_cookie", (Kind.FUNC,)), default=0)
        session = attach_types.get("BPF_TRACE_KPROBE_SESSION", 0) if is_return and cookie else 0
        fprobe = btf.function("register_fprobe_ips") is not None
        direct_calls = btf.function("bpf_trampoline_multi_attach") is not None
        # 6.2, 64701838bf05, to 6.14, 01c7bc5198e9
        hot = btf.member_offset("pcpu_hot", "preempt_count")
        return cls(
            kprobe_multi="BPF_TRACE_KPROBE_MULTI" in attach_types and fprobe,
            fentry_multi=attach_types.get("BPF_TRACE_FENTRY_MULTI", 0) if direct_calls else 0,
            ring="BPF_MAP_TYPE_RINGBUF" in btf.enum("bpf_map_type") and not _ring_may_sleep(btf),
            cast_func=min(btf.named("bpf_rdonly_cast", (Kind.FUNC,)), default=0),
            cast_type=min(btf.named("bpf_raw_tracepoint_args", (Kind.STRUCT,)), default=0),
            adjacent=_adjacent(btf),
            tag_bit=btf.has_member("sk_buff", "vlan_present"),
            small_pages=[btf.size(t) for t in btf.named("page", (Kind.STRUCT,))] == [64],
            typed_task="BPF_FUNC_get_current_task_btf" in btf.enum("bpf_func_id"),
            preempt_variable="__preempt_count" if hot is None else "pcpu_hot",
            preempt_offset=hot or 0,
            interrupts_counted=bool(btf.named("local_interrupt_disable_state", (Kind.VAR,))),
            misses=btf.has_member("bpf_link_info", "kprobe_multi", "missed"),
            tracepoint_cookies=btf.has_member("bpf_raw_tp_link", "cookie"),
            cgroup_sockets=btf.has_member("sock", "sk_cgrp_data"),
            kfree_skb_arguments=_tracepoint_arguments(btf, "kfree_skb"),
            session=session if fprobe else 0,
            session_is_return=is_return,
            session_cookie=cookie,
        )

    @property
    def typed_loads(self) -> bool:
        """What ``bpf/`` takes for granted where it is compiled with TYPED_LOADS."""
        return self.cast_func > 0 and self.cast_type > 0 and self.adjacent and not self.tag_bit

    def without_casts(self) -> Features:
        """The same kernel, as if it had no ``bpf_rdonly_cast``."""
        return replace(self, cast_func=0)

    def without_own_btf(self) -> Features:
        """What is left where types come from a file, and the kernel knows none by number."""
        return replace(self.without_casts(), typed_task=False)

    @property
    def interrupt_masks(self) -> tuple[int, int]:
        """Bits of the preempt count that tell of hard interrupts, of NMIs: linux/preempt.h."""
        return (0xF << 24, 0xF << 28) if self.interrupts_counted else (0xF << 16, 0xF << 20)


def _tracepoint_arguments(btf: Btf, name: str) -> int:
    """How many arguments a raw tracepoint's program finds; 0: there is no such tracepoint.

    ``typedef void (*btf_trace_NAME)(void *, ...)``, include/trace/bpf_probe.h.
    """
    for typedef in btf.named(f"btf_trace_{name}", (Kind.TYPEDEF,)):
        return len(btf.parameter_types(btf.target(btf.target(typedef)))) - 1
    return 0


def _ring_may_sleep(btf: Btf) -> bool:
    """With PREEMPT_RT a spinlock_t is a mutex, which no probe may take."""
    rt = btf.has_member("spinlock", "lock")
    types = {
        btf.type_name(member.type)
        for ring in btf.named("bpf_ringbuf", (Kind.STRUCT,))
        for member in btf.members(ring)
        if member.name == "spinlock"
    }
    return rt and types == {"spinlock_t"}


# Most bytes that READ_SPAN copies: HEADERS_SPAN, DEV_SPAN, SKB_SPAN
_SPANS = (("vlan_proto", "head", 8, 64), ("dev", "sk", 8, 32), ("dev", "users", 4, 208))
_BEFORE = 64  # bytes of SPAN_BEFORE there
_BEFORE_MARK = ("sk", "len", "vlan_proto")


def _adjacent(btf: Btf) -> bool:
    def at(member: str) -> int:
        offset = btf.member_offset("sk_buff", member)
        return -1 if offset is None else offset

    vlan, protocol, tail, head = at("vlan_proto"), at("protocol"), at("tail"), at("head")
    return (
        0 <= vlan < protocol < tail < head
        and vlan % 4 == protocol % 4 == tail % 4 == head % 8 == 0
        and all(
            0 <= at(a) <= at(b) and at(b) + size - (at(a) & ~7) <= most
            for a, b, size, most in _SPANS
        )
        and at("dev") < _BEFORE
        and all(at("dev") < at(member) < at("mark") for member in _BEFORE_MARK)
        and at("mark") < protocol < head < at("users")
        and at("vlan_tci") == vlan + 2
        and at("network_header") == protocol + 4
        and at("mac_header") == protocol + 6
        and tail == protocol + 8
    )
