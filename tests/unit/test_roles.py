# SPDX-License-Identifier: Apache-2.0
"""What is known of kernel functions."""

from __future__ import annotations

from pwru_py.facts.roles import not_followed

ALL = frozenset(
    (
        "__copy_skb_header", "ip_copy_metadata", "ip6_copy_metadata", "ip_fraglist_init",
        "ip6_fraglist_init", "skb_split", "skb_gro_receive", "skb_gro_receive_list",
    )
)  # fmt: skip


def test_what_a_kernel_does_not_show_is_named() -> None:
    assert not_followed(ALL) == []
    assert not_followed(ALL - {"ip6_copy_metadata"}) == ["fragments of IPv6 packets"]


def test_each_way_of_copying_is_watched_where_there_is_no_common_one() -> None:
    ways = {"skb_clone", "skb_copy", "__pskb_copy_fclone", "skb_copy_expand"}
    inlined = ALL - {"__copy_skb_header"}
    assert not_followed(inlined | ways) == []
    assert not_followed(inlined | ways - {"skb_copy"}) == ["copies made by skb_copy"]
