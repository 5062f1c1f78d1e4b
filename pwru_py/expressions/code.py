# SPDX-License-Identifier: Apache-2.0
"""Conditions and values to eBPF for the places that ``bpf/expression.bpf.h`` keeps for it.

Every look at memory is a call of ``bpf_probe_read_kernel``. Where it fails, what depends on it is
unknown: no comparison with it is true, nor is the opposite one; a value is left out. So negations
are carried down to the comparisons, where the operator is turned.

r6: the sk_buff, or the xdp_buff. r7: of values the section of the record. r8: the value that is
calculated. On the stack, from r10 down: what is read, then values that wait for others.
"""

from __future__ import annotations

from collections.abc import Sequence

from . import tree
from .insns import R0, R1, R2, R3, R6, R7, R8, R10, Label, Program, fits
from .shown import Shown

PROBE_READ_KERNEL, PROBE_READ_KERNEL_STR = 113, 115
STACK_MAX = 160
"""Bytes; ``bpf/expression.bpf.h`` says why."""
_OPPOSITE = {"==": "!=", "!=": "==", "<": ">=", ">=": "<", ">": "<=", "<=": ">"}
_CHUNKS = (8, 4, 2, 1)


class TooDeep(Exception):
    """The stack is too small for as many values that wait."""


class _Emitter:
    def __init__(self, buffer: int) -> None:
        self.out = Program()
        self._buffer = buffer

    def _read(self, place: tree.Place, count: int, fail: Label, waiting: int, at: int = 0) -> None:
        """``count`` bytes of a place to the stack, ``at`` bytes from the buffer's start."""
        self.value(place.base, fail, waiting)
        self._point(place)
        self.out.calculate("=", R1, R10)
        self.out.calculate_number("+", R1, at - self._buffer)
        self.out.set(R2, count)
        self.out.call(PROBE_READ_KERNEL)
        self.out.jump_number("!=", R0, 0, fail)

    def _point(self, place: tree.Place) -> None:
        """r3 = the place, whose base is in r8."""
        self.out.calculate("=", R3, R8)
        if place.offset:
            self.out.calculate_number("+", R3, place.offset)

    def value(self, value: tree.Value, fail: Label, waiting: int = 0) -> None:
        """r8 = value. ``waiting``: how many values are on the stack already."""
        out = self.out
        if isinstance(value, tree.Given):
            out.calculate("=", R8, R6)
        elif isinstance(value, tree.Constant):
            out.set(R8, value.value)
        elif isinstance(value, tree.Load):
            self._load(value, fail, waiting)
        elif isinstance(value, tree.Address):
            self.value(value.place.base, fail, waiting)
            if value.place.offset:
                out.calculate_number("+", R8, value.place.offset)
        elif isinstance(value, tree.Fit):
            self.value(value.of, fail, waiting)
            self._fit(value.bits, value.signed, swap=value.swap)
        else:
            self._calculate(value, fail, waiting)

    def _load(self, load: tree.Load, fail: Label, waiting: int) -> None:
        size = next(size for size in reversed(_CHUNKS) if size >= load.count)
        if size != load.count:
            self.out.store_number(8, R10, -self._buffer, 0)
        self._read(load.place, load.count, fail, waiting)
        self.out.load(size, R8, R10, -self._buffer)
        if load.swap and load.bits > 8:
            self.out.swap(R8, load.bits)
        elif load.signed or load.shift or load.bits != 8 * size:
            self._extract(load.shift, load.bits, load.signed)

    def _extract(self, shift: int, bits: int, signed: bool) -> None:
        if shift + bits < 64:
            self.out.calculate_number("<<", R8, 64 - shift - bits)
        if bits < 64:
            self.out.calculate_number(">>>" if signed else ">>", R8, 64 - bits)

    def _fit(self, bits: int, signed: bool, *, swap: bool) -> None:
        if swap and bits > 8:
            self.out.swap(R8, bits)
        self._extract(0, bits, signed)

    def _wait(self, waiting: int) -> int:
        """Where on the stack a value waits."""
        at = self._buffer + 8 * (waiting + 1)
        if at > STACK_MAX:
            raise TooDeep
        return -at

    def _calculate(self, value: tree.Calculation, fail: Label, waiting: int) -> None:
        operator = ">>>" if value.operator == ">>" and value.signed else value.operator
        self.value(value.left, fail, waiting)
        if isinstance(value.right, tree.Constant) and fits(value.right.value):
            self.out.calculate_number(operator, R8, value.right.value)
            return
        self._both(value.right, fail, waiting)
        self.out.calculate(operator, R1, R8)
        self.out.calculate("=", R8, R1)

    def _both(self, right: tree.Value, fail: Label, waiting: int) -> None:
        """r1 = what was in r8, r8 = right."""
        at = self._wait(waiting)
        self.out.store(8, R10, at, R8)
        self.value(right, fail, waiting + 1)
        self.out.load(8, R1, R10, at)

    def condition(self, of: tree.Condition, yes: Label, no: Label, *, turned: bool = False) -> None:
        """Goes to ``yes`` if it is true, else to ``no``. ``turned``: of the opposite."""
        if isinstance(of, tree.Negation):
            self.condition(of.of, yes, no, turned=not turned)
            return
        if isinstance(of, (tree.Both, tree.Either)):
            further = Label()
            if isinstance(of, tree.Both) != turned:
                self.condition(of.left, further, no, turned=turned)
            else:
                self.condition(of.left, yes, further, turned=turned)
            self.out.here(further)
            self.condition(of.right, yes, no, turned=turned)
        elif isinstance(of, tree.Compare):
            self._compare(of, yes, no, turned=turned)
        else:
            self._same(of, yes, no, turned=turned)

    def _compare(self, of: tree.Compare, yes: Label, no: Label, *, turned: bool) -> None:
        operator = _OPPOSITE[of.operator] if turned else of.operator
        if of.signed and operator not in ("==", "!="):
            operator = f"s{operator}"
        self.value(of.left, no)
        if isinstance(of.right, tree.Constant) and fits(of.right.value):
            self.out.jump_number(operator, R8, of.right.value, yes)
        else:
            self._both(of.right, no, 0)
            self.out.jump(operator, R1, R8, yes)
        self.out.go(no)

    def _same(self, of: tree.Same, yes: Label, no: Label, *, turned: bool) -> None:
        equal, other = (no, yes) if of.equal == turned else (yes, no)
        if of.text:
            self._read_text(of.place, len(of.data), no)
        else:
            self._read(of.place, len(of.data), no, 0)
        at = 0
        while at < len(of.data):
            size = next(size for size in _CHUNKS if at + size <= len(of.data))
            self._chunk(of, at, size, other)
            at += size
        self.out.go(equal)

    def _chunk(self, of: tree.Same, at: int, size: int, other: Label) -> None:
        mask = int.from_bytes(of.mask[at : at + size], "little")
        wanted = int.from_bytes(of.data[at : at + size], "little")
        if not mask:
            return
        self.out.load(size, R8, R10, at - self._buffer)
        if mask != (1 << 8 * size) - 1:
            self.out.set(R1, mask)
            self.out.calculate("&", R8, R1)
        self.out.set(R1, wanted)
        self.out.jump("!=", R8, R1, other)

    def _read_text(self, place: tree.Place, count: int, fail: Label) -> None:
        """A string, as far as it goes; negative: it cannot be read."""
        self.value(place.base, fail)
        self._point(place)
        self.out.calculate("=", R1, R10)
        self.out.calculate_number("+", R1, -self._buffer)
        # One more than is compared: the last byte read is always made a zero.
        self.out.set(R2, count + 1)
        self.out.call(PROBE_READ_KERNEL_STR)
        self.out.jump_number("s<", R0, 0, fail)

    def shown(self, shown: Shown, flag: int, at: int) -> None:
        """A value to ``at`` in the section; the byte at ``flag`` tells whether it could be read."""
        out, fail = self.out, Label()
        if isinstance(shown.of, tree.Place):
            self.value(shown.of.base, fail)
            self._point(shown.of)
            out.calculate("=", R1, R7)
            out.calculate_number("+", R1, at)
            out.set(R2, shown.count)
            out.call(PROBE_READ_KERNEL_STR if shown.ends else PROBE_READ_KERNEL)
            out.jump_number("s<", R0, 0, fail)
        else:
            self.value(shown.of, fail)
            out.store(8, R7, at, R8)
        out.store_number(1, R7, flag, 1)
        out.here(fail)


