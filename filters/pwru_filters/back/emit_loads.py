# SPDX-License-Identifier: Apache-2.0
"""Pass 12, loads from a copied frame, or by a helper call from the kernel's memory."""

from __future__ import annotations

from typing import Final

from ..frame import BASE_OFFSET, BYTES_OFFSET, NEAR_OFFSET, PROBE_READ_KERNEL
from ..front.cbpf import AluOp
from ..passes.ir import REJECT, LoadAbs, LoadInd, LoadMsh, Site
from ..passes.lowering import Lowering
from . import ebpf
from .assemble import Item, Label, Mark
from .ebpf import R0

# Where rejections go that find something else than 0 in r0; behind all verdicts.
FAIL: Final[Label] = -3
END: Final[Label] = -4
_FIRST_LOCAL: Final[Label] = -5
Code = list[Item | Mark]


class LoadEmitter:
    """Appends the instructions of loads to `code`; counts its own local labels."""

    # Register and offset of 8 bytes to read into; None: the field near, which a copied frame
    # has no other use for.
    _SCRATCH: tuple[int, int] | None = None

    def __init__(self, lowering: Lowering, code: Code) -> None:
        self._lowering = lowering
        self._regs = lowering.registers
        self._code = code
        self._next_local = _FIRST_LOCAL

    def absolute(self, op: LoadAbs, site: Site) -> None:
        """A = bytes at a constant offset; the block's guard has checked the length."""
        self._constant_offset(self._regs.a, op.size, op.off, site)
        self._to_host_order(op.size, site)

    def msh(self, op: LoadMsh, site: Site) -> None:
        """X = 4 * (byte & 15), then the pointer form if X has it."""
        x = self._regs.x
        self._constant_offset(x, 1, op.off, site)
        self._put(ebpf.alu_r_imm(AluOp.AND, x, 15), ebpf.alu_r_imm(AluOp.LSH, x, 2))
        if site in self._lowering.forms.pointers:
            self.make_pointer()

    def make_pointer(self) -> None:
        """x = X: x = frame + X, and beyond_x = caplen - X or held_x = X."""
        regs = self._regs
        if regs.held_x:
            self._put(ebpf.mov_r(regs.held_x, regs.x), ebpf.alu_r(AluOp.ADD, regs.x, regs.frame))
            return
        if regs.beyond_x != regs.caplen:
            self._put(ebpf.mov_r(regs.beyond_x, regs.caplen))
        self._put(
            ebpf.alu_r(AluOp.SUB, regs.beyond_x, regs.x), ebpf.alu_r(AluOp.ADD, regs.x, regs.frame)
        )

    def indexed(self, op: LoadInd, site: Site) -> None:
        """A = bytes at X + a constant."""
        if site in self._lowering.forms.pointers:
            self._load_pointed(op)
        else:
            self._checked(op, site)
        self._to_host_order(op.size, site)

    def read_caplen(self) -> None:
        """Makes sure that r.caplen holds caplen; here it always does."""

    def _load_pointed(self, op: LoadInd) -> None:
        self._put(ebpf.load(op.size, self._regs.a, self._regs.x, BYTES_OFFSET + op.off))

    def _put(self, *insns: ebpf.EbpfInsn) -> None:
        self._code.extend(Item(insn) for insn in insns)

    def local_label(self) -> Label:
        """A label that nothing else uses."""
        self._next_local -= 1
        return self._next_local

    def _to_host_order(self, size: int, site: Site) -> None:
        if size > 1 and site not in self._lowering.forms.network:
            self._put(ebpf.to_be(size, self._regs.a))

    def _constant_offset(self, dst: int, size: int, off: int, site: Site) -> None:
        if site not in self._lowering.extent.slow:
            self._load_frame(dst, size, BYTES_OFFSET + off)
            return
        self._put(ebpf.load(8, 3, self._regs.frame, BASE_OFFSET))
        self._put(ebpf.alu_r_imm(AluOp.ADD, 3, off))
        self._read_kernel(dst, size)

    def _load_frame(self, dst: int, size: int, at: int) -> None:
        """In halves where the stack wants it; r5 is free."""
        frame, half = self._regs.frame, size // 2
        if not self._lowering.flat or at % size == 0:
            self._put(ebpf.load(size, dst, frame, at))
            return
        self._put(
            ebpf.load(half, dst, frame, at),
            ebpf.load(half, 5, frame, at + half),
            ebpf.alu_r_imm(AluOp.LSH, 5, 8 * half),
            ebpf.alu_r(AluOp.OR, dst, 5),
        )

    def _checked(self, op: LoadInd, site: Site) -> None:
        """A serves as the address: `end` = X + off + size in 64 bits, which cannot overflow.

        The verifier needs a bound on `end` unless it can follow the range of X itself.
        """
        lowering, regs, end = self._lowering, self._regs, self._regs.a
        slow = site in lowering.extent.slow
        self._put(ebpf.mov_r(end, regs.x), ebpf.alu_r_imm(AluOp.ADD, end, op.off + op.size))
        self._code.append(Item(ebpf.jump_r(ebpf.JGT, end, regs.caplen), REJECT))
        far, done = self.local_label(), self.local_label()
        if slow or not lowering.ranges[site].seen:
            bound = ebpf.jump_r_imm(ebpf.JGT, end, lowering.extent.frame_bytes)
            self._code.append(Item(bound, far if slow else REJECT))
        self._put(
            ebpf.alu_r(AluOp.ADD, end, regs.frame),
            ebpf.load(op.size, regs.a, end, BYTES_OFFSET - op.size),
        )
        if slow:
            self._code.extend((Item(ebpf.goto(), done), Mark(far)))
            self._read_base(end, op.size)
            self._code.append(Mark(done))

    def _read_base(self, end: int, size: int) -> None:
        """A = the `size` bytes that end at base + end."""
        self._put(
            ebpf.load(8, 3, self._regs.frame, BASE_OFFSET),
            ebpf.alu_r(AluOp.ADD, 3, end),
            ebpf.alu_r_imm(AluOp.ADD, 3, -size),
        )
        self._read_kernel(self._regs.a, size)

    def _read_kernel(self, dst: int, size: int) -> None:
        """dst = `size` bytes at the kernel address in r3; r0 is 0 afterwards, as before."""
        scratch = self._SCRATCH or (self._regs.frame, NEAR_OFFSET)
        self._put(
            ebpf.mov_r(1, scratch[0]),
            ebpf.alu_r_imm(AluOp.ADD, 1, scratch[1]),
            ebpf.mov_r_imm(2, size),
            ebpf.call(PROBE_READ_KERNEL),
        )
        self._code.append(Item(ebpf.jump_r_imm(ebpf.JNE, R0, 0), FAIL))
        self._put(ebpf.load(size, dst, *scratch))
