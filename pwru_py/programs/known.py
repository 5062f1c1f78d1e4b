# SPDX-License-Identifier: Apache-2.0
"""The running kernel's types, read when first asked for; notes keep what every start asks.

Walking the BTF of a kernel takes as long as the rest of a start.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from typing import Any

from ..facts.btf import Btf, Kind
from ..facts.features import Features
from ..kernel import system
from ..kernel.notes import CACHE, Notes
from ..plan.candidates import Arguments, Functions
from ..plan.tracepoints import Tracepoint, find_tracepoints

_NOTE = "types"


@dataclass(frozen=True, slots=True)
class Known:
    """What a start needs to know of the kernel's types; ``reasons`` as for ``Reasons``."""

    features: Features
    functions: Functions
    tracepoints: Sequence[Tracepoint]
    reasons: Mapping[str, int]
    subsystems: Mapping[str, int]

    @classmethod
    def of(cls, btf: Btf) -> Known:
        return cls(
            Features.of(btf),
            Functions.of(btf),
            find_tracepoints(btf),
            btf.enum("skb_drop_reason"),
            btf.enum("skb_drop_reason_subsys"),
        )

    @classmethod
    def from_note(cls, note: dict[str, Any] | None) -> Known | None:
        try:
            if note is None or {field.name for field in fields(Features)} != set(note["features"]):
                return None
            return cls(
                Features(**note["features"]),
                Functions(
                    {
                        name: [Arguments(*a) for a in several]
                        for name, several in note["candidates"].items()
                    },
                    dict(note["indirect"]),
                    note["consistent"],
                ),
                [Tracepoint(*tracepoint) for tracepoint in note["tracepoints"]],
                note["reasons"],
                note["subsystems"],
            )
        except (TypeError, KeyError, AttributeError):
            return None

    def note(self) -> dict[str, Any]:
        return {
            "features": asdict(self.features),
            "candidates": {
                name: sorted(several) for name, several in self.functions.candidates.items()
            },
            "indirect": dict(self.functions.indirect),
            "consistent": self.functions.consistent,
            "tracepoints": list(self.tracepoints),
            "reasons": dict(self.reasons),
            "subsystems": dict(self.subsystems),
        }


class KernelTypes:
    """``path``: a file in place of the kernel's own BTF; then nothing is remembered.

    ``own``: the kernel tells its types itself. ``file``: what libbpf is to read where it does not.
    """

    def __init__(self, path: str = "", cache: str = CACHE) -> None:
        self._path = path
        self.own = system.has_own_btf()
        self.file = "" if self.own else path
        self.notes = Notes("" if path else cache)
        self._btf: Btf | None = None

    @property
    def locks_memory(self) -> bool:
        """Whether memory of maps counts as locked: until 5.11, commit 80ee81e0403c."""
        return bool(self.btf.named("bpf_map_memory", (Kind.STRUCT,)))

    @property
    def btf(self) -> Btf:
        """All types. Raises FeatureUnsupportedError, NotFoundError."""
        if self._btf is None:
            self._btf = system.vmlinux_btf(self._path)
        return self._btf

    def known(self) -> Known:
        """From the notes where that is possible. Raises as ``btf`` does."""
        if not self.own:
            found = Known.of(self.btf)
            return replace(found, features=found.features.without_own_btf())
        if self._path:
            return Known.of(self.btf)
        noted = Known.from_note(self.notes.load(_NOTE))
        if noted is not None:
            return noted
        found = Known.of(self.btf)
        self.notes.save(_NOTE, found.note())
        return found
