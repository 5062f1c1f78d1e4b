# SPDX-License-Identifier: Apache-2.0
"""A register to what a function has returned; and the comparison of --filter-return."""

from __future__ import annotations

import pytest

from pwru_py.errors import UsageError
from pwru_py.facts.btf import Kind
from pwru_py.facts.return_filter import ReturnFilter
from pwru_py.facts.returned import NOTHING, ReturnTypes, Value, verdict

from .btf_builder import Builder

ALL = (1 << 64) - 1


def minus(number: int, bits: int = 64) -> int:
    return -number & (1 << bits) - 1


def kernel() -> ReturnTypes:
    b = Builder()
    number, long = b.integer("int", 4, 1), b.integer("long", 8, 1)
    unsigned, byte = b.integer("unsigned int", 4), b.integer("u8", 1)
    boolean = b.integer("_Bool", 1, 4)
    skb = b.ptr(b.struct("sk_buff"))
    state = b.ptr(b.alias(Kind.CONST, b.struct("nf_hook_state")))
    tx = b.alias(Kind.TYPEDEF, b.enum("netdev_tx", {"NETDEV_TX_OK": 0, "NETDEV_TX_BUSY": 16}), "tx")
    reason = b.enum("skb_drop_reason", {"SKB_NOT_DROPPED_YET": 0, "SKB_DROP_REASON_NO_SOCKET": 3})
    below = b.enum("below", {"BELOW": -2, "ABOVE": 1}, signed=True)
    functions = {
        "nothing": 0, "int_one": number, "long_one": long, "unsigned_one": unsigned, "byte": byte,
        "bool_one": boolean, "pointer": skb, "xmit": tx, "reason": reason, "below": below,
        "struct_one": b.struct("pair", 16),
    }  # fmt: skip
    for name, returns in functions.items():
        b.func(name, skb, returns=returns)
    b.func("hook", skb, state, returns=unsigned)
    b.func("nf_hook_slow", skb, state, returns=number)
    b.func("twice", skb, returns=number)
    b.func("twice", skb, returns=skb)
    b.func("same", skb, returns=number)
    b.func("same", number, skb, returns=number)
    btf = b.btf()
    names = {0: "NOT_DROPPED_YET", 3: "NO_SOCKET"}
    return ReturnTypes(lambda module: None if module else btf, names.__getitem__)


@pytest.mark.parametrize(
    ("func", "register", "number", "text"),
    [
        ("nothing", 7, None, ""),
        ("int_one", 0, 0, "0"),
        ("int_one", minus(1, 32), -1, "-EPERM"),
        ("int_one", 0xFFFF << 32 | 5, 5, "5"),  # the upper half is anything
        ("int_one", minus(524, 32), -524, "-ENOTSUPP"),
        ("int_one", minus(95), -95, "-EOPNOTSUPP"),
        ("int_one", minus(4000, 32), -4000, "-4000"),
        ("int_one", 1 << 31, -(1 << 31), str(-(1 << 31))),
        ("long_one", minus(22), -22, "-EINVAL"),
        ("long_one", 1 << 40, 1 << 40, str(1 << 40)),
        ("unsigned_one", minus(1, 32), 0xFFFFFFFF, "4294967295"),
        ("byte", 0x1FF, 255, "255"),
        ("bool_one", 1, 1, "true"),
        ("bool_one", 0xFF00, 0, "false"),
        ("pointer", 0, 0, "NULL"),
        ("pointer", minus(2), -2, "ERR_PTR(-ENOENT)"),
        ("pointer", minus(4095), -4095, "ERR_PTR(-4095)"),
        ("pointer", minus(4096), minus(4096), f"0x{minus(4096):x}"),
        ("pointer", 0xFFFF888000001000, 0xFFFF888000001000, "0xffff888000001000"),
        ("xmit", 16, 16, "NETDEV_TX_BUSY"),
        ("xmit", 5, 5, "5"),
        ("reason", 3, 3, "NO_SOCKET"),
        ("below", minus(2, 32), -2, "BELOW"),
        ("struct_one", 4, None, "a structure"),
        ("hook", 0, 0, "NF_DROP"),
        ("hook", 1 << 16 | 2, 1 << 16 | 2, "NF_STOLEN (-EPERM)"),
        ("nf_hook_slow", minus(1, 32), -1, "-EPERM"),
        ("twice", 5, 5, "0x5"),  # BTF has two, that differ
        ("same", 5, 5, "5"),
        ("unheard_of", 16, 16, "0x10"),
    ],
)
def test_values(func: str, register: int, number: int | None, text: str) -> None:
    assert kernel().read(func, "", register) == Value(number, text)


