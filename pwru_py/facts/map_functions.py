# SPDX-License-Identifier: Apache-2.0
"""Functions of BPF maps: what they are given beside the map, and what they find. Pure.

Programs call them in place of the helpers (``do_misc_fixups()`` in kernel/bpf/verifier.c), but for
arrays, whose elements they find by themselves (``array_map_gen_lookup()``, kernel/bpf/arraymap.c).
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import IntEnum

from .btf import Btf, Kind, TypeId


class MapFunction(IntEnum):
    """enum map_function of ``bpf/event.h``."""

    NONE, KEY, KEY_VALUE, VALUE, FILLS, FINDS, ELEMENT = range(7)


_KINDS = (
    (MapFunction.ELEMENT, "__htab_map_lookup_elem"),
    (MapFunction.FINDS, r"(percpu_)?array_map_lookup(_percpu)?_elem|trie_lookup_elem"),
    (MapFunction.FINDS, r"htab(_lru)?(_percpu)?_map_lookup(_percpu)?_elem"),
    (MapFunction.FILLS, r"(queue|stack)_map_(pop|peek)_elem"),
    (MapFunction.VALUE, r"(queue_stack|bloom)_map_(push|peek)_elem"),
    (MapFunction.KEY_VALUE, r"(?!bpf_fd_)\w+_update_elem"),
    (MapFunction.KEY, r"\w+_(lookup|delete)_elem"),
)
"""By their names (kernel/bpf/hashtab.c, arraymap.c, lpm_trie.c, queue_stack_maps.c,
bloom_filter.c). Other lookups return what is no value of a map: another map, a socket, a device."""


def map_function(name: str) -> MapFunction:
    """What a function whose first argument is a map does, by its name."""
    for kind, pattern in _KINDS:
        if re.fullmatch(pattern, name):
            return kind
    return MapFunction.NONE


def find_map_functions(btf: Btf) -> dict[str, MapFunction]:
    """Those of one BTF."""
    takes: dict[TypeId, bool] = {}
    found: dict[str, MapFunction] = {}
    for at, proto in btf.function_protos():
        if proto not in takes:
            takes[proto] = _takes_map(btf, proto)
        if takes[proto]:
            name = btf.name_at(at)
            kind = map_function(name)
            if kind is not MapFunction.NONE:
                found[name] = kind
    return found


def _takes_map(btf: Btf, proto: TypeId) -> bool:
    types: Iterable[int] = btf.parameter_types(proto)
    first, *others = types or (0,)
    if not others:
        return False
    pointer = btf.resolve(TypeId(first))
    if btf.kind(pointer) is not Kind.PTR:
        return False
    return btf.type_name(btf.resolve(btf.target(pointer))) == "bpf_map"
