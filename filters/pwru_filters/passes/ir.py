# SPDX-License-Identifier: Apache-2.0
"""The compiler's intermediate form: cBPF decoded into operations, grouped in basic blocks.

A program is a `Graph`. All passes take one and return one, or a table about one.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final, NewType

from ..front.cbpf import AluOp, JmpOp

# The cells of the cBPF machine: A, X, M[0] .. M[15]. All hold u32 and start as 0.
Cell = NewType("Cell", int)
CELL_A: Final = Cell(0)
CELL_X: Final = Cell(1)


def memory_cell(slot: int) -> Cell:
    """The cell of M[slot]."""
    return Cell(2 + slot)


# Jump targets: an index into Graph.blocks, or one of the two verdicts.
MATCH: Final = -1
REJECT: Final = -2


@dataclass(frozen=True, slots=True)
class LoadAbs:
    """A = the `size` bytes at frame offset `off`, big-endian; outside the frame: verdict 0."""

    size: int
    off: int


@dataclass(frozen=True, slots=True)
class LoadInd:
    """A = the `size` bytes at frame offset X + off, added without wrap-around; else verdict 0.

    Invariant: off + size <= 2**28.
    """

    size: int
    off: int


@dataclass(frozen=True, slots=True)
class LoadMsh:
    """X = 4 * (low nibble of the frame byte at `off`): the length of an IPv4 header."""

    off: int


@dataclass(frozen=True, slots=True)
class LoadConst:
    """cell = value."""

    cell: Cell
    value: int


@dataclass(frozen=True, slots=True)
class LoadLen:
    """cell = length of the whole frame on the wire, in bytes."""

    cell: Cell


@dataclass(frozen=True, slots=True)
class Copy:
    """dst = src; one of them is A or X."""

    dst: Cell
    src: Cell


@dataclass(frozen=True, slots=True)
class AluK:
    """A = A op k, modulo 2**32. Invariant: k is not 0 for DIV and MOD, below 32 for shifts."""

    op: AluOp
    k: int


@dataclass(frozen=True, slots=True)
class AluX:
    """A = A op X, modulo 2**32. DIV and MOD by 0: verdict 0. Shift by 32 or more: A = 0."""

    op: AluOp


@dataclass(frozen=True, slots=True)
class Neg:
    """A = -A, modulo 2**32."""


Op = LoadAbs | LoadInd | LoadMsh | LoadConst | LoadLen | Copy | AluK | AluX | Neg


@dataclass(frozen=True, slots=True)
class Goto:
    """Continue at `target`."""

    target: int


@dataclass(frozen=True, slots=True)
class Branch:
    """Continue at `then` if A op (k, or X where k is None), else at `other`.

    Invariant: then differs from other.
    """

    op: JmpOp
    k: int | None
    then: int
    other: int


@dataclass(frozen=True, slots=True)
class ReturnA:
    """The verdict is A."""


Terminator = Goto | Branch | ReturnA


@dataclass(frozen=True, slots=True)
class Block:
    """Operations that run one after the other, then a terminator.

    Invariant: only the first operation may write X, so one X serves all loads after it.
    reach: frame bytes that the absolute loads of the block need, also of removed ones:
    with a shorter frame the verdict of the block is 0.
    """

    ops: tuple[Op, ...]
    term: Terminator
    reach: int


@dataclass(frozen=True, slots=True)
class Graph:
    """Invariant: every block is reachable, and every target is MATCH, REJECT or a later block.

    entry: the first block (0), or a verdict for a program without blocks.
    """

    blocks: tuple[Block, ...]
    entry: int


# Place of an operation: block index, operation index; a terminator's index is len(ops).
Site = tuple[int, int]
ENTRY_SITE: Final[Site] = (-1, 0)


def successors(term: Terminator) -> tuple[int, ...]:
    """Blocks and verdicts that follow; none after a return."""
    match term:
        case Goto(target):
            return (target,)
        case Branch(_, _, then, other):
            return (then, other)
        case ReturnA():
            return ()


def predecessors(graph: Graph) -> list[list[int]]:
    """For each block the blocks that jump to it."""
    found: list[list[int]] = [[] for _ in graph.blocks]
    for index, block in enumerate(graph.blocks):
        for target in successors(block.term):
            if target >= 0:
                found[target].append(index)
    return found


def defines(op: Op) -> Cell:
    """The cell that the operation writes."""
    match op:
        case LoadConst(cell, _) | LoadLen(cell) | Copy(cell, _):
            return cell
        case LoadMsh():
            return CELL_X
        case LoadAbs() | LoadInd() | AluK() | AluX() | Neg():
            return CELL_A


def uses(op: Op | Terminator) -> tuple[Cell, ...]:
    """The cells that the operation reads."""
    match op:
        case LoadInd():
            return (CELL_X,)
        case Copy(_, src):
            return (src,)
        case AluK() | Neg() | ReturnA():
            return (CELL_A,)
        case AluX():
            return (CELL_A, CELL_X)
        case Branch(_, k, _, _):
            return (CELL_A,) if k is not None else (CELL_A, CELL_X)
        case LoadAbs() | LoadMsh() | LoadConst() | LoadLen() | Goto():
            return ()


def sites(graph: Graph) -> Iterator[tuple[Site, Op]]:
    """All operations in program order, with their places."""
    for index, block in enumerate(graph.blocks):
        for position, op in enumerate(block.ops):
            yield (index, position), op


def indexed_loads(graph: Graph) -> list[tuple[Site, LoadInd]]:
    """All loads whose place depends on X, with their sites."""
    return [(site, op) for site, op in sites(graph) if isinstance(op, LoadInd)]
