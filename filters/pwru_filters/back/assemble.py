# SPDX-License-Identifier: Apache-2.0
"""Pass 13: instructions with labels -> instructions with offsets."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final

from ..errors import FilterTooLargeError
from .ebpf import EbpfInsn

MAX_JUMP: Final = (1 << 15) - 1

# A label is a block index, a verdict (ir.MATCH, ir.REJECT) or another negative number.
Label = int


@dataclass(frozen=True, slots=True)
class Item:
    """An instruction. target: where it jumps to, None if it does not."""

    insn: EbpfInsn
    target: Label | None = None


@dataclass(frozen=True, slots=True)
class Mark:
    """The place of a label: the next instruction, or the end."""

    label: Label


def assemble(code: list[Item | Mark]) -> tuple[EbpfInsn, ...]:
    """Fill in the jump offsets; a jump to the next instruction, of any kind, is left out.

    Invariant: jumps go forward, at most 32767 instructions. Raises FilterTooLargeError.
    """
    items, places = _number_items(_without_idle_jumps(code))
    return tuple(_resolve(item, index, places) for index, item in enumerate(items))


def _without_idle_jumps(code: list[Item | Mark]) -> list[Item | Mark]:
    kept: list[Item | Mark] = []
    following: set[Label] = set()
    for entry in reversed(code):
        if isinstance(entry, Mark):
            following.add(entry.label)
        elif entry.target in following:
            continue
        else:
            following = set()
        kept.append(entry)
    kept.reverse()
    return kept


def _number_items(code: list[Item | Mark]) -> tuple[list[Item], dict[Label, int]]:
    items: list[Item] = []
    places: dict[Label, int] = {}
    for entry in code:
        if isinstance(entry, Mark):
            places[entry.label] = len(items)
        else:
            items.append(entry)
    return items, places


def _resolve(item: Item, index: int, places: dict[Label, int]) -> EbpfInsn:
    if item.target is None:
        return item.insn
    distance = places[item.target] - index - 1
    if distance > MAX_JUMP:
        raise FilterTooLargeError(distance, MAX_JUMP, "eBPF instructions in one jump")
    return replace(item.insn, off=distance)
