# SPDX-License-Identifier: Apache-2.0
"""Conditions on the keys of an event's JSON."""

from __future__ import annotations

from typing import Any

import pytest

from pwru_py.errors import ExpressionError
from pwru_py.expressions.records import condition
from pwru_py.output.schema import schema

KEYS = schema()["$defs"]["event"]["properties"]
EVENT: dict[str, Any] = {
    "skb": "0xffff888000000040",
    "comm": "curl",
    "cpu": 0,
    "pid": 222,
    "len": 60,
    "mark": 0x4010,
    "parent": None,
    "drop": True,
    "drop_reason": None,
    "module": "",
    "tuple": {"saddr": "10.1.2.3", "daddr": "fd00::1", "sport": 0, "dport": 443, "proto": 6,
              "flags": "SYN,ACK"},
    "stack": [{"symbol": "ip_rcv", "offset": 3, "module": "", "addr": "0xffffffff81000003"}],
}  # fmt: skip

TRUE = """
comm == "curl"
comm != 'wget' and len > 59 && len <= 60
comm = "wget" or pid = 222
not comm == "wget"
!(comm == "wget")
drop
drop == true
not parent
parent == null
parent != null or parent == NULL
drop_reason == null
not module
module == ""
cpu == 0
not cpu
tuple.dport == 443
tuple->dport == 443
tuple.saddr == 10.0.0.0/8 and tuple.saddr != 10.1.2.4
tuple.daddr == fd00::/16
10.1.2.3 == tuple.saddr
tuple.daddr != 10.0.0.0/8
tuple.flags == "SYN,ACK"
(mark & 0x10) == 0x10
mark & 0x4000
mark >> 4 == 0x401
len - 100 == -40
~cpu == -1
2 * len - 1 == 119
skb == 0xffff888000000040
skb > 0xffff888000000000
stack[0].symbol == "ip_rcv"
(len > 1) == true
tuple.icmp.type == 8 or len == 60
"""
FALSE = """
comm == "Curl"
len > 60
tuple.saddr == 10.2.0.0/16
tuple.saddr == fd00::/16
parent == 1
parent != 1
not parent == 1
parent < 5
drop_reason == "NO_SOCKET"
not drop_reason == "NO_SOCKET"
module
cpu
tuple.icmp.type == 8
not tuple.icmp.type == 8
stack[1].symbol == "ip_rcv"
netns == 5
netns
comm > 5
tuple.icmp.type == 8 and len == 60
comm == 5
"""


def lines(text: str) -> list[str]:
    return text.strip().splitlines()


@pytest.mark.parametrize("text", lines(TRUE))
def test_it_holds(text: str) -> None:
    assert condition(text, KEYS)(EVENT)


@pytest.mark.parametrize("text", lines(FALSE))
def test_it_does_not_hold(text: str) -> None:
    assert not condition(text, KEYS)(EVENT)


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("com == 1", "column 1 at 'com == 1': an event has no key 'com': did you mean comm?"),
        ("tuple.dprt == 1", "column 7 at 'dprt == 1': it has no key 'dprt': did you mean dport?"),
        ("stack[0].sym", "column 10 at 'sym': it has no key 'sym': did you mean symbol?"),
        (
            "zzz",
            "column 1 at 'zzz': an event has no key 'zzz': it has addr, bpf_map, ",
        ),
        ("len == 02:00:00:00:00:01", "column 8 at '02:00:00:00:00:01': an event has no link"),
        ("len > 10.0.0.1", "column 7 at '10.0.0.1': an address is only compared, with == and !="),
        ("tuple.saddr == 10.0.0.1/8", "the address has bits behind its prefix"),
        ("(int)len", "column 1 at '(int)len': keys of an event have no C types"),
        ("*len", "column 1 at '*len': keys of an event have no C types"),
        ("len ==", "the expression ends too early"),
        ("len(1)", "no function can be called"),
    ],
)
def test_what_is_refused(text: str, error: str) -> None:
    with pytest.raises(ExpressionError) as raised:
        condition(text, KEYS)
    assert error in str(raised.value)
