# SPDX-License-Identifier: Apache-2.0
"""The running kernel's types, read when first asked for; notes keep what every start asks.

Walking the BTF of a kernel takes as long as the rest of a start.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from typing import Any, Protocol

from ..errors import FeatureUnsupportedError
from ..facts.btf import Btf, Kind, is_archive
from ..facts.features import Features
from ..facts.header_types import BTF_NAME
from ..kernel import system
from ..kernel.files import MemoryFile
from ..kernel.headers import HeaderTypes
from ..kernel.notes import CACHE, Notes
from ..options.config import Config, Engine
from ..plan.candidates import Arguments, Functions
from ..plan.tracepoints import Tracepoint, find_tracepoints

_NOTE, _MADE = "types", "btf"


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


class TypesSource(Protocol):
    """What makes the kernel's types where it does not tell them itself."""

    def missing(self) -> list[str]:
        """Packages that it needs and that are not here."""

    def raw(self) -> bytes:
        """BTF of the running kernel. Raises FeatureUnsupportedError, NotFoundError."""


class KernelTypes:
    """``path``: a file in place of the kernel's own BTF; then nothing is remembered.

    ``source``: what makes its BTF; what it has made is kept in notes. ``own``: the kernel tells its
    types itself. ``made``: a source does.
    """

    def __init__(
        self, path: str = "", cache: str = CACHE, source: TypesSource | None = None
    ) -> None:
        self._path = path
        self._source = source
        self.made = source is not None
        self.own = not self.made and system.has_own_btf()
        self.notes = Notes("" if path else cache, "-made" if self.made else "")
        self._btf: Btf | None = None
        self._file: MemoryFile | None = None
        self._made: bytes | None = None

    @property
    def file(self) -> str:
        """What libbpf is to read, '' where the kernel tells its types itself."""
        if self.own:
            return ""
        if self._source is None and not is_archive(self._path):
            return self._path
        if self._file is None:
            self._file = MemoryFile(self._raw())
        return self._file.path

    def _raw(self) -> bytes:
        """Of a source, or of what a file holds."""
        if self._source is None:
            return system.file_btf(self._path)
        if self._made is None:
            self._made = self._kept or self._make(self._source)
        return self._made

    @property
    def compiles(self) -> bool:
        """Whether a compiler is run for them first, which takes seconds."""
        if self._source is None or self._made is not None:
            return False
        return not self._kept and not self._source.missing()

    @cached_property
    def _kept(self) -> bytes:
        note = self.notes.load(_MADE)
        try:
            return b64decode(note["btf"], validate=True) if note else b""
        except (KeyError, TypeError, ValueError):
            return b""

    def _make(self, source: TypesSource) -> bytes:
        missing = " ".join(source.missing())
        if missing:
            why = "" if system.has_own_btf() else f"this kernel has no BTF ({system.VMLINUX_BTF}): "
            raise FeatureUnsupportedError(
                f"{why}to have its types by its headers, install {missing}; or give a file with "
                "BTF for exactly this kernel as `kernel_btf`",
                feature="BTF",
            )
        raw = source.raw()
        self.notes.save(_MADE, {"btf": b64encode(raw).decode()})
        return raw

    @property
    def locks_memory(self) -> bool:
        """Whether memory of maps counts as locked: until 5.11, commit 80ee81e0403c."""
        return bool(self.btf.named("bpf_map_memory", (Kind.STRUCT,)))

    @property
    def btf(self) -> Btf:
        """All types. Raises FeatureUnsupportedError, NotFoundError."""
        if self._btf is None:
            if self.made:
                self._btf = Btf(self._raw(), name=BTF_NAME)
            else:
                self._btf = system.vmlinux_btf(self._path)
        return self._btf

    def module_btfs(self, names: tuple[str, ...], every: bool) -> list[Btf]:
        """As ``system.module_btfs``; where types are made, no module has any.

        ``every`` is refused before then: see ``prepare``.
        """
        if not self.made:
            return system.module_btfs(self.btf, names, every)
        if {*names} - {*system.built_in(names)}:
            raise FeatureUnsupportedError(
                "the kernel's headers tell nothing of functions of modules: leave `kmods` out",
                feature="module BTF",
            )
        return []

    def known(self) -> Known:
        """From the notes where that is possible. Raises as ``btf`` does."""
        if not self.own:
            found = Known.of(self.btf)
            features = found.features.without_own_btf()
            if self.made:  # whose numbers are not the kernel's
                features = replace(features, fentry_multi=0, session=0)
            return replace(found, features=features)
        if self._path:
            return Known.of(self.btf)
        noted = Known.from_note(self.notes.load(_NOTE))
        if noted is not None:
            return noted
        found = Known.of(self.btf)
        self.notes.save(_NOTE, found.note())
        return found


def kernel_types(config: Config) -> KernelTypes:
    """By the engine that is asked for, or that fits."""
    without = config.engine is Engine.AUTO and not config.kernel_btf and not system.has_own_btf()
    if config.engine is not Engine.BCC and not without:
        return KernelTypes(config.kernel_btf)
    return KernelTypes(source=HeaderTypes())
