# SPDX-License-Identifier: Apache-2.0
"""The names of the drop reasons that a kernel can give, from its BTF and its modules'.

``python -m tests.reason_names`` prints those of the running kernel. ``tests/unit/reason_names``
holds what it printed in a guest of each kernel, with all modules loaded that have reasons::

    python -m tests.vm.guest --kernel 6.12 -- \
        'modprobe -a openvswitch mac80211; python -m tests.reason_names'
"""

from __future__ import annotations

from collections.abc import Iterable

from pwru_py.facts.btf import Btf
from pwru_py.facts.meanings import bare_reason
from pwru_py.kernel import system

MODULES = ("openvswitch", "mac80211")
"""All that have reasons of their own (``git grep drop_reasons_register_subsys``)."""

_SUBSYSTEM_SHIFT = 16
_BOUNDS = ("_MAX", "_MASK", "_DROP_REASON")
"""Ends of the names that only mark where an enum, or a subsystem in it, begins and ends."""


def reason_names(btfs: Iterable[Btf]) -> list[str]:
    """Sorted, without prefixes. ``btfs``: the kernel's, then the modules'."""
    return sorted({name for btf in btfs for name in _own(btf)})


def _own(btf: Btf) -> Iterable[str]:
    for enum in btf.enum_names():
        if not enum.endswith("drop_reason"):
            continue
        for name, value in btf.enum(enum).items():
            core = enum == "skb_drop_reason"
            if not name.endswith(_BOUNDS) and (core or value >> _SUBSYSTEM_SHIFT):
                yield bare_reason(name)


if __name__ == "__main__":
    vmlinux = system.vmlinux_btf()
    print(*reason_names([vmlinux, *system.module_btfs(vmlinux, (), every=True)]), sep="\n")
