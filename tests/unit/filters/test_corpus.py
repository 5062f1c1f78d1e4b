# SPDX-License-Identifier: Apache-2.0
"""Every expression times every packet: eBPF, libpcap, a cBPF interpreter and the kernel agree."""

from __future__ import annotations

import re
from collections.abc import Iterable

from pwru_filters import CompiledFilter, compile_cbpf, compile_filter
from pwru_filters.front.libpcap import compile_whole

from . import cbpf_interp, ebpf_interp
from .ebpf_interp import Packet
from .oracles import KernelFilter, libpcap_program
from .packets import truncations
from .steer import steered

LEAST_EXPRESSIONS = 600
# A packet more or less changes nothing, but a generator that stops producing must be noticed.
LEAST_FRAMES = 200
LEAST_MATCHED = 0.94
STEERED = 80
TAGS = (b"\x81\x00", b"\x88\xa8")


def _ebpf(compiled: CompiledFilter, frame: bytes) -> bool:
    return ebpf_interp.run(compiled, Packet(frame, len(frame)))[0]


def _compare(compiled: CompiledFilter, packets: Iterable[bytes]) -> int:
    oracle = libpcap_program(compiled.expression)
    matched = 0
    for frame in packets:
        expected = oracle.filter(frame) != 0
        assert (cbpf_interp.run(compiled.cbpf, frame) != 0) == expected, frame.hex()
        assert _ebpf(compiled, frame) == expected, (compiled.expression, frame.hex())
        assert compiled.needs_tag or not (expected and frame[12:14] in TAGS), frame.hex()
        matched += expected
    return matched


def test_frames(compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]) -> None:
    """Every second complete frame, in turn, and frames made for the expression."""
    assert len(compiled_corpus) >= LEAST_EXPRESSIONS
    assert len(all_frames) >= LEAST_FRAMES
    matched = 0
    for number, compiled in enumerate(compiled_corpus):
        made = list(steered(compiled.cbpf, all_frames, STEERED, compiled.expression))
        matched += bool(_compare(compiled, [*made, *all_frames[number % 2 :: 2]]))
    assert matched >= LEAST_MATCHED * len(compiled_corpus)


def test_frames_cut_at_every_length(
    compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]
) -> None:
    """Every frame and every length comes up; each expression gets every 97th of all pieces."""
    pieces = [piece for frame in all_frames for piece in truncations(frame)]
    for number, compiled in enumerate(compiled_corpus):
        _compare(compiled, pieces[number % 97 :: 97])


def test_common_filters_on_all_pieces(all_frames: tuple[bytes, ...]) -> None:
    pieces = [piece for frame in all_frames[::8] for piece in truncations(frame)]
    for expression in (
        "dst host 1.1.1.1 and tcp",
        "udp and dst port 53",
        "port 80",
        "vlan 7 and ip",
    ):
        assert _compare(compile_filter(expression), pieces)


def test_kernel_agrees(
    compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]
) -> None:
    """The kernel says what cbpf_interp says of it; that differs from libpcap only as told there."""
    different = set()
    with KernelFilter() as kernel:
        for number, compiled in enumerate(compiled_corpus):
            program = compile_whole(compiled.expression)
            kernel.attach(program)
            made = steered(compiled.cbpf, all_frames, STEERED // 4, compiled.expression)
            for frame in [*made, *all_frames[number % 6 :: 6]]:
                verdict = kernel.matches(frame)
                expected = cbpf_interp.run(program, frame, kernel=True) != 0
                assert verdict == expected, (compiled.expression, frame.hex())
                if verdict != _ebpf(compiled, frame):
                    different.add(compiled.expression)
    wrapping = {e for e in different if re.search(r"\[ip\[.*\]-\d+", e)}
    assert all("<<" in e or ">>" in e for e in different - wrapping)


def test_without_libpcaps_optimiser(
    compiled_corpus: tuple[CompiledFilter, ...], all_frames: tuple[bytes, ...]
) -> None:
    """Very long expressions take this way; here all do, with all redundancy left to us."""
    for compiled in compiled_corpus[::2]:
        program = compile_whole(compiled.expression, optimize=False)
        plain = compile_cbpf(compiled.expression, program)
        ebpf_interp.check_structure(plain.ebpf)
        made = steered(program, all_frames, STEERED // 2, compiled.expression)
        for n, frame in enumerate(made):
            # Not compared with the optimised program: libpcap's optimiser removes loads that
            # do not matter, such as those of `& 0`, and with them their effect on cut frames.
            piece = frame[: len(frame) - n % 3 * 20]
            expected = cbpf_interp.run(program, piece) != 0
            assert _ebpf(plain, piece) == expected, (compiled.expression, piece.hex())


def test_structure(compiled_corpus: tuple[CompiledFilter, ...]) -> None:
    for compiled in compiled_corpus:
        ebpf_interp.check_structure(compiled.ebpf)
        assert compiled.frame_bytes == 0 or 18 <= compiled.frame_bytes <= 256
        assert len(compiled.code) == 8 * len(compiled.ebpf)
