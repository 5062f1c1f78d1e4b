# SPDX-License-Identifier: Apache-2.0
"""All that the passes found out about a program, and the registers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .frame import FRAME_MAX
from .guards import Guards, place_guards
from .ir import CELL_X, Graph, LoadInd, Site, defines, sites, successors
from .layout import FrameLayout, lay_out
from .liveness import CellMask, live_in, remove_dead
from .ranges import Range, index_ranges
from .thread import thread_jumps
from .webs import Forms, choose_forms


@dataclass(frozen=True, slots=True)
class Registers:
    """Numbers of the eBPF registers that hold a value for the whole program.

    frame: pointer to struct frame. caplen: its field, zero-extended. a, x: the cBPF registers,
    zero-extended (x: or a pointer, see webs). beyond_x: caplen - X, where x is a pointer.
    """

    frame: int
    a: int
    x: int
    caplen: int
    beyond_x: int


# r1-r5 need no saving by the function, but do not survive a helper call: there are no
# pointers in X then, and so no beyond_x.
LEAF: Final = Registers(frame=1, a=2, x=3, caplen=4, beyond_x=5)
LEAF_LAST_USE: Final = Registers(frame=1, a=2, x=3, caplen=4, beyond_x=4)
CALLING: Final = Registers(frame=6, a=7, x=8, caplen=9, beyond_x=9)


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph and the decisions about it.

    entry_cells: the cells that are read before they are written, which must be set to 0.
    """

    graph: Graph
    entry_cells: CellMask
    ranges: dict[Site, Range]
    forms: Forms
    guards: Guards
    layout: FrameLayout
    registers: Registers


def make_plan(graph: Graph) -> Plan:
    """Run the passes between the building of blocks and the emission of instructions."""
    graph = remove_dead(thread_jumps(graph), FRAME_MAX)
    live = live_in(graph)
    ranges = index_ranges(graph)
    layout = lay_out(graph, ranges)
    forms = choose_forms(graph, live, ranges, pointers=not layout.slow)
    guards = place_guards(graph, forms)
    return Plan(
        graph=graph,
        entry_cells=live[graph.entry] if graph.entry >= 0 else 0,
        ranges=ranges,
        forms=forms,
        guards=guards,
        layout=layout,
        registers=_registers(graph, layout, forms, guards),
    )


def _registers(graph: Graph, layout: FrameLayout, forms: Forms, guards: Guards) -> Registers:
    if layout.slow:
        return CALLING
    return LEAF if _caplen_outlives_pointer(graph, forms, guards) else LEAF_LAST_USE


def _caplen_outlives_pointer(graph: Graph, forms: Forms, guards: Guards) -> bool:
    """Whether caplen is read somewhere after caplen - X was computed."""
    needed = [False] * len(graph.blocks)
    for index in reversed(range(len(graph.blocks))):
        block = graph.blocks[index]
        after = any(needed[t] for t in successors(block.term) if t >= 0)
        after = after or any(
            isinstance(op, LoadInd) and (index, position) not in forms.pointers
            for position, op in enumerate(block.ops)
        )
        makes_pointer = _makes_pointer(graph, forms, index)
        if makes_pointer and after:
            return True
        needed[index] = after or makes_pointer or guards.caplen[index] > 0
    return False


def _makes_pointer(graph: Graph, forms: Forms, index: int) -> bool:
    ops = graph.blocks[index].ops
    return bool(ops) and defines(ops[0]) == CELL_X and (index, 0) in forms.pointers


def reads_caplen(plan: Plan) -> bool:
    """Whether any check is emitted."""
    indexed = any(isinstance(op, LoadInd) for _, op in sites(plan.graph))
    return indexed or any(plan.guards.caplen)
