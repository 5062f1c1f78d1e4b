# SPDX-License-Identifier: Apache-2.0
"""Netfilter's tables: where their structures have what is read, and the words for it."""

from __future__ import annotations

import pytest

from pwru_py.facts.tables import (
    EBTABLES,
    NFTABLES,
    TableLayout,
    find_layout,
    hook_name,
    table_function,
    verdict_name,
)
from pwru_py.output.formats import format_said
from pwru_py.record.event import Verdict
from tests.unit.btf_builder import Builder


def kernel(*, modules_have_btf: bool = True) -> Builder:
    b = Builder()
    word = b.integer("unsigned long", 8)
    b.struct("module", 8, [("btf_data", word)] if modules_have_btf else [("name", word)])
    b.struct("rhltable", 144, [("ht", word)])
    b.struct("sk_buff", 8, [("next", word)])
    return b


def module(base: Builder, second: str = "sk_buff") -> Builder:
    b = Builder(base)
    long = b.integer("long", 8)
    b.struct_at("xt_table", {"private": 24, "name": 40}, long)
    b.struct_at("xt_table_info", {"size": 4, "entries": 72}, long)
    b.struct_at("ebt_table", {"name": 16, "private": 80}, long)
    b.struct_at("ebt_table_info", {"entries_size": 8, "entries": 96}, long)
    b.struct_at("nft_chain", {"table": 24, "name": 48}, long)
    b.struct_at("nft_table", {"handle": 288, "family": 300, "name": 304}, long)
    b.struct_at("nft_base_chain", {"policy": 60, "chain": 80}, long)
    b.struct_at("nft_immediate_expr", {"dreg": 16}, long)
    b.struct_at("nft_expr_ops", {"size": 24}, long)
    b.struct_at("nft_rule_dp", {"data": 8}, long)
    b.struct_at("nft_pktinfo", {"skb": 0, "state": 8}, long)
    pointer = b.ptr(b.struct(second, 8, [("next", long)]))
    b.func("ipt_do_table", long, pointer, pointer)
    return b


def test_a_kernel_whose_modules_have_btf() -> None:
    base = kernel()
    btfs = [base.btf(), module(base).btf(base.btf())]
    assert find_layout(btfs, ["ipt_do_table", NFTABLES]) == TableLayout(
        40, 24, 48, 304, 300, 288, 8, 20, 16, 24, 24, 72, 4, skb_second=True, on=True
    )
    older = [base.btf(), module(base, second="nf_hook_state").btf(base.btf())]
    assert find_layout(older, ["ipt_do_table"]) == TableLayout(
        40, xt_private=24, info_entries=72, info_size=4, rules_plain=False, on=True
    )


def test_ebtables_alone() -> None:
    base = kernel()
    btfs = [base.btf(), module(base).btf(base.btf())]
    assert find_layout(btfs, [EBTABLES]) == TableLayout(
        eb_name=16, eb_private=80, eb_entries=96, eb_size=8, on=True
    )


def test_what_no_module_tells_is_not_guessed() -> None:
    assert find_layout([kernel().btf()], [NFTABLES]) is None


def test_5_10_has_no_btf_of_modules() -> None:
    found = find_layout([kernel(modules_have_btf=False).btf()], [NFTABLES])
    assert found == TableLayout(
        56,
        64,
        88,
        248,
        244,
        232,
        32,
        16,
        16,
        16,
        24,
        64,
        0,
        16,
        72,
        64,
        rules_plain=True,
        on=True,
        info_rule=24,
        info_verdict=32,
        info_first=True,
    )


@pytest.mark.parametrize(
    ("pf", "hook", "name"),
    [(2, 0, "PREROUTING"), (10, 1, "INPUT"), (7, 4, "POSTROUTING"), (3, 1, "OUTPUT"),
     (5, 0, "INGRESS"), (5, 1, "EGRESS"), (7, 5, "BROUTING"), (2, 9, "9")],
)  # fmt: skip
def test_hooks(pf: int, hook: int, name: str) -> None:
    assert hook_name(pf, hook) == name


def test_verdicts() -> None:
    """A queue has its number, a drop of nf_tables (6.12) an errno above the verdict."""
    given = [0, 1, 3 | 7 << 16, 2 | 1 << 16, 77]
    assert [*map(verdict_name, given)] == ["DROP", "ACCEPT", "QUEUE", "STOLEN", "77"]


def test_words() -> None:
    assert table_function(nft=False, pf=10) == "ip6t_do_table"
    assert table_function(nft=True, pf=2) == NFTABLES
    assert table_function(nft=False, pf=7) == EBTABLES
    assert (
        format_said(Verdict("", "filter", "", "INPUT", "DROP", tool="ip6tables"))
        == "filter.INPUT:DROP"
    )
    bridge = Verdict("", "filter", "", "FORWARD", "DROP", tool="ebtables")
    assert format_said(bridge) == "ebtables filter.FORWARD:DROP"
    nft = Verdict("inet", "flt", "in", "INPUT", "ACCEPT")
    assert format_said(nft) == "inet flt/in.INPUT:ACCEPT"