def test_a_module_without_btf() -> None:
    assert kernel().read("int_one", "veth", 2) == Value(2, "0x2")
    assert NOTHING.text == ""


@pytest.mark.parametrize(
    ("register", "text"),
    [
        (0, "NF_DROP"), (1, "NF_ACCEPT"), (2, "NF_STOLEN"), (4, "NF_REPEAT"),
        (3 | 7 << 16, "NF_QUEUE 7"), (113 << 16, "NF_DROP (-EHOSTUNREACH)"), (200, "200"),
    ],
)  # fmt: skip
def test_verdicts(register: int, text: str) -> None:
    assert verdict(register).text == text


@pytest.mark.parametrize(
    ("expression", "matching", "others"),
    [
        ("< 0", [(-1, "-EPERM"), (-2, "ERR_PTR(-ENOENT)")], [(0, "0"), (None, ""), (5, "5")]),
        ("== -EINVAL", [(-22, "-EINVAL")], [(-1, "-EPERM"), (22, "22")]),
        ("-22", [(-22, "-EINVAL")], [(22, "22")]),
        ("!= 0", [(1, "1"), (-1, "-EPERM")], [(0, "NF_DROP"), (None, "a structure")]),
        (" >=0x10 ", [(16, "16"), (17, "17")], [(15, "15")]),
        ("<= 010", [(10, "10")], [(11, "11")]),
        ("> 1", [(2, "NF_STOLEN")], [(1, "NF_ACCEPT")]),
        ("== NULL", [(0, "NULL")], [(1 << 63, "0x8000000000000000")]),
        ("true", [(1, "true")], [(0, "false")]),
        ("NF_DROP", [(0, "NF_DROP"), (113 << 16, "NF_DROP (-EHOSTUNREACH)")], [(0, "0")]),
        ("!= NF_ACCEPT", [(0, "NF_DROP")], [(1, "NF_ACCEPT"), (7, "7"), (-1, "-EPERM")]),
        ("SKB_DROP_REASON_NO_SOCKET", [(3, "NO_SOCKET")], [(0, "NOT_DROPPED_YET")]),
        ("!= NOT_DROPPED_YET", [(3, "NO_SOCKET")], [(0, "NOT_DROPPED_YET")]),
    ],
)
def test_filter(
    expression: str, matching: list[tuple[int, str]], others: list[tuple[int | None, str]]
) -> None:
    wanted = ReturnFilter.parse(expression)
    assert [value for value in (*matching, *others) if wanted.matches(*value)] == matching


@pytest.mark.parametrize(
    ("expression", "why"),
    [
        ("", "one comparison"),
        ("< 0 or > 5", "one comparison"),
        ("=< 0", "one comparison"),
        ("<", "neither a number"),
        ("< NF_DROP", "compare it with == or !="),
        ("== EINVAL", "write -EINVAL"),
        ("-EHELLO", "neither a number"),
        ("\x1b[0m", "neither a number"),
    ],
)
def test_a_wrong_filter(expression: str, why: str) -> None:
    with pytest.raises(UsageError, match=why) as caught:
        ReturnFilter.parse(expression)
    assert "\x1b" not in str(caught.value)
