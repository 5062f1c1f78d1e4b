# SPDX-License-Identifier: Apache-2.0
"""Netfilter's tables: the functions that run them, offsets in their structures, words. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .btf import Btf, Kind, TypeId

NFTABLES = "nft_do_chain"
"""Runs a base chain: (nft_pktinfo *, nft_chain *), net/netfilter/nf_tables_core.c."""

EBTABLES = "ebt_do_table"
"""Runs a table of ebtables, with the arguments of ipt_do_table()
(net/bridge/netfilter/ebtables.c).
"""

RULES = "nft_immediate_eval"
"""A rule's verdict: (struct nft_expr *, struct nft_regs *, struct nft_pktinfo *)
(net/netfilter/nft_immediate.c).
"""

COMMIT = "nf_tables_commit"
"""Puts a transaction's rules in place (net/netfilter/nf_tables_api.c)."""

REJECTS = {
    f"nft_reject_{family}_eval": f"nft_reject_{family}"
    for family in ("ipv4", "ipv6", "inet", "bridge", "netdev")
} | {"nft_queue_eval": "nft_queue", "nft_queue_sreg_eval": "nft_queue"}
"""A rule's reject, its queue, with the same arguments, to their modules
(net/*/netfilter/nft_reject_*.c, net/netfilter/nft_queue.c).
"""

QUEUES = frozenset(
    (
        "nf_queue", "nf_reinject", "nfqnl_reinject", "nfqnl_recv_verdict",
        "nfqnl_recv_verdict_batch",
    )
)  # fmt: skip
"""Functions that drop what is queued: no program listens, it is full, or the program says so
(net/netfilter/nf_queue.c, nfnetlink_queue.c; the last ones where others are inlined in them).
"""

RETURNS = {
    "nft_lookup_eval": "nf_tables",
    "nft_target_eval_xt": "nft_compat",
    "nft_target_eval_bridge": "nft_compat",
}
"""A rule's look at a set or a map, its target of x_tables: what they decide stands in the registers
when they return. To their modules (net/netfilter/nft_lookup.c, nft_compat.c).
"""

STEPS = "__nft_trace_packet"
"""What a packet meets in nf_tables, while the kernel traces rules: (nft_pktinfo *, nft_verdict *,
nft_rule_dp *, nft_traceinfo *, type), until 6.4 (nft_traceinfo *, nft_chain *, type)
(net/netfilter/nf_tables_core.c).
"""

TABLE_FUNCTIONS = {
    "ipt_do_table": "ip_tables",
    "ip6t_do_table": "ip6_tables",
    "arpt_do_table": "arp_tables",
    EBTABLES: "ebtables",
    NFTABLES: "nf_tables",
}
"""To their modules (net/ipv4/netfilter, net/ipv6/netfilter, net/bridge/netfilter,
net/netfilter).
"""

BROUTE = "broute"
"""The table of ebtables whose DROP has a bridge's port take the packet in itself."""

_XTABLES = {2: "ipt_do_table", 10: "ip6t_do_table", 3: "arpt_do_table", 7: EBTABLES}
_XT_FAMILIES = {2: "ip", 10: "ip6", 3: "arp", 7: "bridge"}
ARPTABLES_TOOL, EBTABLES_TOOL = "arptables", "ebtables"
_XT_TOOLS = {2: "iptables", 10: "ip6tables", 3: ARPTABLES_TOOL, 7: EBTABLES_TOOL}
# NFPROTO_* of include/uapi/linux/netfilter.h, as nft(8) calls them
_FAMILIES = {1: "inet", 2: "ip", 3: "arp", 5: "netdev", 7: "bridge", 10: "ip6"}
_HOOKS = ("PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING", "INGRESS")
_ARP_HOOKS, _DEVICE_HOOKS = ("INPUT", "OUTPUT", "FORWARD"), ("INGRESS", "EGRESS")
_BRIDGE_HOOKS = (*_HOOKS[:5], "BROUTING")
_VERDICTS = ("DROP", "ACCEPT", "STOLEN", "QUEUE", "REPEAT", "STOP")
_GOING_ON = ("CONTINUE", "BREAK", "JUMP", "GOTO", "RETURN")  # from -1 down: enum nft_verdicts
_MASK = 0xFF  # NF_VERDICT_MASK; above it a queue's number or an errno


def table_function(*, nft: bool, pf: int) -> str:
    """The function that has said it."""
    return NFTABLES if nft else _XTABLES.get(pf, f"table of family {pf}")


def xt_family(pf: int) -> str:
    """``ip`` of iptables, ``arp`` of arptables, ``bridge`` of ebtables; '' of an unknown one."""
    return _XT_FAMILIES.get(pf, "")


def xt_tool(pf: int) -> str:
    """Whose tables they are: ``iptables``, ``ebtables``; '' of an unknown one."""
    return _XT_TOOLS.get(pf, "")


def told_tool(tool: str) -> str:
    """``arptables``, ``ebtables``; '' of iptables and ip6tables, whose packets tell."""
    return tool if tool in (ARPTABLES_TOOL, EBTABLES_TOOL) else ""


def family_name(family: int) -> str:
    return _FAMILIES.get(family, str(family))


def hook_name(pf: int, hook: int) -> str:
    """``INPUT``; the number where it has no name."""
    hooks = {3: _ARP_HOOKS, 5: _DEVICE_HOOKS, 7: _BRIDGE_HOOKS}.get(pf, _HOOKS)
    return hooks[hook] if hook < len(hooks) else str(hook)


def verdict_name(verdict: int) -> str:
    """``ACCEPT``, of a step ``JUMP``; the number where it has no name."""
    beyond = (1 << 32) - 1 - verdict
    if beyond < len(_GOING_ON):
        return _GOING_ON[beyond]
    number = verdict & _MASK
    return _VERDICTS[number] if number < len(_VERDICTS) else str(number)


