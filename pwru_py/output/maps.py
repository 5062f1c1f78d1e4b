# SPDX-License-Identifier: Apache-2.0
"""What a function of BPF maps is given, as a line and in JSON. Pure."""

from __future__ import annotations

from typing import Any

from ..record.event import Event, MapAccess

_BYTES = {"type": ["string", "null"], "pattern": "^([0-9a-f]{2})*$"}
_SIZE = {"type": "integer", "minimum": 0}
MAP_SCHEMA: dict[str, Any] = {
    "description": "Of a function that is given a BPF map: which, and its key and value. null of "
    "every other function. Only with --output-bpfmap.",
    "type": ["object", "null"],
    "properties": {
        "id": {"type": "integer", "minimum": 1, "description": "Its number, as bpftool has it."},
        "name": {"type": "string", "description": "Escaped as in comm; '' where it has none."},
        "key_size": {**_SIZE, "description": "Bytes of a key."},
        "value_size": {**_SIZE, "description": "Bytes of a value."},
        "key": {
            **_BYTES,
            "description": "In hexadecimal, as it lies in memory, 128 bytes at most; null where "
            "the function has none, or it could not be read.",
        },
        "value": {
            **_BYTES,
            "description": "What is written, or, where the function returns, what it has found; "
            "512 bytes at most; null where there is none.",
        },
    },
    "required": ["id", "name", "key_size", "value_size", "key", "value"],
    "additionalProperties": False,
}


def json_map(event: Event) -> dict[str, Any] | None:
    access = event.bpf_map
    if access is None:
        return None
    return {
        "id": access.id,
        "name": access.name,
        "key_size": access.key_size,
        "value_size": access.value_size,
        "key": None if access.key is None else access.key.hex(),
        "value": None if access.value is None else access.value.hex(),
    }


def map_text(access: MapAccess) -> str:
    """``map 12 services: key 0a000001 0050, value 00000001``; cut short ends with ``…``."""
    parts = [
        f"{name} {found.hex(' ', -4)}{'…' if len(found) < size else ''}"
        for name, found, size in (
            ("key", access.key, access.key_size),
            ("value", access.value, access.value_size),
        )
        if found is not None
    ]
    head = f"map {access.id} {access.name}".rstrip()
    return f"{head}: {', '.join(parts)}" if parts else head
