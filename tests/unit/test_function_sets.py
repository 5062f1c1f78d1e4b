# SPDX-License-Identifier: Apache-2.0
"""``@core`` and its like: what they hold, and how they stand in a pattern."""

from __future__ import annotations

import pytest

from pwru_py import Config, UsageError
from pwru_py.facts.function_sets import SETS, expand, matcher
from pwru_py.programs.settings import hides_drops

# A function that each set has, one that it has not, by what it is for.
MEMBERS = {
    "core": ("ip_rcv dev_hard_start_xmit kfree_skbmem tcp_data_queue", "ip_rcv_core tcp_ack"),
    "journey": ("__dev_queue_xmit net:netif_rx_entry consume_skb", "ip_rcv tcp_v4_rcv"),
    "drops": ("kfree_skb_reason icmp_echo skb:kfree_skb __ping_queue_rcv_skb", "consume_skb"),
    "netfilter": ("nf_hook_slow nft_do_chain ipt_do_table __nf_ct_refresh_acct", "ip_rcv nfs_read"),
    "tcp": ("tcp_v4_rcv __tcp_transmit_skb tcp:tcp_probe", "udp_rcv mptcp_recv"),
    "udp": ("udp_rcv __udp4_lib_rcv udpv6_rcv udp_send_skb", "tcp_v4_rcv udplite_rcv"),
}


@pytest.mark.parametrize("name", SETS)
def test_what_a_set_holds(name: str) -> None:
    matches = matcher(f"@{name}")
    held, others = MEMBERS[name]
    assert [each for each in held.split() if not matches(each)] == []
    assert [each for each in others.split() if matches(each)] == []


@pytest.mark.parametrize(
    ("pattern", "taken", "refused"),
    [
        ("@udp|ip_rcv", "udp_rcv ip_rcv", "tcp_v4_rcv ip_rcv_core"),
        ("@tcp|@udp", "udp_rcv tcp_v4_rcv", "ip_rcv"),
        ("(?!@tcp).*_rcv", "udp_rcv ip_rcv", "tcp_v4_rcv udp_send_skb"),
        ("(@udp|icmp)_x", "icmp_x", "udp_rcv"),
        ("", "anything @core", ""),
    ],
)
def test_sets_within_a_pattern(pattern: str, taken: str, refused: str) -> None:
    matches = matcher(pattern)
    assert [each for each in taken.split() if not matches(each)] == []
    assert [each for each in refused.split() if matches(each)] == []


def test_groups_keep_their_numbers() -> None:
    assert matcher(r"@udp|(a)b\1")("aba")


@pytest.mark.parametrize(
    ("pattern", "named", "hint"),
    [("@tcpp", "'@tcpp'", ": did you mean @tcp?"), ("a@", "'@'", " ("), ("@zzz|b", "'@zzz'", " (")],
)
def test_a_set_that_there_is_not(pattern: str, named: str, hint: str) -> None:
    with pytest.raises(UsageError) as raised:
        Config(filter_func=pattern)
    assert str(raised.value).startswith(f"there is no set {named}{hint}")
    assert str(raised.value).endswith("(sets: @core, @journey, @drops, @netfilter, @tcp, @udp)")
    with pytest.raises(UsageError):
        expand(pattern)


def test_drops_are_shown_where_a_set_has_them() -> None:
    assert not hides_drops(Config(filter_func="@core"))
    assert not hides_drops(Config(filter_func="@tcp|@drops"))
    assert hides_drops(Config(filter_func="@tcp"))