@dataclass(frozen=True, slots=True)
class TableLayout:
    """struct tables of ``bpf/event.h``: bytes from the start of each structure, and the sites of
    ``arch.x86_64_sites``.
    """

    xt_name: int = 0
    chain_table: int = 0
    chain_name: int = 0
    table_name: int = 0
    table_family: int = 0
    table_handle: int = 0
    packet_state: int = 0
    policy_before: int = 0
    immediate_dreg: int = 0
    ops_size: int = 0
    xt_private: int = 0
    info_entries: int = 0
    info_size: int = 0
    eb_name: int = 0
    eb_private: int = 0
    eb_entries: int = 0
    eb_size: int = 0
    frame4: int = 0
    frame6: int = 0
    frame_arp: int = 0
    frame_eb: int = 0
    hot4: int = 0
    hot6: int = 0
    hot_arp: int = 0
    hot_eb: int = 0
    rule4: int = 0
    rule6: int = 0
    rule_arp: int = 0
    rule_eb: int = 0
    info_packet: int = 0
    info_rule: int = 0
    info_verdict: int = 0
    info_first: bool = False
    steps: bool = False
    rules_plain: bool = False
    skb_second: bool = False
    on: bool = False


NO_TABLES = TableLayout()
_XT_MEMBERS = {
    "xt_name": ("xt_table", "name"),
    "xt_private": ("xt_table", "private"),
    "info_entries": ("xt_table_info", "entries"),
    "info_size": ("xt_table_info", "size"),
}
_EB_MEMBERS = {
    "eb_name": ("ebt_table", "name"),
    "eb_private": ("ebt_table", "private"),
    "eb_entries": ("ebt_table_info", "entries"),
    "eb_size": ("ebt_table_info", "entries_size"),
}
_NFT_MEMBERS = {
    "chain_table": ("nft_chain", "table"),
    "chain_name": ("nft_chain", "name"),
    "table_name": ("nft_table", "name"),
    "table_family": ("nft_table", "family"),
    "table_handle": ("nft_table", "handle"),
    "packet_state": ("nft_pktinfo", "state"),
    "immediate_dreg": ("nft_immediate_expr", "dreg"),
    "ops_size": ("nft_expr_ops", "size"),
}
_INFO_MEMBERS = {  # until 6.4
    "info_packet": ("nft_traceinfo", "pkt"),
    "info_rule": ("nft_traceinfo", "rule"),
    "info_verdict": ("nft_traceinfo", "verdict"),
}
_POLICY, _CHAIN = ("nft_base_chain", "policy"), ("nft_base_chain", "chain")


def find_layout(btfs: Sequence[Btf], functions: Sequence[str]) -> TableLayout | None:
    """What ``functions`` need, of ``btfs``: the kernel's first, then its modules'.

    None where it is not known. Without BTF of modules (before 5.11) it is that of 5.10.
    """
    if not btfs[0].has_member("module", "btf_data"):  # 5.11, 36e68442d1af
        return _layout_of_5_10(btfs[0])
    xtables, nftables = {*functions} - {NFTABLES}, NFTABLES in functions
    wanted = (_XT_MEMBERS if xtables - {EBTABLES} else {}) | (_NFT_MEMBERS if nftables else {})
    wanted |= _EB_MEMBERS if EBTABLES in xtables else {}
    places: dict[str, int | None] = {
        field: _offset(btfs, member) for field, member in wanted.items()
    }
    if nftables:
        policy, chain = _offset(btfs, _POLICY), _offset(btfs, _CHAIN)
        places["policy_before"] = None if policy is None or chain is None else chain - policy
    found = {field: offset for field, offset in places.items() if offset is not None}
    if found.keys() != places.keys():
        return None
    info = {field: _offset(btfs, member) for field, member in _INFO_MEMBERS.items()}
    found |= {field: offset for field, offset in info.items() if offset is not None}
    return TableLayout(
        **found,
        info_first=None not in info.values(),
        steps=False,
        rules_plain=not any(btf.named("nft_rule_dp", (Kind.STRUCT,)) for btf in btfs),
        skb_second=any(_takes_skb_second(btf, name) for btf in btfs for name in xtables),
        on=True,
    )


def _offset(btfs: Iterable[Btf], member: tuple[str, str]) -> int | None:
    found = (btf.member_offset(*member) for btf in btfs)
    return next((offset for offset in found if offset is not None), None)


def _takes_skb_second(btf: Btf, name: str) -> bool:
    function = btf.function(name)
    if function is None:
        return False
    types = btf.parameter_types(function.proto)
    pointed = btf.resolve(btf.target(btf.resolve(TypeId(types[1]))))
    return btf.type_name(pointed) == "sk_buff"


def _layout_of_5_10(btf: Btf) -> TableLayout | None:
    """There struct nft_table has its chains behind a list and this table's hash."""
    sizes = [btf.size(found) for found in btf.named("rhltable", (Kind.STRUCT,))]
    if not sizes:
        return None
    chains = 16 + sizes[0]
    return TableLayout(
        xt_name=56,
        xt_private=24,
        info_entries=64,
        info_size=0,
        eb_name=16,
        eb_private=72,
        eb_entries=64,
        eb_size=0,
        chain_table=64,
        chain_name=88,
        table_name=chains + 88,
        table_family=chains + 84,
        table_handle=chains + 72,
        packet_state=32,
        policy_before=16,
        immediate_dreg=16,
        ops_size=16,
        info_packet=0,
        info_rule=24,
        info_verdict=32,
        info_first=True,
        rules_plain=True,
        on=True,
    )
