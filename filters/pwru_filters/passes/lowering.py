# SPDX-License-Identifier: Apache-2.0
"""The passes between the blocks and the instructions, and all that they decided."""

from __future__ import annotations

from dataclasses import dataclass

from ..frame import FLAT_MAX, FRAME_MAX, NEAR_VALID_FROM, Cast
from .copy_extent import CopyExtent, copy_extent, fragment_loads
from .deferred import Need, match_needs
from .guards import Guards, no_guards, place_guards
from .ir import Graph, LoadAbs, Site, indexed_loads, sites
from .liveness import CellMask, live_in, remove_dead
from .merge import merge_tests
from .ranges import Range, index_ranges
from .registers import Registers, copy_registers, view_registers
from .search import search_lists
from .thread import thread_jumps
from .webs import Forms, choose_forms


@dataclass(frozen=True, slots=True)
class Lowering:
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
    extent: CopyExtent
    registers: Registers
    cast: Cast | None
    deferred: dict[int, Need] | None
    flat: bool


def lower(graph: Graph, cast: Cast | None = None) -> Lowering:
    """Run the passes between the building of blocks and the emission of instructions."""
    graph = merge_tests(search_lists(remove_dead(thread_jumps(graph), FRAME_MAX)))
    live = live_in(graph)
    ranges = index_ranges(graph)
    extent = copy_extent(graph, ranges)
    forms = choose_forms(graph, live, ranges, pointers=not extent.slow)
    if cast and not _only_pointers(graph, forms):
        forms = choose_forms(graph, live, ranges, pointers=False)
    deferred = None
    if not extent.slow and _only_pointers(graph, forms):
        deferred = match_needs(graph, live, forms)
    if not cast and deferred is not None and not indexed_loads(graph):
        extent = copy_extent(graph, ranges, fragment_loads(graph))
    guards = place_guards(graph, forms) if deferred is None else no_guards(graph)
    return Lowering(
        graph=graph,
        entry_cells=live[graph.entry] if graph.entry >= 0 else 0,
        ranges=ranges,
        forms=forms,
        guards=guards,
        extent=extent,
        registers=(
            view_registers(graph, extent, deferred is not None)
            if cast
            else copy_registers(graph, extent, forms, guards, deferred is not None)
        ),
        cast=cast,
        deferred=deferred,
        flat=cast is None and deferred is not None and _is_flat(graph, extent),
    )


def _is_flat(graph: Graph, extent: CopyExtent) -> bool:
    """What is not aligned is loaded in halves, so these must be."""
    return (
        extent.frame_bytes <= FLAT_MAX
        and not indexed_loads(graph)
        and all(
            op.off % 2 == 0 or op.size == 1 for _, op in sites(graph) if isinstance(op, LoadAbs)
        )
    )


def _only_pointers(graph: Graph, forms: Forms) -> bool:
    """Whether every indexed load goes through a pointer, to where a viewed frame has its bytes."""
    return all(
        site in forms.pointers and op.off >= NEAR_VALID_FROM for site, op in indexed_loads(graph)
    )


def reads_caplen(lowering: Lowering) -> bool:
    """Whether any check is emitted."""
    return lowering.deferred is None and (
        bool(indexed_loads(lowering.graph)) or any(lowering.guards.caplen)
    )
