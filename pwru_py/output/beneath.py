# SPDX-License-Identifier: Apache-2.0
"""Lines beneath an event: rules of netfilter, its stack, a BPF map, raw parts of its sk_buff."""

from __future__ import annotations

from collections.abc import Iterator

from ..facts.structures import Structure
from ..record.dropped_by import dropped_by_text
from ..record.event import Event
from .fields import View
from .formats import format_frame
from .maps import map_text
from .verdicts import step_text

INDENT = "    "


def beneath_names(view: View) -> list[str]:
    """The fields of an event that a view has lines of."""
    shown = {
        "nf_path": view.nf_path,
        "dropped_by": view.rules,
        "stack": view.stack,
        "bpf_map": view.maps,
        "cb": view.cb,
        "sk_buff": view.sk_buff,
        "shared_info": view.shared_info,
    }
    return [name for name, wanted in shown.items() if wanted]


def rule_lines(event: Event) -> Iterator[str]:
    """The rules that it met, and what in netfilter dropped it, if that did."""
    for step in event.nf_path:
        yield INDENT + step_text(step)
    if event.dropped_by is not None:
        yield INDENT + dropped_by_text(event.dropped_by)


def stack_lines(event: Event) -> Iterator[str]:
    """A line for each frame."""
    return (f"{INDENT}{format_frame(frame)}" for frame in event.stack)


def structure_lines(event: Event) -> Iterator[str]:
    """The BPF map, the control block, then the structures, of those that the event has."""
    if event.bpf_map is not None:
        yield INDENT + map_text(event.bpf_map)
    if event.cb:
        yield f"{INDENT}cb [{','.join(f'0x{word:08x}' for word in event.cb)}]"
    for structure in (event.sk_buff, event.shared_info):
        if isinstance(structure, Structure):
            for line in structure.text().split("\n"):
                yield INDENT + line
