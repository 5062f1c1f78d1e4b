# SPDX-License-Identifier: Apache-2.0
"""Where ipt_do_table() has decided, told by instructions as gcc writes them."""

from __future__ import annotations

import struct

import pytest

from pwru_py.arch.x86_64_sites import Site, find_site, refers_to

ADDR = 0xFFFFFFFFC0A00000
ENABLE = 0xFFFFFFFFC0B00000
BODY = {
    "rbx": bytes.fromhex("0fb7435a 0fb7535a 4801d3 0fb7505a 0fb7435a"),  # another one by rax
    "r13": bytes.fromhex("410fb7455a 410fb7555a 450fb7455a 4901d5"),
}
BODY6 = bytes.fromhex("410fb7958e000000 410fb7858e000000 410fb7958e000000 4901d5")
ARGUMENT = bytes.fromhex("488d3d00000000")  # lea 0(%rip), %rdi
HOT = bytes.fromhex("80bc24c600000000 0f85aa000000")  # cmpb $0, 198(%rsp); jne
CANARY = bytes.fromhex("488b8424c8000000 652b042528000000 0f857a030000 8b442420")
LEAVE = bytes.fromhex("4881c4d0000000 5b5d415c415d415e415f c3")  # add $208, %rsp; pops


def call(code: bytes, target: int = ENABLE) -> bytes:
    """``code``, and a call behind it."""
    behind = ADDR + len(code) + 5
    return code + b"\xe8" + struct.pack("<i", target - behind)


def whole(body: bytes = BODY["rbx"], argument: bytes = ARGUMENT, end: bytes = HOT) -> bytes:
    return call(body + argument) + end + CANARY + LEAVE


def find(code: bytes, function: str = "ipt_do_table") -> Site | None:
    return find_site(function, ADDR, code, ENABLE)


@pytest.mark.parametrize(("register", "number"), [("rbx", 3), ("r13", 13)])
def test_a_site(register: str, number: int) -> None:
    body = BODY[register]
    assert find(whole(body)) == Site((len(body),), 256, 198, number)
    assert find(whole(body, b"\x90")) == Site((len(body) + 1,), 256, 198, number), "the call itself"


BIT = 0x83 * 8 + 4


@pytest.mark.parametrize(
    ("tests", "each"),
    [
        ("41f68683000000 10", 0),  # testb $16, 131(%r14)
        ("f68583000000 10", 0),  # by rbp
        ("41f6842483000000 10", 0),  # by r12
        ("9090f68583000000 10", 2),
        ("f68383000000 10 f68583000000 10", 7),  # rbx has the rule
        ("f68583000000 20", None),  # another bit
        ("f68584000000 10", None),
        ("f68583000000 10 f68783000000 10", None),  # which of them?
    ],
)
def test_where_a_rule_matches(tests: str, each: int | None) -> None:
    body = BODY["rbx"]
    site = find_site("ipt_do_table", ADDR, whole(body + bytes.fromhex(tests)), ENABLE, BIT)
    assert site is not None
    assert site.each == (0 if each is None else len(body) + each)
    assert find(whole(body + bytes.fromhex(tests))) == site._replace(each=0), "without BTF"


def test_rules_of_ip6tables_are_longer() -> None:
    assert find(whole(BODY6), "ip6t_do_table") == Site((len(BODY6),), 256, 198, 13)
    assert find(whole(BODY6)) is None
    assert find(whole(), "ip6t_do_table") is None


EB_BODY = bytes.fromhex("8b436c 4801c3 8b4b6c 8b432c 807c246000")  # cmpb $0, 96(%rsp)
EB_LEAVE = bytes.fromhex("4883c470 5b5d415c415d415e415f c3")


def test_ebtables_decides_at_several_places() -> None:
    """At the calls themselves; the byte for a match that drops is before them."""
    function = "ebt_do_table"
    code = call(call(EB_BODY) + EB_LEAVE)
    first, second = len(EB_BODY), len(EB_BODY) + 5 + len(EB_LEAVE)
    assert find(code, function) == Site((first, second), 160, 96, 3)
    assert find(EB_BODY + EB_LEAVE, function) is None, "nothing is called"
    assert find(call(EB_BODY), function) is None, "which frame?"
    twice = bytes.fromhex("807c246100")
    assert find(call(EB_BODY + twice) + EB_LEAVE, function) is None, "which byte?"
    assert (
        find(call(EB_BODY + EB_LEAVE[:-1].replace(b"\x70", b"\x78")) + EB_LEAVE, function) is None
    )
    assert find(call(EB_BODY[3:]) + EB_LEAVE, function) is None, "read once"


ARP_BODY = bytes.fromhex("0fb783a6000000 0fb793a6000000 0fb783a6000000 4801c3")
ARP_HOT = bytes.fromhex("807c245e00 7403 4531f6")  # cmpb $0, 94(%rsp); je; xor %r14d, %r14d
ARP_LEAVE = bytes.fromhex("4883c468 4489f0 5b5d415c415d415e415f c3")  # mov %r14d, %eax between


def test_arptables_has_a_smaller_frame() -> None:
    """So short forms of the same instructions."""
    code = call(ARP_BODY + ARGUMENT) + ARP_HOT + ARP_LEAVE
    assert find(code, "arpt_do_table") == Site((len(ARP_BODY),), 152, 94, 3)
    assert find(code) is None
    assert find(call(ARP_BODY) + ARP_HOT.replace(b"\x5e", b"\x69") + ARP_LEAVE) is None


@pytest.mark.parametrize(
    "code",
    [
        call(whole()),  # it is called twice
        call(BODY["rbx"], ENABLE + 16) + HOT + CANARY + LEAVE,
        whole(end=b""),
        whole(end=bytes.fromhex("80bc24c601000000")),  # not in the frame
        call(BODY["rbx"]) + HOT + CANARY,
        whole(BODY["rbx"] + BODY["r13"]),  # by which of them?
        whole(BODY["rbx"][:4]),
        b"",
    ],
)
def test_what_is_not_certain_is_none(code: bytes) -> None:
    assert find(code) is None


@pytest.mark.parametrize("opcode", [b"\xe8", b"\xe9", b"\x0f\x84"])
def test_a_function_that_another_one_calls_or_goes_to(opcode: bytes) -> None:
    code = b"\x90\x90" + opcode
    code += struct.pack("<i", ENABLE - (ADDR + len(code) + 4)) + b"\xc3"
    assert refers_to(code, ADDR, ENABLE)
    assert not refers_to(code, ADDR + 1, ENABLE)
    assert not refers_to(code[:-2], ADDR, ENABLE)
