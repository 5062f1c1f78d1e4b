# SPDX-License-Identifier: Apache-2.0
"""Random cBPF programs and random expressions mean the same after compilation."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import HealthCheck, given, settings
from pwru_filters import CbpfInsn, FilterSyntaxError, compile_cbpf, compile_filter
from pwru_filters.front.cbpf import (
    ABS_SIZE,
    ALU_CODES,
    ALU_NEG,
    IND_SIZE,
    JMP_CODES,
    JMP_JA,
    LD_IMM,
    LD_LEN,
    LD_MEM,
    LDX_IMM,
    LDX_LEN,
    LDX_MEM,
    LDX_MSH,
    MISC_TAX,
    MISC_TXA,
    RET_A,
    RET_K,
    ST,
    STX,
    AluOp,
)
from pwru_filters.passes.ir import memory_cell

from . import cbpf_interp, ebpf_interp
from .ebpf_interp import Packet
from .oracles import Libpcap, libpcap_program
from .packets import frames
from .steer import steered

FRAMES = frames()
LIBPCAP = Libpcap()
EXAMPLES = settings(
    max_examples=1200,
    derandomize=True,
    database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.filter_too_much],
)

_OFFSETS = st.one_of(
    st.integers(0, 80), st.integers(240, 320), st.sampled_from((0x7FFFFF00, 0x7FFFFFFB))
)
_CONSTANTS = st.one_of(
    st.integers(0, 70),
    st.sampled_from((0x800, 0x86DD, 0xFFFF, 0x10000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF)),
    st.integers(0, 0xFFFFFFFF),
)
_SLOTS = st.sampled_from((0, 1, 15))
_SHIFTS = frozenset((0x04 | AluOp.LSH, 0x04 | AluOp.RSH))
_DIVISIONS = frozenset((0x04 | AluOp.DIV, 0x04 | AluOp.MOD))


def _coded(
    codes: frozenset[int] | set[int], k: st.SearchStrategy[int]
) -> st.SearchStrategy[CbpfInsn]:
    return st.builds(CbpfInsn, st.sampled_from(sorted(codes)), st.just(0), st.just(0), k)


_PLAIN = st.one_of(
    _coded(set(ABS_SIZE), _OFFSETS),
    _coded(set(IND_SIZE), st.one_of(_OFFSETS, _CONSTANTS)),
    _coded({LDX_MSH}, _OFFSETS),
    _coded({LD_IMM, LDX_IMM}, _CONSTANTS),
    _coded({LD_LEN, LDX_LEN, MISC_TAX, MISC_TXA, ALU_NEG}, st.just(0)),
    _coded({LD_MEM, LDX_MEM, ST, STX}, _SLOTS),
    _coded(ALU_CODES - _SHIFTS - _DIVISIONS, _CONSTANTS),
    _coded(_SHIFTS, st.integers(0, 31)),
    _coded(_DIVISIONS, st.integers(1, 0xFFFFFFFF)),
)
_JUMPS = st.builds(
    CbpfInsn,
    st.sampled_from([*sorted(JMP_CODES), *sorted(JMP_CODES), JMP_JA]),
    st.integers(0, 6),
    st.integers(0, 6),
    _CONSTANTS,
)
_RETURNS = st.sampled_from(
    (CbpfInsn(RET_K, 0, 0, 0), CbpfInsn(RET_K, 0, 0, 262144), CbpfInsn(RET_A, 0, 0, 0))
)


@st.composite
def programs(draw: st.DrawFn) -> tuple[CbpfInsn, ...]:
    """Any valid program of up to 28 instructions."""
    body = draw(st.lists(st.one_of(_PLAIN, _PLAIN, _JUMPS, _JUMPS, _RETURNS), max_size=25))
    insns = [*body, *draw(st.lists(_RETURNS, min_size=1, max_size=3))]
    fitted = []
    for index, insn in enumerate(insns):
        room = len(insns) - index - 2
        if insn.code == JMP_JA:
            fitted.append(CbpfInsn(JMP_JA, 0, 0, min(insn.jt, room)))
        elif insn.code in JMP_CODES:
            fitted.append(CbpfInsn(insn.code, min(insn.jt, room), min(insn.jf, room), insn.k))
        else:
            fitted.append(insn)
    return tuple(fitted)


@EXAMPLES
@given(programs(), st.integers(0, 1 << 30))
def test_programs(program: tuple[CbpfInsn, ...], seed: int) -> None:
    compiled = compile_cbpf("", program)
    ebpf_interp.check_structure(compiled.ebpf)
    compiled.listing()
    # libpcap 1.9 leaves M[] unset; newer ones, the kernel and the compiler set it to 0.
    reads_unset_memory = compiled._lowering.entry_cells >> memory_cell(0)
    made = steered(program, FRAMES, 8, str(seed))
    for frame in [*made, FRAMES[seed % len(FRAMES)][: seed % 90], b""]:
        expected = cbpf_interp.run(program, frame, len(frame) + 9)
        if not reads_unset_memory:
            assert LIBPCAP.run(program, frame, len(frame) + 9) == expected
        verdict, machine = ebpf_interp.run(compiled, Packet(frame, len(frame) + 9))
        assert verdict == (expected != 0)
        assert machine.executed <= len(compiled.ebpf)


_NUMBERS = st.one_of(st.integers(0, 70), st.sampled_from((0xFF, 0x800, 0xFFFF, 0xC0A80000)))
_ACCESS = st.builds(
    "{}[{}:{}]".format,
    st.sampled_from(("ether", "ip", "ip6", "tcp", "udp", "icmp", "arp")),
    st.one_of(st.integers(0, 60), st.sampled_from(("ip[0]&0xf", "ip[9]", "ip[2:2]-20", 250, 400))),
    st.sampled_from((1, 2, 4)),
)
_OPERATORS = st.sampled_from(("+", "-", "*", "&", "|", "^", "<<", ">>"))
_SUMS = st.recursive(
    st.one_of(_ACCESS, _NUMBERS.map(str), st.just("len")),
    lambda inner: st.builds(
        "({} {} {})".format,
        inner,
        st.sampled_from(("+", "-", "*", "&", "|", "^", "<<", ">>")),
        inner,
    ),
    max_leaves=4,
)
_PRIMITIVES = st.one_of(
    st.builds("{} {} {}".format, _SUMS, st.sampled_from(("=", "!=", ">", ">=", "<")), _SUMS),
    st.sampled_from(("ip", "ip6", "tcp", "udp", "icmp", "icmp6", "arp", "vlan", "vlan 7", "sctp")),
    st.builds("{}port {}".format, st.sampled_from(("", "src ", "tcp dst ")), st.integers(0, 100)),
    st.builds(
        "{}host {}".format, st.sampled_from(("", "src ")), st.sampled_from(("1.1.1.1", "::1"))
    ),
    st.builds("net 10.{}.0.0/16".format, st.integers(0, 255)),
    st.builds("portrange {}-80".format, st.integers(0, 80)),
)
_EXPRESSIONS = st.recursive(
    _PRIMITIVES,
    lambda inner: st.one_of(
        st.builds("({} {} {})".format, inner, st.sampled_from(("and", "or")), inner),
        st.builds("not {}".format, inner),
    ),
    max_leaves=6,
)


@EXAMPLES
@given(_EXPRESSIONS)
def test_expressions(expression: str) -> None:
    try:
        compiled = compile_filter(expression)
    except FilterSyntaxError:
        return
    ebpf_interp.check_structure(compiled.ebpf)
    oracle = libpcap_program(expression)
    made = list(steered(compiled.cbpf, FRAMES, 10, expression))
    for frame in [*made, *(piece[: len(piece) // 2] for piece in made[:3])]:
        expected = oracle.filter(frame) != 0
        assert ebpf_interp.run(compiled, Packet(frame, len(frame)))[0] == expected
