# SPDX-License-Identifier: Apache-2.0
"""What is wrong is told with its column, why, and what is nearest."""

from __future__ import annotations

import pytest

from pwru_py.errors import ExpressionError
from pwru_py.expressions.compiled import check, compile_filter, compile_values
from pwru_py.expressions.roots import XDP
from pwru_py.expressions.syntax import DEPTH_MAX
from pwru_py.facts.header_types import BTF_NAME
from tests.unit.expressions.kernel import types

ERRORS = [
    ("", 1, "the expression is empty"),
    ("skb->dev->mtuu > 1", 11, "struct net_device has no member 'mtuu': did you mean mtu?"),
    ("skb->sk->skc_dport == 1", 10, "did you mean __sk_common.skc_dport?"),
    ("skb->sk->sk_dport == 1", 10, "did you mean __sk_common.skc_dport?"),
    ("skb->zzzzzz == 1", 6, "struct sk_buff has no member 'zzzzzz'"),
    ("mark == 1", 1, "did you mean skb->mark?"),
    ("skb->mark == PACKET_HOTS", 14, "did you mean PACKET_HOST?"),
    ("skb->dev->state == DEV_REDY", 20, "did you mean DEV_READY?"),
    ("skb.mark == 1", 5, "is a pointer: write ->"),
    ("skb->sk->__sk_common->skc_num == 1", 23, "is no pointer: write ."),
    ("skb->mark->x", 12, "is no pointer: write ."),
    ("skb->mark.x", 11, "unsigned int has no members"),
    ("skb->private->x == 1", 15, "no members that the kernel's BTF describes"),
    ("skb->mark & 0xff == 1", 11, "in C == binds tighter than &: put ( ) around both sides"),
    ("(skb->mark & 0xf) == 0x10", 19, "16 never occurs: this holds 0 to 15"),
    ("skb->mark == -1", 11, "-1 never occurs: unsigned int holds 0 to 4294967295"),
    ("skb->mark == 0x100000000", 11, "4294967296 never occurs"),
    ("skb->pkt_type == 8", 15, "8 never occurs: 3 bits of unsigned char holds 0 to 7"),
    ("skb->sign == 16", 11, "holds -16 to 15"),
    ("skb->dev == -1", 10, "-1 is no address"),
    ("skb->dev == skb->mark", 10, "a pointer is compared with a number"),
    ("skb->mark == ", 14, "the expression ends too early"),
    ("skb->mark == )", 14, "a value is missing here"),
    ("skb->mark 5", 11, "an operator is missing before 5"),
    ("skb->mark == 5)", 15, "an operator is missing before )"),
    ("(skb->mark == 5", 16, ") is missing here"),
    ("skb->", 6, "the name of a member is missing here"),
    ("skb->mark $ 5", 11, "this is no part of an expression"),
    ("skb->mark == 0xfg", 14, "this is no part of an expression"),
    ("skb->mark == 10.0.0.1", 6, "an IPv4 address is compared with something else than a __be32"),
    ("skb->protocol == 10.0.0.1", 6, "something else than a __be32"),
    ("skb->mark == fe80::1", 6, "an address of 16 bytes is compared with something else"),
    ("skb->dev->perm_addr == fe80::1", 11, "an address of 16 bytes"),
    ("skb->sk->__sk_common.skc_daddr == 10.0.0.1/8", 35, "bits behind its prefix"),
    ("skb->sk->__sk_common.skc_daddr == 10.0.0.0/33", 35, "a prefix has from 1 to 32 bits"),
    ("skb->sk->__sk_common.skc_daddr == 10.0.0.300", 35, "this is no address"),
    ("skb->sk->__sk_common.skc_daddr < 10.0.0.0/8", 32, "networks are equal or not"),
    ("skb->sk->__sk_common.skc_v6_daddr > fe80::1", 35, "addresses are equal or not"),
    ("skb->sk->__sk_common.skc_v6_daddr == ::/0", 38, "a prefix has from 1 to 128 bits"),
    ("skb->sk->__sk_common.skc_v6_daddr", 22, "a structure has members: name one"),
    ('skb->dev->name < "eth0"', 16, "strings are equal or not"),
    ('skb->dev->name == "a-name-of-17-bytes"', 19, "longer than what it is compared with: 16"),
    ('skb->mark == "x"', 6, "a number is compared with a string"),
    ('skb->dev->name == "eth0', 19, "the text has no end"),
    ("skb->dev->name == 'eth0", 19, "the text has no end"),
    ("skb->dev->name == eth0", 19, "a string stands in quotes: \"eth0\""),
    ("ntohs(skb->protocol) == 1", 1, "no function can be called: fields of type __be… are turned"),
    ("strlen(skb->dev->name)", 1, "no function can be called: only fields are read"),
    ("skb->dev->name", 11, "a string is neither true nor false"),
    ('"x" == "x"', 5, "two constants are compared"),
    ("1 == 1", 3, "two constants are compared"),
    ("skb->cb[8] == 1", 8, "the array has 8 elements, from 0 on"),
    ("skb->head[99999999999] == 1", 10, "larger than 65535"),
    ("skb->mark[0] == 1", 10, "is no array"),
    ("skb->cb[x] == 1", 9, "an index is a number"),
    ("*skb->mark == 1", 1, "is no pointer"),
    ("&skb->pkt_type == 0", 1, "this has no address"),
    ("(struct nothing *)skb->head == 0", 1, "have no 'struct nothing'"),
    ("(struct iphdr)skb->head == 0", 1, "add * to the type"),
    ("(unsigned sk_buff)skb->head == 0", 2, "is no type"),
    ("(struct iphdr *skb->head == 0", 16, "a type and ) are missing here"),
    ("skb->mark << skb->len == 1", 11, "bits are shifted by a number from 0 to 63"),
    ("skb->mark << 64 == 1", 11, "bits are shifted by a number from 0 to 63"),
    ("skb->dev * 2 == 1", 10, "of a pointer: cast it"),
    ("-skb->dev == 1", 1, "wants a number"),
    ("(skb->mark == 1) + 1 == 2", 12, "gives true or false, not a number"),
    ("!skb->len == 1", 1, "gives true or false, not a number"),
    ("skb->mark + !skb->len == 1", 13, "gives true or false, not a number"),
    ("skb->mark == 0x10000000000000000", 14, "more than 64 bits"),
    ("(" * (DEPTH_MAX + 1) + "skb->mark" + ")" * (DEPTH_MAX + 1), DEPTH_MAX + 1, "levels within"),
]  # fmt: skip


