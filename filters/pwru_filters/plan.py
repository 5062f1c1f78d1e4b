# SPDX-License-Identifier: Apache-2.0
"""All that the passes found out about a program, and the registers that follow from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from .deferred import Need, match_needs
from .frame import ETHERTYPE, FLAT_MAX, FRAME_MAX, MAC_BYTES, NEAR, NEAR_VALID_FROM, PACKET, Cast
from .guards import Guards, no_guards, place_guards
from .ir import CELL_X, Graph, LoadAbs, LoadInd, Site, defines, sites, successors
from .layout import FrameLayout, fragment_loads, lay_out
from .liveness import CellMask, live_in, remove_dead
from .merge import merge_tests
from .ranges import Range, index_ranges
from .search import search_lists
from .thread import thread_jumps
from .webs import Forms, choose_forms


@dataclass(frozen=True, slots=True)
class Registers:
    """Numbers of the eBPF registers that hold a value for the whole program.

    frame: pointer to struct frame. caplen: the frame's field, zero-extended. a, x: the cBPF
    registers, zero-extended (x: or a pointer, see webs). beyond_x: caplen - X, where x is a
    pointer. held_x: X itself there, where checks wait.
    Of a viewed frame: near, packet: near as a pointer, ethertype: in network order. As they come
    (frame.py), or 0 where they give way to something else.
    calls: r1-r5 do not survive. A viewed frame's caplen is read again at each use then, and
    beyond_x lives only until the next call, which there is only where it is computed.
    """

    frame: int
    a: int
    x: int
    caplen: int = 0
    beyond_x: int = 0
    near: int = 0
    packet: int = 0
    ethertype: int = 0
    held_x: int = 0
    calls: bool = False


# r1-r5 need no saving by the function. In a copied frame no pointers in X with calls.
LEAF: Final = Registers(frame=1, a=2, x=3, caplen=4, beyond_x=5)
LEAF_LAST_USE: Final = Registers(frame=1, a=2, x=3, caplen=4, beyond_x=4)
LEAF_DEFERRED: Final = Registers(frame=1, a=2, x=3, held_x=4)
CALLING: Final = Registers(frame=6, a=7, x=8, caplen=9, beyond_x=9, calls=True)
VIEW_LEAF: Final = Registers(
    frame=1, near=NEAR, packet=PACKET, ethertype=ETHERTYPE, a=3, x=4, caplen=5, beyond_x=5
)
VIEW_CALLING: Final = Registers(frame=6, packet=PACKET, a=9, x=8, caplen=5, beyond_x=4, calls=True)
# Where checks wait, caplen is not read. The frame itself need not survive, or the EtherType.
VIEW_DEFERRED: Final = Registers(
    frame=1, near=NEAR, packet=PACKET, ethertype=ETHERTYPE, a=3, x=9, held_x=5, calls=True
)
VIEW_DEFERRED_FRAME: Final = Registers(frame=6, packet=PACKET, a=3, x=8, held_x=9, calls=True)


@dataclass(frozen=True, slots=True)
class Plan:
    """A graph and the decisions about it.

    entry_cells: the cells that are read before they are written, which must be set to 0.
    cast: how to read a viewed frame; None for a copied one.
    deferred: what a match needs by the block that ends in it, where guards are left out.
    flat: the copied frame may be on the stack.
    """

    graph: Graph
    entry_cells: CellMask
    ranges: dict[Site, Range]
    forms: Forms
    guards: Guards
    layout: FrameLayout
    registers: Registers
    cast: Cast | None
    deferred: dict[int, Need] | None
    flat: bool


def make_plan(graph: Graph, cast: Cast | None = None) -> Plan:
    """Run the passes between the building of blocks and the emission of instructions."""
    graph = merge_tests(search_lists(remove_dead(thread_jumps(graph), FRAME_MAX)))
    live = live_in(graph)
    ranges = index_ranges(graph)
    layout = lay_out(graph, ranges)
    forms = choose_forms(graph, live, ranges, pointers=not layout.slow)
    if cast and not _only_pointers(graph, forms):
        forms = choose_forms(graph, live, ranges, pointers=False)
    deferred = None
    if not layout.slow and _only_pointers(graph, forms):
        deferred = match_needs(graph, live, forms)
    if not cast and deferred is not None and not _indexed(graph):
        layout = lay_out(graph, ranges, fragment_loads(graph))
    guards = place_guards(graph, forms) if deferred is None else no_guards(graph)
    return Plan(
        graph=graph,
        entry_cells=live[graph.entry] if graph.entry >= 0 else 0,
        ranges=ranges,
        forms=forms,
        guards=guards,
        layout=layout,
        registers=(
            _view_registers(graph, layout, deferred is not None)
            if cast
            else _registers(graph, layout, forms, guards, deferred is not None)
        ),
        cast=cast,
        deferred=deferred,
        flat=cast is None and deferred is not None and _is_flat(graph, layout),
    )


def _is_flat(graph: Graph, layout: FrameLayout) -> bool:
    """What is not aligned is loaded in halves, so these must be."""
    return (
        layout.frame_bytes <= FLAT_MAX
        and not _indexed(graph)
        and all(
            op.off % 2 == 0 or op.size == 1 for _, op in sites(graph) if isinstance(op, LoadAbs)
        )
    )


def _indexed(graph: Graph) -> list[tuple[Site, LoadInd]]:
    return [(site, op) for site, op in sites(graph) if isinstance(op, LoadInd)]


def _only_pointers(graph: Graph, forms: Forms) -> bool:
    """Whether every indexed load goes through a pointer, to where a viewed frame has its bytes."""
    return all(site in forms.pointers and op.off >= NEAR_VALID_FROM for site, op in _indexed(graph))


def _view_registers(graph: Graph, layout: FrameLayout, deferred: bool) -> Registers:
    if not layout.slow and not _indexed(graph):
        return VIEW_LEAF
    if not deferred:
        return VIEW_CALLING
    return VIEW_DEFERRED_FRAME if _looks_into_frame(graph, layout) else VIEW_DEFERRED


def _looks_into_frame(graph: Graph, layout: FrameLayout) -> bool:
    """Whether a viewed frame's struct has something that a register or the packet has not."""
    return (
        layout.needs_link
        or layout.needs_length
        or any(
            isinstance(op, LoadAbs) and op.off < NEAR_VALID_FROM and not is_ethertype(op)
            for _, op in sites(graph)
        )
    )


def is_ethertype(op: LoadAbs) -> bool:
    """The load that nearly every filter begins with."""
    return (op.size, op.off) == (2, MAC_BYTES)


def _registers(
    graph: Graph, layout: FrameLayout, forms: Forms, guards: Guards, deferred: bool
) -> Registers:
    if layout.slow:
        return CALLING
    if deferred:
        return LEAF_DEFERRED
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
    return plan.deferred is None and (bool(_indexed(plan.graph)) or any(plan.guards.caplen))
