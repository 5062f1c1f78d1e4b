# SPDX-License-Identifier: Apache-2.0
"""A stack's frame in JSON, and the schema of that."""

from __future__ import annotations

from typing import Any

from ..record.event import Frame


def json_frame(frame: Frame) -> dict[str, Any]:
    """As ``FRAME_SCHEMA`` describes."""
    return {
        "symbol": frame.symbol or None,
        "offset": frame.offset,
        "module": frame.module,
        "addr": hex(frame.addr),
    }


FRAME_SCHEMA: dict[str, Any] = {
    "type": "object",
    "properties": {
        "symbol": {
            "description": "The function that the address is in; null when that is not known.",
            "type": ["string", "null"],
        },
        "offset": {
            "description": "Bytes from its beginning, 0 when that is not known.",
            "type": "integer",
            "minimum": 0,
        },
        "module": {"description": "Its module, '' for the kernel itself.", "type": "string"},
        "addr": {
            "description": "The address that the kernel returns to.",
            "type": "string",
            "pattern": "^0x[0-9a-f]{1,16}$",
        },
    },
    "required": ["symbol", "offset", "module", "addr"],
}
