# SPDX-License-Identifier: Apache-2.0
"""Which functions the running kernel lets be probed, and where they are."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from ..errors import FeatureUnsupportedError, PrivilegeError
from ..facts.kallsyms import (
    TEXT,
    Symbol,
    Symbols,
    blacklist,
    filter_functions,
    find_addresses,
    find_nearest,
    find_sizes,
)
from ..kernel import system
from ..kernel.notes import Notes
from ..plan.functions import Attachable

Name = tuple[str, str]
"""A function and its module, '' for the kernel."""

# Notes: where ftrace's calls are; where functions begin; where variables are.
_CALLS, _ENTRIES, _VARIABLES = "functions", "entries", "variables"
_KALLSYMS_BUFFER = 1 << 18


def find_attachable(names: set[Name], notes: Notes, *, kprobes: bool, ids: bool) -> Attachable:
    """Which of ``names`` may be probed.

    ftrace's list says so, or kallsyms where tracefs cannot be had. ``notes``: to read and keep the
    answer in, when all starts ask for the same functions; else notes that keep nothing.
    ``kprobes``: probes are kprobes, some of which the kernel refuses, and addresses are those of
    entries. ``ids``: no addresses are needed. Raises PrivilegeError when addresses are needed and
    hidden.
    """
    note = _ENTRIES if kprobes else _CALLS
    functions = _remembered(names, notes, note, ids)
    source = system.FTRACE
    if functions is None:
        functions = _listed(names, located=not kprobes)
        if functions is None:
            functions, source = _from_kallsyms(names), "kallsyms"
        elif not ids and not all(map(all, functions.values())):
            functions = _from_kallsyms(functions)
        if source == system.FTRACE:
            _remember(functions, notes, note)
    refused = frozenset[str]()
    if kprobes or source != system.FTRACE:
        refused = frozenset(blacklist(system.read(system.BLACKLIST) or b""))
    return Attachable(functions, source, refused)


def _listed(names: set[Name], located: bool) -> dict[Name, list[int]] | None:
    """ftrace's list, with zeros; if ``located``, with addresses (Linux 6.5, 83f74441bcb1)."""
    text = system.tracefs_file(f"{system.FTRACE}_addrs") if located else None
    if text:
        return filter_functions(text, names, True)
    text = system.tracefs_file(system.FTRACE)
    return filter_functions(text, names, False) if text else None


def _from_kallsyms(names: Iterable[Name]) -> dict[Name, list[int]]:
    if not system.addresses_visible():
        raise _hidden()
    found: dict[Name, list[int]] = {}
    for addr, name in find_symbols(names, TEXT).items():
        found.setdefault(name, []).append(addr)
    return found


def _remembered(
    names: set[Name], notes: Notes, name: str, ids: bool
) -> dict[Name, list[int]] | None:
    """The kernel's own functions stay where they are from the start of its text; modules do not."""
    if any(module for _name, module in names):
        return None
    note = notes.load(name)
    start = None if ids else system.text_start()
    if note is None or (start is None and not ids):
        return None
    try:
        return {
            (function, ""): [0 if start is None else start + offset for offset in offsets]
            for function, offsets in note.items()
        }
    except TypeError:
        return None


def _remember(functions: dict[Name, list[int]], notes: Notes, name: str) -> None:
    start = system.text_start()
    if start is None or any(module for _name, module in functions):
        return
    if all(map(all, functions.values())):
        note = {
            function: [a - start for a in addrs] for (function, _module), addrs in functions.items()
        }
        notes.save(name, note)


def find_symbols(names: Iterable[Name], kinds: bytes = b"") -> dict[int, Name]:
    """Address to (name, module) of the running kernel's symbols, see ``find_addresses``."""
    with open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER) as lines:
        return find_addresses(lines, names, kinds)


def find_function_sizes(addrs: Iterable[int]) -> dict[int, int]:
    """Bytes of functions of the running kernel, by their addresses, see ``find_sizes``."""
    with open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER) as lines:
        return find_sizes(lines, addrs)


def find_variables(names: Sequence[str], notes: Notes) -> dict[str, int]:
    """Addresses of those of the kernel's variables that it lists; per-CPU ones as it lists them.

    Walking all symbols takes as long as the rest of a start, so the places are noted: those behind
    the start of the text from there, and per-CPU ones, which are offsets on most kernels, as they
    are.
    """
    start = system.text_start()
    if start is None:
        return {}
    noted = notes.load(_VARIABLES) or {}
    if not noted.keys() >= set(names):
        found = {name: addr for addr, (name, _) in find_symbols((n, "") for n in names).items()}
        noted |= {name: _place(found.get(name), start) for name in names}
        notes.save(_VARIABLES, noted)
    return {
        name: offset + (start if relative else 0)
        for name in names
        if (place := noted[name])
        for relative, offset in [place]
    }


def _place(addr: int | None, start: int) -> tuple[bool, int] | None:
    if addr is None:
        return None
    return (True, addr - start) if addr > start else (False, addr)


def symbol_names() -> Iterator[str]:
    """Names of all symbols of the kernel and its modules."""
    with open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER) as lines:
        for line in lines:
            yield line[19:].split(None, 1)[0].decode(errors="replace")


def nearest_symbol(addr: int) -> Symbol | None:
    """The text symbol that ``addr`` lies in; keeps nothing of all others."""
    try:
        with open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER) as lines:
            return find_nearest(lines, addr)
    except OSError:
        return None


def read_symbols() -> Symbols:
    """All text symbols of the running kernel. Raises PrivilegeError when they are hidden."""
    try:
        with open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER) as lines:
            symbols = Symbols(lines)
    except OSError:
        raise _hidden() from None
    if not symbols.visible:
        raise _hidden()
    return symbols


_PRESENT = 0.9
"""Of the functions that a kernel's BTF has, at least so many are among its symbols."""


def check_symbols(names: Iterable[str], path: str) -> None:
    """Whether the BTF of ``path``, which has these functions, can be that of the running kernel.

    Raises FeatureUnsupportedError when it is not.
    """
    if not system.addresses_visible():
        raise _hidden()
    wanted = {(name, "") for name in names}
    found = set(find_symbols(wanted, TEXT).values())
    if len(found) < _PRESENT * len(wanted):
        raise FeatureUnsupportedError(
            f"{path} is not the BTF of this kernel: of {len(wanted)} functions that it has, the "
            f"kernel lacks {len(wanted) - len(found)}: give a file for exactly this kernel",
            feature="BTF",
        )


def _hidden() -> PrivilegeError:
    return PrivilegeError(
        "cannot read kernel addresses: /proc/kallsyms hides them, CAP_SYSLOG is missing, or "
        "kernel.kptr_restrict is 2 (sysctl kernel.kptr_restrict=1)",
        ("CAP_SYSLOG",),
    )
