# SPDX-License-Identifier: Apache-2.0
"""Values of a saved line, each of the type that the schema says. Pure.

A file may come from anybody: whatever is not as the schema says raises ``SavedError``, and text is
escaped again.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from ..escape import printable, quote

Record = Mapping[str, Any]
U8, U16, U32, U64 = ((1 << bits) - 1 for bits in (8, 16, 32, 64))
HEX = re.compile("0x[0-9a-f]{1,16}")


class SavedError(ValueError):
    """A line is not what pwru-py writes. Its text says what is wrong."""


def _get(record: Record, key: str, kind: type, default: object) -> Any:
    if key not in record:
        if default is not _Needed:
            return default
        raise SavedError(f"{quote(key)} is missing")
    value: Any = record[key]
    if type(value) is not kind and not (value is None and default is None):
        raise SavedError(f"{quote(key)} cannot be {type(value).__name__}")
    return value


class _Needed:
    """In place of a default."""


def read_int(
    record: Record, key: str, default: object = _Needed, *, least: int = 0, most: int = U64
) -> int:
    """From ``least`` to ``most``."""
    value: int = _get(record, key, int, default)
    if not least <= value <= most:
        raise SavedError(f"{quote(key)} is not from {least} to {most}")
    return value


def read_optional(record: Record, key: str, *, most: int = U64) -> int | None:
    """None where it is null or absent."""
    return None if record.get(key) is None else read_int(record, key, most=most)


def read_text(record: Record, key: str, default: object = _Needed) -> str:
    """Escaped; '' where it is null."""
    return printable(_get(record, key, str, default) or "")


def read_bool(record: Record, key: str, default: object = _Needed) -> bool:
    return bool(_get(record, key, bool, default))


def read_object(record: Record, key: str) -> Record | None:
    """None where it is null or absent."""
    value: Record | None = _get(record, key, dict, None)
    return value


def read_list(record: Record, key: str) -> list[Any]:
    """Empty where it is null or absent."""
    value: list[Any] = _get(record, key, list, None)
    return value or []


def read_address(record: Record, key: str) -> int:
    """Of ``0x…``."""
    text = read_text(record, key)
    if not HEX.fullmatch(text):
        raise SavedError(f"{quote(key)} is no address")
    return int(text, 16)
