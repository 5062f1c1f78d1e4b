# SPDX-License-Identifier: Apache-2.0
"""Two tests that become one: they mean the same on every packet, of every length."""

from __future__ import annotations

from dataclasses import dataclass

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pwru_filters import CbpfInsn, compile_cbpf

from .oracles import Libpcap
from .test_opcodes import MATCH, PACKET, REJECT, RET_A, agree, insn

LOAD = {1: 0x30, 2: 0x28, 4: 0x20}
AND, JEQ, JSET = 0x54, 0x15, 0x45
END = 40


@dataclass(frozen=True)
class Field:
    """One test: the bytes at `off` are those of `packet`, or a bit of them is not set.

    noise: xor to what they are compared with.
    """

    size: int
    off: int
    mask: int | None
    jset: bool
    noise: int = 0

    @property
    def code(self) -> list[CbpfInsn]:
        """Without its jump."""
        masked = [insn(AND, self.mask)] if self.mask is not None and not self.jset else []
        return [insn(LOAD[self.size], self.off), *masked]

    def jump(self, packet: bytes, passed: int, failed: int) -> CbpfInsn:
        value = int.from_bytes(packet[self.off : self.off + self.size], "big")
        if self.jset:
            return insn(JSET, (self.mask or 1) & ~value | self.noise, failed, passed)
        wanted = value if self.mask is None else value & self.mask
        return insn(JEQ, wanted ^ self.noise, passed, failed)


def fields() -> st.SearchStrategy[Field]:
    return st.sampled_from((1, 1, 2, 2, 4)).flatmap(
        lambda size: st.builds(
            Field,
            st.just(size),
            st.integers(12, 19),
            st.none() | st.integers(1, (1 << 8 * size) - 1),
            st.booleans(),
            st.sampled_from((0, 0, 0, 0, 1, 0x10000)),
        )
    )


def both(
    first: Field, second: Field, packet: bytes, otherwise: list[CbpfInsn], apart: int = 0
) -> list[CbpfInsn]:
    """first and second, or else what follows; apart: of what the first does not skip as much."""
    tail = [second.jump(packet, 0, 1), MATCH]
    ahead = len(second.code) + len(tail) + apart
    return [*first.code, first.jump(packet, 0, ahead), *second.code, *tail, *otherwise]


OTHERWISE = (
    [REJECT],
    [insn(LOAD[1], 8), insn(JEQ, PACKET[8], 0, 1), MATCH, REJECT],
    [insn(AND, 1), RET_A],
    [REJECT, MATCH],
)


@settings(max_examples=400)
@given(fields(), fields(), st.sampled_from(OTHERWISE), st.integers(0, 1))
def test_they_mean_the_same(
    libpcap: Libpcap, first: Field, second: Field, otherwise: list[CbpfInsn], apart: int
) -> None:
    program = both(first, second, PACKET, otherwise, apart if len(otherwise) > 1 else 0)
    for length in (END, *range(12, 24)):
        agree(libpcap, program, PACKET[:length])
    for at in range(12, 23):
        packet = bytearray(PACKET[:END])
        packet[at] ^= 0x81
        agree(libpcap, program, bytes(packet))


PROTOCOL, FRAGMENT = Field(1, 23, None, jset=False), Field(2, 20, 0x1FFF, jset=True)


def words_read(program: list[CbpfInsn]) -> bool:
    return ":4]" in compile_cbpf("", tuple(program)).listing()


@pytest.mark.parametrize("order", [(PROTOCOL, FRAGMENT), (FRAGMENT, PROTOCOL)])
def test_the_protocol_and_the_fragment_offset(order: tuple[Field, Field]) -> None:
    assert words_read(both(*order, PACKET, [REJECT]))
    assert PACKET[20] & 0x1F, "or JSET would test for nothing"


@pytest.mark.parametrize("otherwise", OTHERWISE[1:3])
def test_not_where_a_shorter_frame_goes_on(otherwise: list[CbpfInsn]) -> None:
    """The second asks for more of the frame than the first; or A is used."""
    assert not words_read(both(FRAGMENT, PROTOCOL, PACKET, otherwise))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        (Field(1, 23, None, jset=False, noise=0x100), FRAGMENT),
        (Field(1, 23, 0x1FF, jset=False), FRAGMENT),
        (Field(1, 21, None, jset=False), FRAGMENT),
    ],
    ids=["never equal", "a mask too wide", "the same bytes"],
)
def test_not_where_it_is_no_test_of_four_bytes(first: Field, second: Field) -> None:
    assert not words_read(both(first, second, PACKET, [REJECT]))


def test_not_far_apart() -> None:
    program = both(Field(1, 19, None, jset=False), PROTOCOL, PACKET, [REJECT])
    assert not words_read(program)


def test_not_where_others_come_from_elsewhere() -> None:
    """The second test has two ways in."""
    second = [*PROTOCOL.code, PROTOCOL.jump(PACKET, 0, 1), MATCH, REJECT]
    program = [
        insn(LOAD[1], 30), insn(JEQ, 1, 2, 0),
        *FRAGMENT.code, FRAGMENT.jump(PACKET, 0, len(second) - 1), *second,
    ]  # fmt: skip
    assert not words_read(program)
