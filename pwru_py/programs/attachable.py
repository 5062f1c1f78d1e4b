# SPDX-License-Identifier: Apache-2.0
"""Which functions the running kernel lets be probed, and where they are."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import IO

from ..errors import FeatureUnsupportedError, PrivilegeError
from ..facts.kallsyms import (
    TEXT,
    Symbol,
    Symbols,
    blacklist,
    filter_functions,
    find_addresses,
    find_clones,
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
    found = _remembered(names, notes, note, ids)
    if found is None:
        found = _listed(names, located=not kprobes)
        if found is None:
            found = _from_kallsyms(names)
        elif not ids and not all(map(all, found.functions.values())):
            found = replace(found, functions=_from_kallsyms(found.functions).functions)
        if found.source == system.FTRACE:
            _remember(found, notes, note)
    if kprobes or found.source != system.FTRACE:
        refused = frozenset(blacklist(system.read(system.BLACKLIST) or b""))
        found = replace(found, blacklist=refused)
    return found


def _listed(names: set[Name], located: bool) -> Attachable | None:
    """ftrace's list, with zeros; if ``located``, with addresses (Linux 6.5, 83f74441bcb1)."""
    text = system.tracefs_file(f"{system.FTRACE}_addrs") if located else None
    located = bool(text)
    text = text or system.tracefs_file(system.FTRACE)
    if not text:
        return None
    functions = filter_functions(text, names, located)
    return Attachable(functions, system.FTRACE, clones=find_clones(text, names))


def _from_kallsyms(names: Collection[Name]) -> Attachable:
    if not system.addresses_visible():
        raise _hidden()
    functions: dict[Name, list[int]] = {}
    dotted: list[bytes] = []
    with _symbols() as lines:
        for addr, name in find_addresses(_note_dotted(lines, dotted), names, TEXT).items():
            functions.setdefault(name, []).append(addr)
    clones = find_clones(b"".join(dotted).replace(b"\t", b" "), names)
    return Attachable(functions, "kallsyms", clones=clones)


def _note_dotted(lines: Iterable[bytes], dotted: list[bytes]) -> Iterator[bytes]:
    for line in lines:
        if b"." in line and line[17] in TEXT:
            dotted.append(line)
        yield line


def _remembered(names: set[Name], notes: Notes, name: str, ids: bool) -> Attachable | None:
    """The kernel's own functions stay where they are from the start of its text; modules do not."""
    if any(module for _name, module in names):
        return None
    note = notes.load(name)
    start = None if ids else system.text_start()
    if note is None or (start is None and not ids):
        return None
    try:
        functions = {
            (function, ""): [0 if start is None else start + offset for offset in offsets]
            for function, offsets in note["offsets"].items()
        }
        clones = {(function, ""): tuple(made) for function, made in note["clones"].items()}
    except (TypeError, KeyError, AttributeError):
        return None
    return Attachable(functions, system.FTRACE, clones=clones)


def _remember(found: Attachable, notes: Notes, name: str) -> None:
    start = system.text_start()
    if start is None or any(module for _name, module in found.functions):
        return
    if all(map(all, found.functions.values())):
        offsets = {name: [a - start for a in addrs] for (name, _), addrs in found.functions.items()}
        clones = {name: list(made) for (name, _), made in found.clones.items()}
        notes.save(name, {"offsets": offsets, "clones": clones})


def _symbols() -> IO[bytes]:
    """The lines of kallsyms. Raises OSError."""
    return open(system.KALLSYMS, "rb", buffering=_KALLSYMS_BUFFER)


def find_symbols(names: Iterable[Name], kinds: bytes = b"") -> dict[int, Name]:
    """Address to (name, module) of the running kernel's symbols, see ``find_addresses``."""
    with _symbols() as lines:
        return find_addresses(lines, names, kinds)


def find_function_sizes(addrs: Iterable[int]) -> dict[int, int]:
    """Bytes of functions of the running kernel, by their addresses, see ``find_sizes``."""
    with _symbols() as lines:
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
        with _symbols() as lines:
            return find_nearest(lines, addr)
    except OSError:
        return None


def read_symbols() -> Symbols:
    """All text symbols of the running kernel. Raises PrivilegeError when they are hidden."""
    try:
        with _symbols() as lines:
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
