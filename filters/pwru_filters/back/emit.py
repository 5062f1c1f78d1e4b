# SPDX-License-Identifier: Apache-2.0
"""Pass 12: blocks -> eBPF instructions with labels.

r0 is the verdict. It is 0 on entry, so each rejection is one jump to the end; in a viewed frame
with calls, whose answers are in r0, it is set to 0 again. The end is past the last instruction:
there is no exit.
"""

from __future__ import annotations

from typing import Final

from ..frame import CAPLEN_OFFSET, LEN_OFFSET
from ..front.cbpf import AluOp, JmpOp
from ..passes.deferred import Need
from ..passes.ir import (
    CELL_A,
    CELL_X,
    MATCH,
    REJECT,
    AluK,
    AluX,
    Branch,
    Cell,
    Copy,
    Goto,
    LoadAbs,
    LoadConst,
    LoadInd,
    LoadLen,
    LoadMsh,
    Neg,
    Op,
    ReturnA,
    Site,
    Terminator,
    defines,
    memory_cell,
)
from ..passes.lowering import Lowering, reads_caplen
from . import ebpf
from .assemble import Item, Label, Mark
from .ebpf import R0, R10, EbpfInsn
from .emit_loads import END, FAIL, Code, LoadEmitter
from .emit_views import ViewLoadEmitter

_FIRST_MATCH: Final[Label] = -(1 << 40)  # below all other labels

_EBPF_JUMP = {JmpOp.JEQ: ebpf.JEQ, JmpOp.JGT: ebpf.JGT, JmpOp.JGE: ebpf.JGE, JmpOp.JSET: ebpf.JSET}


def emit(lowering: Lowering) -> Code:
    """The whole fragment. Invariant: it ends by running past its last instruction."""
    emitter = _Emitter(lowering)
    for index in range(len(lowering.graph.blocks)):
        emitter.block(index)
    return emitter.finish()


