# SPDX-License-Identifier: Apache-2.0
"""The running kernel's types: read when first asked for, and what every start asks remembered.

Walking the BTF of a kernel takes as long as the rest of a start. What comes of it depends on the
build of the kernel alone, so root keeps it under /var/cache, by the build id.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from .._version import __version__
from ..btf import Btf
from ..plan import Arguments, Candidates, find_candidates
from . import system
from .features import Features

CACHE = "/var/cache/pwru-py"
NOTES = "/sys/kernel/notes"
_OWNER = 0  # root
_BUILD_ID = 3  # NT_GNU_BUILD_ID, elf(5)


@dataclass(frozen=True, slots=True)
class Known:
    """What a start needs to know of the kernel's types; ``reasons`` as for ``Reasons``."""

    features: Features
    candidates: Candidates
    reasons: Mapping[str, int]
    subsystems: Mapping[str, int]

    @classmethod
    def of(cls, btf: Btf) -> Known:
        return cls(
            Features.of(btf),
            find_candidates(btf),
            btf.enum("skb_drop_reason"),
            btf.enum("skb_drop_reason_subsys"),
        )


class KernelTypes:
    """``path``: a file in place of the kernel's own BTF; then nothing is remembered."""

    def __init__(self, path: str = "", cache: str = CACHE) -> None:
        self._path = path
        self._cache = cache
        self._btf: Btf | None = None

    @property
    def btf(self) -> Btf:
        """All types. Raises FeatureUnsupportedError, NotFoundError."""
        if self._btf is None:
            self._btf = system.vmlinux_btf(self._path)
        return self._btf

    def known(self) -> Known:
        """From the cache where that is possible. Raises as ``btf`` does."""
        build = "" if self._path else build_id(system.read(NOTES) or b"")
        if not build or os.geteuid() or not os.path.exists(system.VMLINUX_BTF):
            return Known.of(self.btf)
        name = f"{self._cache}/{build}-{__version__}.json"
        found = _load(name)
        if found is None:
            found = Known.of(self.btf)
            _save(name, found)
        return found


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


def _load(name: str) -> Known | None:
    """None when it is absent, broken or anybody else could have written it."""
    import json

    try:
        with open(name, encoding="utf-8") as stream:
            found = os.fstat(stream.fileno())
            if found.st_uid != _OWNER or found.st_mode & 0o022:
                return None
            kept = json.load(stream)
        if {field.name for field in fields(Features)} != set(kept["features"]):
            return None
        return Known(
            Features(**kept["features"]),
            {
                name: [Arguments(*a) for a in several]
                for name, several in kept["candidates"].items()
            },
            kept["reasons"],
            kept["subsystems"],
        )
    except (OSError, ValueError, TypeError, KeyError, AttributeError):
        return None


def _save(name: str, known: Known) -> None:
    """Whole or not at all; a place that cannot be written is no reason to complain."""
    import json

    kept = {
        "features": asdict(known.features),
        "candidates": {name: sorted(several) for name, several in known.candidates.items()},
        "reasons": dict(known.reasons),
        "subsystems": dict(known.subsystems),
    }
    fresh = f"{name}.{os.getpid()}"
    try:
        os.makedirs(os.path.dirname(name), mode=0o755, exist_ok=True)
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o644)
        with open(fd, "w", encoding="utf-8") as stream:
            json.dump(kept, stream)
        os.rename(fresh, name)
    except OSError:
        try:
            os.unlink(fresh)
        except OSError:
            pass
