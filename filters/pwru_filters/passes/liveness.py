# SPDX-License-Identifier: Apache-2.0
"""Pass 5: liveness of A, X and M[], and removal of operations whose result nobody reads."""

from __future__ import annotations

from collections.abc import Iterable

from ..front.cbpf import AluOp
from .blocks import number, retarget
from .ir import (
    AluX,
    Block,
    Cell,
    Goto,
    Graph,
    LoadAbs,
    LoadInd,
    LoadMsh,
    Op,
    Terminator,
    defines,
    successors,
    uses,
)

# A set of cells is a bit mask: bit n is the cell numbered n.
CellMask = int


def mask(cells: Iterable[Cell]) -> CellMask:
    """The bit mask of a few cells."""
    bits = 0
    for cell in cells:
        bits |= 1 << cell
    return bits


def live_in(graph: Graph) -> list[CellMask]:
    """For each block the cells that are read in it, or after it, before they are written."""
    live: list[CellMask] = [0] * len(graph.blocks)
    for index in reversed(range(len(graph.blocks))):
        block = graph.blocks[index]
        cells = _live_after(block.term, live)
        for op in reversed(block.ops):
            cells = cells & ~(1 << defines(op)) | mask(uses(op))
        live[index] = cells
    return live


def _live_after(term: Terminator, live: list[CellMask]) -> CellMask:
    cells = mask(uses(term))
    for target in successors(term):
        if target >= 0:
            cells |= live[target]
    return cells


def remove_dead(graph: Graph, frame_max: int) -> Graph:
    """Drop operations without effect, then blocks that became empty.

    A dropped absolute load keeps its guard, because Block.reach stays. An operation that may
    reject by itself (indexed load, division by X, absolute load past `frame_max`) stays.
    """
    live: list[CellMask] = [0] * len(graph.blocks)
    kept: dict[int, Block] = {}
    places: dict[int, int] = {}
    for index in reversed(range(len(graph.blocks))):
        block = graph.blocks[index]
        term = retarget(block.term, places)
        ops, live[index] = _live_ops(block, _live_after(term, live), frame_max)
        if isinstance(term, Goto) and not ops and not block.reach:
            places[index] = term.target
            live[index] = live[term.target] if term.target >= 0 else 0
        else:
            places[index] = index
            kept[index] = Block(ops, term, block.reach)
    return number(kept, places.get(graph.entry, graph.entry))


def _live_ops(block: Block, cells: CellMask, frame_max: int) -> tuple[tuple[Op, ...], CellMask]:
    ops: list[Op] = []
    for op in reversed(block.ops):
        bit = 1 << defines(op)
        if not cells & bit and not _may_reject(op, frame_max):
            continue
        ops.append(op)
        cells = cells & ~bit | mask(uses(op))
    return tuple(reversed(ops)), cells


def _may_reject(op: Op, frame_max: int) -> bool:
    match op:
        case LoadInd():
            return True
        case LoadAbs(size, off):
            return off + size > frame_max
        case LoadMsh(off):
            return off + 1 > frame_max
        case AluX(alu):
            return alu in (AluOp.DIV, AluOp.MOD)
        case _:
            return False
