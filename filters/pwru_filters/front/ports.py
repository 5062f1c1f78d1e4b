# SPDX-License-Identifier: Apache-2.0
"""Lists of ports: libpcap looks for the transport header once, and the port is tested there."""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from .cbpf import JMP, JMP_CODES, JMP_JA, CbpfInsn, CbpfProgram, JmpOp
from .intervals import Interval

_PORTS: Final = re.compile(r"(.*\bport)(?: ([0-9]{1,5})|range ([0-9]{1,5})-([0-9]{1,5}))")
_PORT_MAX: Final = 65535
# libpcap's programs for these two differ in the tests of the port, and nowhere else.
_SAMPLES: Final = (0x5A5A, 0xA5A5)


@dataclass(frozen=True, slots=True)
class PortList:
    """Any of several ports.

    qualifiers: the words before, as in `tcp dst port`. ranges: sorted, none next to another.
    """

    qualifiers: str
    ranges: tuple[Interval, ...]


def port_list(primitive: str) -> PortList | None:
    """What `port` or `portrange` with numbers means; None for all else, and for no such number."""
    found = _PORTS.fullmatch(primitive)
    if found is None:
        return None
    texts = [text for text in found.groups()[1:] if text is not None]
    # What begins with 0 may be octal: libpcap shall say.
    if any((text[0] == "0" and text != "0") or int(text) > _PORT_MAX for text in texts):
        return None
    return PortList(found[1], ((min(map(int, texts)), max(map(int, texts))),))


def port_program(ports: PortList, compiled: Callable[[str], CbpfProgram]) -> CbpfProgram:
    """The program that `compiled` gives for one port, with the whole list in place of each test.

    libpcap's optimiser, too, tests all of a list on the source before it loads the target.
    """
    one, two = (compiled(f"{ports.qualifiers} {port}") for port in _SAMPLES)
    code: list[CbpfInsn] = []
    starts: list[int] = []  # in `code`, of each instruction of `one`
    jumps: dict[int, int] = {}  # from a place in `code` to an instruction of `one`

    def jump(target: int) -> None:
        jumps[len(code)] = target
        code.append(CbpfInsn(JMP_JA, 0, 0, 0))

    for index, (insn, other) in enumerate(zip(one, two, strict=True)):
        starts.append(len(code))
        if insn.code not in JMP_CODES:
            code.append(insn)
            continue
        tests = [[CbpfInsn(insn.code, 0, 1, insn.k)]]
        if insn != other:
            assert insn.code == JMP | JmpOp.JEQ, "libpcap compares a port for equality"
            tests = [_within(low, high) for low, high in ports.ranges]
        for test in tests:
            code += test
            jump(index + 1 + insn.jt)
        jump(index + 1 + insn.jf)
    for place, target in jumps.items():
        code[place] = CbpfInsn(JMP_JA, 0, 0, starts[target] - place - 1)
    return tuple(code)


def _within(low: int, high: int) -> list[CbpfInsn]:
    """Skips the next instruction if A is not in the range."""
    if low == high:
        return [CbpfInsn(JMP | JmpOp.JEQ, 0, 1, low)]
    return [CbpfInsn(JMP | JmpOp.JGE, 0, 2, low), CbpfInsn(JMP | JmpOp.JGT, 1, 0, high)]
