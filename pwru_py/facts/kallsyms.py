# SPDX-License-Identifier: Apache-2.0
"""``/proc/kallsyms`` and ftrace's function lists: text to symbols. Pure."""

from __future__ import annotations

import re
from array import array
from bisect import bisect_right
from collections.abc import Container, Iterable
from typing import NamedTuple

TEXT = b"tTwW"
"""Types of symbols that are functions."""

# The largest functions have some 64 KiB.
_FUNCTION_BYTES_MAX = 1 << 20


class Symbol(NamedTuple):
    """A symbol that an address lies in; ``module`` '' for the kernel itself."""

    name: str
    module: str
    offset: int


class Symbols:
    """The text symbols of a kernel, by address and by name.

    Lines are ``ADDRESS TYPE NAME[\\t[MODULE]]``. Addresses are all zero for those who may not
    see them (``kernel.kptr_restrict``, CAP_SYSLOG): then ``visible`` is False.
    """

    def __init__(self, lines: Iterable[bytes]) -> None:
        texts = [
            line[:16] + line[19:].rstrip(b"\n")
            for line in lines
            if line[17:18] in TEXT and line[17:18]
        ]
        texts.sort()  # addresses are of one width: the text sorts as the number does
        self._addrs = array("Q", [int(text[:16], 16) for text in texts])
        # Names in one piece, as a hundred thousand of them are kept.
        self._names = b"".join(text[16:] + b"\n" for text in texts)
        self._ends = array("I")
        end = self._names.find(b"\n")
        while end >= 0:
            self._ends.append(end)
            end = self._names.find(b"\n", end + 1)
        self.visible = bool(texts) and self._addrs[-1] != 0

    def __len__(self) -> int:
        return len(self._addrs)

    def lookup(self, addr: int) -> Symbol | None:
        """The symbol that ``addr`` lies in, by the first of its names; None when none is near.

        kallsyms does not say where a symbol ends. An address far behind the last one of the kernel
        or of a module (generated code, a module loaded since) belongs to none.
        """
        at = bisect_right(self._addrs, addr) - 1
        if at < 0 or addr - self._addrs[at] > _FUNCTION_BYTES_MAX:
            return None
        start = self._addrs[at]
        while at and self._addrs[at - 1] == start:
            at -= 1
        begin = self._ends[at - 1] + 1 if at else 0
        name, module = _split(self._names[begin : self._ends[at]])
        return Symbol(name, module, addr - start)


def find_addresses(
    lines: Iterable[bytes], names: Iterable[tuple[str, str]], kinds: bytes = b""
) -> dict[int, tuple[str, str]]:
    """Address to (name, module) of those that are asked for; keeps nothing of all others.

    ``kinds``: only symbols of these types, as nm(1) writes them; empty for all.
    """
    wanted = {_join(name, module) + b"\n": (name, module) for name, module in names}
    get = wanted.get
    return {
        int(line[:16], 16): key
        for line in lines
        if (key := get(line[19:])) is not None and (not kinds or line[17] in kinds)
    }


def find_nearest(lines: Iterable[bytes], addr: int) -> Symbol | None:
    """As ``Symbols.lookup``, of lines that are not kept."""
    best, found = b"", b""
    wanted, least = b"%016x" % addr, b"%016x" % max(1, addr - _FUNCTION_BYTES_MAX)
    for line in lines:
        start = line[:16]  # of one width: the text compares as the number does
        if least <= start <= wanted and start > best and line[17:18] in TEXT:
            best, found = start, line[19:].rstrip(b"\n")
    if not best:
        return None
    name, module = _split(found)
    return Symbol(name, module, addr - int(best, 16))


def find_sizes(lines: Iterable[bytes], addrs: Iterable[int]) -> dict[int, int]:
    """Bytes from each address to the function behind it; not of one with none behind it."""
    nearest = {b"%016x" % addr: b"g" for addr in addrs}  # behind every digit
    for line in lines:
        start = line[:16]  # of one width: the text compares as the number does
        for wanted, best in nearest.items():
            if wanted < start < best and line[17:18] in TEXT:
                nearest[wanted] = start
    return {
        int(wanted, 16): int(best, 16) - int(wanted, 16)
        for wanted, best in nearest.items()
        if best != b"g"
    }


def _split(name: bytes) -> tuple[str, str]:
    symbol, _, module = name.partition(b"\t")
    return symbol.decode(errors="replace"), module.strip(b"[]").decode(errors="replace")


def _join(name: str, module: str) -> bytes:
    return f"{name}\t[{module}]".encode() if module else name.encode()


def filter_functions(
    text: bytes, names: Iterable[tuple[str, str]], located: bool
) -> dict[tuple[str, str], list[int]]:
    """(name, module) of the functions asked for, to the address, or a 0, of each one so named.

    Reads ftrace's ``available_filter_functions``: lines of ``NAME`` or ``NAME [MODULE]``.
    ``located``: each begins with an address, as in ``available_filter_functions_addrs``.
    """
    wanted = {f"{n} [{m}]".encode() if m else n.encode(): (n, m) for n, m in names}
    found: dict[tuple[str, str], list[int]] = {}
    for line in text.split(b"\n"):
        addr, _, name = line.partition(b" ") if located else (b"0", b"", line)
        if (key := wanted.get(name)) is not None:
            found.setdefault(key, []).append(int(addr, 16))
    return found


_CLONE = re.compile(rb"\.(?:isra|constprop|part)\.\d+")
"""What GCC adds to the name of a function whose arguments it has changed."""


def find_clones(
    text: bytes, names: Container[tuple[str, str]]
) -> dict[tuple[str, str], tuple[str, ...]]:
    """(name, module) of the functions asked for, to those that the compiler has made of each.

    ``text``: lines of ``NAME`` or ``NAME [MODULE]``, whatever stands before.
    """
    found: dict[tuple[str, str], tuple[str, ...]] = {}
    end = -1
    for match in _CLONE.finditer(text):
        if match.start() < end:
            continue  # another one of the same name
        line = text.rfind(b"\n", 0, match.start()) + 1
        begin = max(line, text.rfind(b" ", line, match.start()) + 1)
        end = text.find(b"\n", begin) % (len(text) + 1)
        clone, _, module = text[begin:end].decode(errors="replace").partition(" ")
        key = (text[begin : match.start()].decode(errors="replace"), module.strip("[]"))
        if key in names and clone.rpartition(".")[2].isdecimal():  # no cold part
            found[key] = (*found.get(key, ()), clone)
    return found


def blacklist(text: bytes) -> set[str]:
    """Function names of ``/sys/kernel/debug/kprobes/blacklist``: ``0xSTART-0xEND\\tNAME``."""
    return {
        line.rpartition(b"\t")[2].split(b" ")[0].decode(errors="replace")
        for line in text.splitlines()
        if b"\t" in line
    }
