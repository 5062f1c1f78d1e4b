# SPDX-License-Identifier: Apache-2.0
"""Drop reasons by name, from the enums of the running kernel and its modules. Pure.

``enum skb_drop_reason`` (include/net/dropreason-core.h) holds the core's; the upper 16 bits of a
value name a subsystem (include/net/dropreason.h) whose own enum lives in its module's BTF.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from .btf import Btf

_PREFIXES = ("SKB_DROP_REASON_", "SKB_")
_SUBSYSTEM_SHIFT = 16
_NOT_DROPS = ("NOT_DROPPED_YET", "CONSUMED")


def _strip(name: str) -> str:
    for prefix in _PREFIXES:
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


class Reasons:
    """Names of drop reasons.

    ``core``: ``enum skb_drop_reason``; ``subsystems``: ``enum skb_drop_reason_subsys``. ``btfs``,
    the kernel's and the modules', is asked once, when a subsystem's reason first occurs.
    """

    @classmethod
    def of(cls, vmlinux: Btf, modules: Callable[[], Iterable[Btf]]) -> Reasons:
        """From BTF alone."""
        core, subsystems = vmlinux.enum("skb_drop_reason"), vmlinux.enum("skb_drop_reason_subsys")
        return cls(core, subsystems, lambda: (vmlinux, *modules()))

    def __init__(
        self,
        core: Mapping[str, int],
        subsystems: Mapping[str, int],
        btfs: Callable[[], Iterable[Btf]],
    ) -> None:
        self._names = {value: _strip(name) for name, value in core.items() if "MASK" not in name}
        self._subsystems = {
            value: name.removeprefix("SKB_DROP_REASON_SUBSYS_")
            for name, value in subsystems.items()
        }
        self._btfs: Callable[[], Iterable[Btf]] | None = btfs
        self.known = bool(core)
        """Whether this kernel has drop reasons at all (5.17 and later)."""
        self.knows_consumed = "CONSUMED" in self._names.values()
        """Whether what is freed without being dropped has a reason of its own (6.4 and later)."""
        self._not_drops = frozenset(v for v, name in self._names.items() if name in _NOT_DROPS)

    def name(self, value: int) -> str:
        """The reason without ``SKB_DROP_REASON_``; ``SUBSYSTEM_N`` or ``REASON_N`` if unknown."""
        name = self._names.get(value)
        if name is None:
            if value >> _SUBSYSTEM_SHIFT and self._btfs is not None:
                self._read_subsystems()
                return self.name(value)
            name = self._unknown(value)
            if len(self._names) < 65536:
                self._names[value] = name
        return name

    def is_drop(self, value: int) -> bool:
        """False for the two values that say "not dropped"."""
        return value not in self._not_drops

    def _unknown(self, value: int) -> str:
        subsystem = self._subsystems.get(value >> _SUBSYSTEM_SHIFT)
        if subsystem is None or value >> _SUBSYSTEM_SHIFT == 0:
            return f"REASON_{value}"
        return f"{subsystem}_{value & 0xFFFF}"

    def _read_subsystems(self) -> None:
        btfs, self._btfs = self._btfs, None
        for btf in btfs() if btfs else ():
            for name in btf.enum_names():
                if name.endswith("drop_reason") and name != "skb_drop_reason":
                    for text, value in btf.enum(name).items():
                        if value >> _SUBSYSTEM_SHIFT:
                            self._names.setdefault(value, text)
