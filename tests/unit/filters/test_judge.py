# SPDX-License-Identifier: Apache-2.0
"""A filter judged in user space agrees with libpcap wherever the frame tells."""

from __future__ import annotations

import random

from pwru_filters import CompiledFilter, Judge

from .oracles import libpcap_program

EVERY = 7  # expression of the corpus, with each third frame
LEAST_JUDGED = 0.8


def test_libpcap_agrees(
    compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]
) -> None:
    """Link addresses and lengths decide now and then: those are not judged, and never wrongly."""
    judged = asked = 0
    for compiled in compiled_corpus[::EVERY]:
        judge, oracle = Judge(compiled.expression), libpcap_program(compiled.expression)
        for frame in all_frames[::3]:
            asked += 1
            expected, verdict = oracle.filter(frame) != 0, judge.verdict(frame, whole=True)
            judged += verdict is not None
            assert verdict in (None, expected), (compiled.expression, frame.hex())
    assert judged >= LEAST_JUDGED * asked


def test_what_is_not_there_decides_nothing() -> None:
    frame = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x06" + bytes(24)
    ports = Judge("tcp port 80")
    assert ports.verdict(frame, whole=True) is False
    assert ports.verdict(frame[:26], whole=False) is None, "the ports may be behind the cut"
    assert ports.verdict(frame[:26], whole=True) is False
    assert Judge("tcp").verdict(frame[:26], whole=False) is True
    assert Judge("udp").verdict(frame[:26], whole=False) is False
    assert Judge("ether src 02:00:00:00:00:01").verdict(frame, whole=True) is None
    assert Judge("greater 60").verdict(frame, whole=True) is None


def test_bits_that_are_not_known_never_decide(
    compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]
) -> None:
    """Whatever they are, libpcap says the same; and it often is said."""
    chance = random.Random(11)
    judged = asked = 0
    for compiled in compiled_corpus[::EVERY]:
        judge, oracle = Judge(compiled.expression), libpcap_program(compiled.expression)
        for frame in all_frames[::9]:
            known = bytes(chance.choice((0xFF, 0xFF, 0xFF, 0x1F, 0)) for _ in frame)
            verdict = judge.verdict(frame, whole=True, known=known)
            asked += 1
            if verdict is None:
                continue
            judged += 1
            for _ in range(3):
                other = bytes(
                    byte & bits | chance.randrange(256) & ~bits
                    for byte, bits in zip(frame, known, strict=True)
                )
                assert (oracle.filter(other) != 0) == verdict, (compiled.expression, frame.hex())
    assert judged > asked / 10


def test_a_bit_may_be_enough() -> None:
    """A test for an offset of a fragment looks at 13 bits of 16, and both tests share a load."""
    frame = bytes(12) + b"\x08\x00\x45" + bytes(8) + b"\x11" + bytes(24)
    known = bytes(12) + b"\xff\xff\xff" + bytes(5) + b"\x1f\xff" + b"\0\xff" + bytes(24)
    offset = Judge("ip[6:2] & 0x1fff = 0")
    assert offset.verdict(frame, whole=True, known=known) is True
    both = Judge("ip[6:2] & 0x1fff = 0 and ip[6:2] & 0x2000 = 0")
    assert both.verdict(frame, whole=True, known=known) is None