@pytest.mark.parametrize(("text", "column", "words"), ERRORS)
def test_an_error_points_at_its_place(text: str, column: int, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_filter(text, types())
    assert words in str(caught.value)
    assert (caught.value.column, caught.value.text) == (column, text)
    assert str(caught.value).startswith(f"`filter_skb_expr`, column {column}")
    assert "\n" not in str(caught.value)


def test_a_structure_that_headers_only_name() -> None:
    btf = types()
    btf.name = BTF_NAME
    with pytest.raises(ExpressionError, match=r"headers describe: a file with BTF .*`kernel_btf`"):
        compile_filter("skb->private->x == 1", btf)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (
            "skb->mark == 1",
            "'skb' is no name that the kernel's types have: fields begin with xdp->",
        ),
        ("frame_sz == 1", "did you mean xdp->frame_sz?"),
        ("xdp->mark == 1", "struct xdp_buff has no member 'mark'"),
    ],
)
def test_frames_at_xdp_have_fields_of_their_own(text: str, words: str) -> None:
    with pytest.raises(ExpressionError) as caught:
        compile_filter(text, types(), XDP)
    assert words in str(caught.value)
    assert str(caught.value).startswith("`filter_xdp_expr`, column ")
    with pytest.raises(ExpressionError, match="`output_xdp_metadata`, column "):
        compile_values([text.partition(" ")[0]], types(), 64, XDP)


def test_only_what_needs_no_types_is_checked_without_them() -> None:
    check("filter_skb_expr", ["skb->nothing == 1"])
    with pytest.raises(
        ExpressionError, match="`output_skb_metadata`, column 12: the expression ends too early"
    ):
        check("output_skb_metadata", ["skb->mark", "skb->mark +"])


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("skb->mark == 1", "a value is shown, not a condition"),
        ("skb", ""),
        ("skb->dev->words", "an array has elements: name one"),
        ("skb->sk->__sk_common", "it has members: name one"),
        ("!skb->mark", "gives true or false"),
        ("skb->mar", "did you mean mark?"),
    ],
)
def test_what_is_shown_is_a_value(text: str, words: str) -> None:
    if not words:
        compile_values([text], types(), 1024)
        return
    with pytest.raises(ExpressionError, match="`output_skb_metadata`, column"):
        compile_values([text], types(), 1024)
    with pytest.raises(ExpressionError, match=words.replace("?", r"\?")):
        compile_values([text], types(), 1024)


def test_values_have_only_so_much_room() -> None:
    with pytest.raises(ExpressionError, match="the values take 88 bytes of a record, where 80"):
        compile_values(["skb->mark"] * 9, types(), 80)


def test_values_that_wait_for_too_many_others() -> None:
    text = "(skb->mark - " * 20 + "skb->mark" + ")" * 20
    with pytest.raises(ExpressionError, match="write it flatter"):
        compile_filter(f"{text} == 1", types())
    chain = " + ".join(["skb->mark"] * 2000)
    with pytest.raises(ExpressionError, match="write it flatter"):
        compile_filter(f"{chain} == 1", types())