class _Emitter:
    def __init__(self, lowering: Lowering) -> None:
        self._lowering = lowering
        self._regs = lowering.registers
        self._code: Code = []
        emitter = ViewLoadEmitter if lowering.cast else LoadEmitter
        self._loads = emitter(lowering, self._code)
        self._verdict_last = lowering.cast is not None and lowering.registers.calls
        self._reject = FAIL if self._verdict_last else REJECT

    def _put(self, *insns: EbpfInsn) -> None:
        self._code.extend(Item(insn) for insn in insns)

    def _jump(self, insn: EbpfInsn, target: Label) -> None:
        self._code.append(Item(insn, self._reject if target == REJECT else target))

    def _verdict(self, index: int, target: Label) -> Label:
        """`target` of a block's terminator; matches differ by what they need."""
        deferred = self._lowering.deferred
        return _match(deferred[index]) if deferred and target == MATCH else target

    def finish(self) -> Code:
        """Prologue, body, and the instructions that set the verdict."""
        targets = {entry.target for entry in self._code if isinstance(entry, Item)}
        targets.add(self._lowering.graph.entry)
        prologue = self._prologue() if self._lowering.graph.blocks else []
        matches = {MATCH: Need(0, 0)}
        if deferred := self._lowering.deferred:
            # The last block's first: it may fall through.
            matches = {_match(need): need for _, need in sorted(deferred.items(), reverse=True)}
        return [*prologue, *self._code, *_verdicts(targets, matches, self._regs.held_x)]

    def _prologue(self) -> list[Item | Mark]:
        lowering, regs = self._lowering, self._regs
        insns: list[EbpfInsn] = []
        if regs.frame != 1:
            insns.append(ebpf.mov_r(regs.frame, 1))
        if reads_caplen(lowering) and not (lowering.cast and regs.calls):
            insns.append(ebpf.load(4, regs.caplen, regs.frame, CAPLEN_OFFSET))
        for cell, register in ((CELL_A, regs.a), (CELL_X, regs.x)):
            if lowering.entry_cells & 1 << cell:
                insns.append(ebpf.mov_w_imm(register, 0))
        for slot in range(16):
            if lowering.entry_cells & 1 << memory_cell(slot):
                insns.append(ebpf.store_w_imm(R10, _slot_offset(memory_cell(slot)), 0))
        return [Item(insn) for insn in insns]

    def block(self, index: int) -> None:
        """Guard, operations, terminator."""
        lowering, regs = self._lowering, self._regs
        block = lowering.graph.blocks[index]
        self._code.append(Mark(index))
        if need := lowering.guards.caplen[index]:
            self._loads.read_caplen()
            self._jump(ebpf.jump_r_imm(ebpf.JLT, regs.caplen, need), REJECT)
        need = lowering.guards.beyond_x[index]
        writes_x = bool(block.ops) and defines(block.ops[0]) == CELL_X
        for position, op in enumerate(block.ops):
            if need and position == int(writes_x):
                self._jump(ebpf.jump_r_imm(ebpf.JSLT, regs.beyond_x, need), REJECT)
                need = 0
            self._op(op, (index, position))
        if need:
            self._jump(ebpf.jump_r_imm(ebpf.JSLT, regs.beyond_x, need), REJECT)
        self._terminate(block.term, (index, len(block.ops)))

    def _op(self, op: Op, site: Site) -> None:
        regs = self._regs
        match op:
            case LoadAbs():
                self._loads.absolute(op, site)
            case LoadInd():
                self._loads.indexed(op, site)
            case LoadMsh():
                self._loads.msh(op, site)
            case LoadConst(cell, value):
                self._put(ebpf.mov_w_imm(self._register(cell), value))
            case LoadLen(cell):
                self._put(ebpf.load(4, self._register(cell), regs.frame, LEN_OFFSET))
            case Copy(dst, src):
                self._copy(dst, src, site)
            case AluK(alu, k):
                self._put(ebpf.alu_w_imm(alu, regs.a, self._constant(k, site)))
            case AluX(alu):
                self._alu_x(alu, site)
            case Neg():
                self._put(ebpf.alu_w_imm(AluOp.NEG, regs.a, 0))

    def _register(self, cell: Cell) -> int:
        return self._regs.a if cell == CELL_A else self._regs.x

    def _constant(self, k: int, site: Site) -> int:
        """k, swapped where A is in network order."""
        width = self._lowering.forms.network.get(site)
        return k if width is None else int.from_bytes(k.to_bytes(width, "big"), "little")

    def _copy(self, dst: Cell, src: Cell, site: Site) -> None:
        if dst not in (CELL_A, CELL_X):
            self._put(ebpf.store_w(R10, _slot_offset(dst), self._register(src)))
        elif src not in (CELL_A, CELL_X):
            self._put(ebpf.load(4, self._register(dst), R10, _slot_offset(src)))
        else:
            self._put(ebpf.mov_r(self._register(dst), self._register(src)))
            if dst == CELL_X and site in self._lowering.forms.pointers:
                self._loads.make_pointer()

    def _alu_x(self, op: AluOp, site: Site) -> None:
        a, x = self._regs.a, self._regs.x
        if op in (AluOp.DIV, AluOp.MOD):
            self._jump(ebpf.jump_w_imm(ebpf.JEQ, x, 0), REJECT)
        self._put(ebpf.alu_w(op, a, x))
        if op in (AluOp.LSH, AluOp.RSH):
            # RFC 9669, 4.1: the shift used x modulo 32.
            inside = self._loads.local_label()
            self._jump(ebpf.jump_w_imm(ebpf.JLT, x, 32), inside)
            self._put(ebpf.mov_w_imm(a, 0))
            self._code.append(Mark(inside))

    def _terminate(self, term: Terminator, site: Site) -> None:
        match term:
            case Goto(target):
                self._jump(ebpf.goto(), self._verdict(site[0], target))
            case ReturnA():
                self._jump(ebpf.jump_w_imm(ebpf.JEQ, self._regs.a, 0), REJECT)
                self._jump(ebpf.goto(), MATCH)
            case Branch():
                self._branch(term, site)

    def _branch(self, term: Branch, site: Site) -> None:
        op, a = _EBPF_JUMP[term.op], self._regs.a
        then, other = (self._verdict(site[0], target) for target in (term.then, term.other))
        if then == self._following(site[0]) and op in ebpf.INVERSE_JUMP:
            op, then, other = ebpf.INVERSE_JUMP[op], other, then
        if term.k is None:
            self._jump(ebpf.jump_w(op, a, self._regs.x), then)
        else:
            self._jump(ebpf.jump_w_imm(op, a, self._constant(term.k, site)), then)
        self._jump(ebpf.goto(), other)

    def _following(self, index: int) -> Label:
        last = index + 1 == len(self._lowering.graph.blocks)
        return self._verdict(index, MATCH) if last else index + 1


def _slot_offset(cell: Cell) -> int:
    """M[0] is the word below r10, M[15] the one at r10 - 64."""
    return -4 * (cell - memory_cell(0) + 1)


def _match(need: Need) -> Label:
    """The label of a match that needs so many bytes of the frame."""
    return _FIRST_MATCH - (need.reach << 32 | need.beyond_x)


def _verdicts(targets: set[Label | None], matches: dict[Label, Need], held_x: int) -> Code:
    """matches: by label, what r0 must say of the frame."""
    code: Code = []
    for label, need in matches.items():
        if label in targets:
            if code:
                code.append(Item(ebpf.goto(), END))
            code.append(Mark(label))
            code.extend(_say(need, held_x))
    if FAIL in targets:
        if code:
            code.append(Item(ebpf.goto(), END))
        code.extend((Mark(FAIL), Item(ebpf.mov_w_imm(R0, 0))))
    code.extend((Mark(REJECT), Mark(END)))
    return code


def _say(need: Need, held_x: int) -> Code:
    """r0 = 1 + the bytes that the frame must have."""
    reach = Item(ebpf.mov_w_imm(R0, need.reach + 1))
    if not need.beyond_x:
        return [reach]
    beyond = [ebpf.mov_r(R0, held_x), ebpf.alu_r_imm(AluOp.ADD, R0, need.beyond_x + 1)]
    code: Code = [Item(insn) for insn in beyond]
    if need.reach > need.beyond_x:
        code.extend((Item(ebpf.jump_r_imm(ebpf.JGT, R0, need.reach), END), reach))
    return code
