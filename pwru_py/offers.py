# SPDX-License-Identifier: Apache-2.0
"""``--complete KIND PREFIX``, which the scripts of ``--completion`` ask: names that begin so.

Names are other people's: a shell must not read anything into one. What is made of other characters
than those of an ordinary name is not offered.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable

_PLAIN = re.compile(r"@?[A-Za-z0-9_][A-Za-z0-9_.@+-]*")
_NAMESPACES, _INTERFACES = "/run/netns", "/sys/class/net"


def offers(kind: str, prefix: str) -> list[str]:
    """In order; nothing for a kind that there is not, or that cannot be read."""
    try:
        found = _KINDS[kind]()
    except (KeyError, OSError):
        return []
    return sorted(name for name in {*found} if name.startswith(prefix) and _PLAIN.fullmatch(name))


def _folder(path: str) -> Callable[[], Iterable[str]]:
    return lambda: os.listdir(path)


def _modules() -> Iterable[str]:
    from .kernel.system import loaded_modules

    return loaded_modules()


def _functions() -> Iterable[str]:
    """Sets, and those that take an sk_buff, by the kernel's BTF: some cannot be probed."""
    from .errors import PwruError
    from .facts.function_sets import SETS
    from .programs.known import KernelTypes

    try:
        found: Iterable[str] = KernelTypes().known().functions.candidates
    except PwruError:
        found = ()
    return (*(f"@{name}" for name in SETS), *found)


def _explained() -> Iterable[str]:
    from .facts.meanings import functions, reasons

    return (*reasons(), *functions())


_KINDS: dict[str, Callable[[], Iterable[str]]] = {
    "ifname": _folder(_INTERFACES),
    "netns": _folder(_NAMESPACES),
    "module": _modules,
    "func": _functions,
    "explained": _explained,
}
