# SPDX-License-Identifier: Apache-2.0
"""Which eBPF registers hold the values that live for the whole program."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from ..frame import ETHERTYPE, MAC_BYTES, NEAR, NEAR_VALID_FROM, PACKET
from .copy_extent import CopyExtent
from .guards import Guards
from .ir import CELL_X, Graph, LoadAbs, LoadInd, defines, indexed_loads, sites, successors
from .webs import Forms


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


def view_registers(graph: Graph, extent: CopyExtent, deferred: bool) -> Registers:
    """For a viewed frame; deferred: checks wait for the verdict."""
    if not extent.slow and not indexed_loads(graph):
        return VIEW_LEAF
    if not deferred:
        return VIEW_CALLING
    return VIEW_DEFERRED_FRAME if _looks_into_frame(graph, extent) else VIEW_DEFERRED


def _looks_into_frame(graph: Graph, extent: CopyExtent) -> bool:
    """Whether a viewed frame's struct has something that a register or the packet has not."""
    return (
        extent.needs_link
        or extent.needs_length
        or any(
            isinstance(op, LoadAbs) and op.off < NEAR_VALID_FROM and not is_ethertype(op)
            for _, op in sites(graph)
        )
    )


def is_ethertype(op: LoadAbs) -> bool:
    """The load that nearly every filter begins with."""
    return (op.size, op.off) == (2, MAC_BYTES)


def copy_registers(
    graph: Graph, extent: CopyExtent, forms: Forms, guards: Guards, deferred: bool
) -> Registers:
    """For a copied frame; deferred: checks wait for the verdict."""
    if extent.slow:
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
