# SPDX-License-Identifier: Apache-2.0
"""Pass 12, loads from a viewed frame: through pointers that the kernel's cast makes of addresses.

Loads through such a pointer may have any offset that is a constant, but none that varies, so what
lies at X + k is loaded through a pointer made of near + X. Every cast is a call that the verifier
turns into a move.
"""

from __future__ import annotations

from ..frame import BYTES_OFFSET, CAPLEN_OFFSET, NEAR_OFFSET, NEAR_VALID_FROM, Cast
from ..front.cbpf import AluOp
from ..passes.ir import LoadAbs, LoadInd, Site
from ..passes.registers import is_ethertype
from . import ebpf
from .assemble import Item, Mark
from .ebpf import R0, R10
from .emit_loads import FAIL, LoadEmitter


class ViewLoadEmitter(LoadEmitter):
    """As its base, for viewed frames."""

    # Below the words of M[], which take 64 bytes under r10.
    _SCRATCH = (R10, -72)

    def read_caplen(self) -> None:
        """r.caplen = caplen, where calls have destroyed it."""
        regs = self._regs
        if regs.calls:
            self._put(ebpf.load(4, regs.caplen, regs.frame, CAPLEN_OFFSET))

    def make_pointer(self) -> None:
        """x = X: x = pointer to near + X, and beyond_x = caplen - X or held_x = X."""
        regs = self._regs
        self._cast(regs.x, 0)
        if regs.held_x:
            self._put(ebpf.mov_r(regs.held_x, regs.x), ebpf.mov_r(regs.x, R0))
            return
        self._put(
            ebpf.load(4, regs.beyond_x, regs.frame, CAPLEN_OFFSET),
            ebpf.alu_r(AluOp.SUB, regs.beyond_x, regs.x),
            ebpf.mov_r(regs.x, R0),
        )

    def _load_pointed(self, op: LoadInd) -> None:
        self._put(ebpf.load(op.size, self._regs.a, self._regs.x, op.off))

    def absolute(self, op: LoadAbs, site: Site) -> None:
        """As its base."""
        regs = self._regs
        if regs.ethertype and is_ethertype(op):
            self._put(ebpf.mov_r(regs.a, regs.ethertype))
            self._to_host_order(op.size, site)
        else:
            super().absolute(op, site)

    def _constant_offset(self, dst: int, size: int, off: int, site: Site) -> None:
        if site in self._lowering.extent.slow or off < NEAR_VALID_FROM:
            super()._constant_offset(dst, size, off, site)
        else:
            self._put(ebpf.load(size, dst, self._regs.packet, off))

    def _checked(self, op: LoadInd, site: Site) -> None:
        """As its base; what may begin below NEAR_VALID_FROM is in the frame's bytes."""
        lowering, regs, end = self._lowering, self._regs, self._regs.a
        self.read_caplen()
        self._put(ebpf.mov_r(end, regs.x), ebpf.alu_r_imm(AluOp.ADD, end, op.off + op.size))
        self._reject_beyond(end)
        low, far, done = self.local_label(), self.local_label(), self.local_label()
        slow = site in lowering.extent.slow
        below = lowering.ranges[site].lo + op.off < NEAR_VALID_FROM
        if below:
            bound = ebpf.jump_r_imm(ebpf.JLT, end, NEAR_VALID_FROM + op.size)
            self._code.append(Item(bound, low))
        if slow:
            bound = ebpf.jump_r_imm(ebpf.JGT, end, lowering.extent.frame_bytes)
            self._code.append(Item(bound, far))
        self._cast(end, -op.size)
        self._put(ebpf.load(op.size, regs.a, R0, 0))
        if below:
            self._code.extend((Item(ebpf.goto(), done), Mark(low)))
            self._put(
                ebpf.alu_r(AluOp.ADD, end, regs.frame),
                ebpf.load(op.size, regs.a, end, BYTES_OFFSET - op.size),
            )
        if slow:
            self._code.extend((Item(ebpf.goto(), done), Mark(far)))
            self._read_base(end, op.size)
        self._code.append(Mark(done))

    def _reject_beyond(self, end: int) -> None:
        self._code.append(Item(ebpf.jump_r(ebpf.JGT, end, self._regs.caplen), FAIL))

    def _cast(self, offset: int, more: int) -> None:
        """r0 = pointer to near + the value of register `offset` + more."""
        assert self._lowering.cast is not None
        cast: Cast = self._lowering.cast
        regs = self._regs
        near = ebpf.mov_r(1, regs.near) if regs.near else ebpf.load(8, 1, regs.frame, NEAR_OFFSET)
        self._put(near, ebpf.alu_r(AluOp.ADD, 1, offset))
        if more:
            self._put(ebpf.alu_r_imm(AluOp.ADD, 1, more))
        self._put(ebpf.mov_w_imm(2, cast.type), ebpf.call_kfunc(cast.func))