def _bytes_compared(of: tree.Condition) -> int:
    if isinstance(of, tree.Negation):
        return _bytes_compared(of.of)
    if isinstance(of, (tree.Both, tree.Either)):
        return max(_bytes_compared(of.left), _bytes_compared(of.right))
    return len(of.data) + of.text if isinstance(of, tree.Same) else 0


def condition_code(of: tree.Condition) -> bytes:
    """r1: what it is about. Leaves 1 in r0 where it is true, else 0. Raises TooDeep."""
    emitter = _Emitter(max(8, -(-_bytes_compared(of) // 8) * 8))
    out, yes, no, end = emitter.out, Label(), Label(), Label()
    out.calculate("=", R6, R1)
    emitter.condition(of, yes, no)
    out.here(no)
    out.set(R0, 0)
    out.go(end)
    out.here(yes)
    out.set(R0, 1)
    out.here(end)
    return out.code()


def values_code(values: Sequence[Shown]) -> bytes:
    """r1: what they are of; r2: the section, flags first, see ``compiled``. Raises TooDeep."""
    emitter = _Emitter(8)
    out = emitter.out
    out.calculate("=", R6, R1)
    out.calculate("=", R7, R2)
    flags = -(-len(values) // 8) * 8
    out.set(R1, 0)
    for at in range(0, flags, 8):
        out.store(8, R7, at, R1)
    at = flags
    for flag, shown in enumerate(values):
        emitter.shown(shown, flag, at)
        at += shown.room
    out.set(R0, 0)
    return out.code()
