# SPDX-License-Identifier: Apache-2.0
"""What depends on the build of the kernel alone, kept from one start to the next.

Root keeps it under /var/cache, by the build id and the version of pwru-py. A file that is broken,
of another format, or that anybody else owns or could write, is as good as none.
"""

from __future__ import annotations

import os
import struct
from typing import Any

from .._version import __version__
from . import system

CACHE = "/var/cache/pwru-py"
KERNEL_NOTES = "/sys/kernel/notes"
FORMAT = 2
"""Of what notes hold. Raise it with every change of what is noted or how it is found."""
_OWNER = 0  # root
_BUILD_ID = 3  # NT_GNU_BUILD_ID, elf(5)


def build_id(notes: bytes) -> str:
    """The GNU build id among ELF notes, in hexadecimal; '' when there is none."""
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("=III", notes, at)
        name = notes[at + 12 : at + 12 + name_size]
        at += 12 + (name_size + 3 & ~3)
        if kind == _BUILD_ID and name == b"GNU\0":
            return notes[at : at + size].hex()
        at += size + 3 & ~3
    return ""


class Notes:
    """Notes on the running kernel, each a JSON object with a name.

    None are kept for users but root, for a kernel that tells no build id, or without ``cache``.
    ``kind``: of notes beside the others, on the same kernel.
    """

    def __init__(self, cache: str = CACHE, kind: str = "") -> None:
        build = "" if os.geteuid() or not cache else build_id(system.read(KERNEL_NOTES) or b"")
        self._stem = f"{cache}/{build}-{__version__}{kind}" if build else ""

    def load(self, name: str) -> dict[str, Any] | None:
        """None when there is none that can be believed."""
        import json

        if not self._stem:
            return None
        try:
            with open(f"{self._stem}-{name}.json", encoding="utf-8") as stream:
                found = os.fstat(stream.fileno())
                if found.st_uid != _OWNER or found.st_mode & 0o022:
                    return None
                kept = json.load(stream)
        except (OSError, ValueError):
            return None
        if not isinstance(kept, dict) or kept.get("format") != FORMAT:
            return None
        note = kept.get("note")
        return note if isinstance(note, dict) else None

    def save(self, name: str, note: dict[str, Any]) -> None:
        """Whole or not at all; a place that cannot be written is no reason to complain."""
        import json

        if not self._stem:
            return
        target = f"{self._stem}-{name}.json"
        fresh = f"{target}.{os.getpid()}"
        try:
            os.makedirs(os.path.dirname(target), mode=0o755, exist_ok=True)
            fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
            with open(fd, "w", encoding="utf-8") as stream:
                json.dump({"format": FORMAT, "note": note}, stream)
            os.rename(fresh, target)
        except OSError:
            try:
                os.unlink(fresh)
            except OSError:
                pass
