# SPDX-License-Identifier: Apache-2.0
"""Pass 10: blocks -> eBPF instructions with labels.

r0 is the verdict. It is set to 0 first, so that each rejection is one jump to the end. The end
is past the last instruction: there is no exit.
"""

from __future__ import annotations

from . import ebpf
from .assemble import Item, Label, Mark
from .cbpf import AluOp, JmpOp
from .ebpf import R0, R10, EbpfInsn
from .emit_loads import FAIL, Code, LoadEmitter
from .frame import CAPLEN_OFFSET, LEN_OFFSET
from .ir import (
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
from .plan import Plan, reads_caplen

_EBPF_JUMP = {JmpOp.JEQ: ebpf.JEQ, JmpOp.JGT: ebpf.JGT, JmpOp.JGE: ebpf.JGE, JmpOp.JSET: ebpf.JSET}


def emit(plan: Plan) -> Code:
    """The whole fragment. Invariant: it ends by running past its last instruction."""
    emitter = _Emitter(plan)
    for index in range(len(plan.graph.blocks)):
        emitter.block(index)
    return emitter.finish()


class _Emitter:
    def __init__(self, plan: Plan) -> None:
        self._plan = plan
        self._regs = plan.registers
        self._code: Code = []
        self._loads = LoadEmitter(plan, self._code)

    def _put(self, *insns: EbpfInsn) -> None:
        self._code.extend(Item(insn) for insn in insns)

    def _jump(self, insn: EbpfInsn, target: Label) -> None:
        self._code.append(Item(insn, target))

    def finish(self) -> Code:
        """Prologue, body, and the instructions that set the verdict."""
        targets = {entry.target for entry in self._code if isinstance(entry, Item)}
        targets.add(self._plan.graph.entry)
        prologue = self._prologue() if self._plan.graph.blocks else []
        if REJECT in targets:
            prologue.insert(0, Item(ebpf.mov_w_imm(R0, 0)))
        return [*prologue, *self._code, *_verdicts(targets)]

    def _prologue(self) -> list[Item | Mark]:
        plan, regs = self._plan, self._regs
        insns: list[EbpfInsn] = []
        if regs.frame != 1:
            insns.append(ebpf.mov_r(regs.frame, 1))
        if reads_caplen(plan):
            insns.append(ebpf.load(4, regs.caplen, regs.frame, CAPLEN_OFFSET))
        for cell, register in ((CELL_A, regs.a), (CELL_X, regs.x)):
            if plan.entry_cells & 1 << cell:
                insns.append(ebpf.mov_w_imm(register, 0))
        for slot in range(16):
            if plan.entry_cells & 1 << memory_cell(slot):
                insns.append(ebpf.store_w_imm(R10, _slot_offset(memory_cell(slot)), 0))
        return [Item(insn) for insn in insns]

    def block(self, index: int) -> None:
        """Guard, operations, terminator."""
        plan, regs = self._plan, self._regs
        block = plan.graph.blocks[index]
        self._code.append(Mark(index))
        if need := plan.guards.caplen[index]:
            self._jump(ebpf.jump_r_imm(ebpf.JLT, regs.caplen, need), REJECT)
        need = plan.guards.beyond_x[index]
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
        width = self._plan.forms.network.get(site)
        return k if width is None else int.from_bytes(k.to_bytes(width, "big"), "little")

    def _copy(self, dst: Cell, src: Cell, site: Site) -> None:
        if dst not in (CELL_A, CELL_X):
            self._put(ebpf.store_w(R10, _slot_offset(dst), self._register(src)))
        elif src not in (CELL_A, CELL_X):
            self._put(ebpf.load(4, self._register(dst), R10, _slot_offset(src)))
        else:
            self._put(ebpf.mov_r(self._register(dst), self._register(src)))
            if dst == CELL_X and site in self._plan.forms.pointers:
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
                self._jump(ebpf.goto(), target)
            case ReturnA():
                self._put(ebpf.mov_w(R0, self._regs.a))
                self._jump(ebpf.goto(), REJECT)
            case Branch():
                self._branch(term, site)

    def _branch(self, term: Branch, site: Site) -> None:
        op, a = _EBPF_JUMP[term.op], self._regs.a
        then, other = term.then, term.other
        if then == self._following(site[0]) and op in ebpf.INVERSE_JUMP:
            op, then, other = ebpf.INVERSE_JUMP[op], other, then
        if term.k is None:
            self._jump(ebpf.jump_w(op, a, self._regs.x), then)
        else:
            self._jump(ebpf.jump_w_imm(op, a, self._constant(term.k, site)), then)
        self._jump(ebpf.goto(), other)

    def _following(self, index: int) -> Label:
        return index + 1 if index + 1 < len(self._plan.graph.blocks) else MATCH


def _slot_offset(cell: Cell) -> int:
    """M[0] is the word below r10, M[15] the one at r10 - 64."""
    return -4 * (cell - memory_cell(0) + 1)


def _verdicts(targets: set[Label | None]) -> Code:
    code: Code = []
    if MATCH in targets:
        code.extend((Mark(MATCH), Item(ebpf.mov_w_imm(R0, 1))))
    if FAIL in targets:
        if MATCH in targets:
            code.append(Item(ebpf.goto(), REJECT))
        code.extend((Mark(FAIL), Item(ebpf.mov_w_imm(R0, 0))))
    code.append(Mark(REJECT))
    return code
