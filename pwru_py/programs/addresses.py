# SPDX-License-Identifier: Apache-2.0
"""Addresses in records to what is there: the function probed, the functions of a stack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..attach.argument_table import ENDBR
from ..errors import PrivilegeError
from ..facts.kallsyms import Symbol
from ..facts.roles import RETURN_TRAMPOLINES
from ..kernel import system
from ..plan.functions import Target
from ..record.event import Frame
from .attachable import nearest_symbol, read_symbols


def targets_by_addr(targets: Sequence[Target], ips: Iterable[int]) -> dict[int, Target]:
    """A probe is told by the function's address, that of the call of ftrace behind ENDBR, or its
    own, which a breakpoint has just passed."""
    aways = (*(ip - 1 for ip in ips), ENDBR, -ENDBR, 0)
    return {target.addr + away: target for away in aways for target in targets if target.addr}


class _Known:
    """The running kernel's symbols, read again when an address may be that of a new module.

    Raises PrivilegeError when they are hidden.
    """

    def __init__(self) -> None:
        self._read()

    def _read(self) -> None:
        self._modules = system.loaded_modules()
        self._symbols = read_symbols()

    def lookup(self, addr: int) -> Symbol | None:
        symbol = self._symbols.lookup(addr)
        # A module loaded since would be taken for its neighbour. Asked once for each address.
        if (symbol is None or symbol.module) and system.loaded_modules() != self._modules:
            self._read()
            symbol = self._symbols.lookup(addr)
        return symbol


class Stacks:
    """Names the functions of a stack. Reads all symbols: raises PrivilegeError when hidden."""

    def __init__(self) -> None:
        self._known = _Known()

    def symbolize(self, addr: int, innermost: bool) -> Frame:
        """A return address points behind the call, the innermost does not."""
        symbol = self._known.lookup(addr if innermost else addr - 1)
        if symbol is None:
            return Frame(addr, "", 0, "")
        offset = symbol.offset + (0 if innermost else 1)
        return Frame(addr, symbol.name, offset, symbol.module)


class Locations:
    """Names the places where packets are freed: each is looked up when it first occurs.

    To walk all symbols takes a twentieth of a second and no memory; where there are more than a few
    places, they are kept.
    """

    def __init__(self) -> None:
        self._frames: dict[int, Frame] = {}
        self._known: _Known | None = None
        self._hidden = False

    def locate(self, addr: int) -> Frame:
        """The function that this return address lies in; its name '' where that is hidden."""
        if addr not in self._frames:
            if len(self._frames) >= _LOCATIONS_MAX:
                self._frames.clear()
            self._frames[addr] = self._find(addr)
        return self._frames[addr]

    def _find(self, addr: int) -> Frame:
        """A tracer of returns puts its own address there: then the place is hidden."""
        symbol = self._lookup(addr)
        if symbol is not None and RETURN_TRAMPOLINES.fullmatch(symbol.name):
            return Frame(addr, "", 0, "")
        if symbol is not None and not symbol.offset:  # behind a call that ends a function
            before = self._lookup(addr - 1)
            if before is not None:
                return Frame(addr, before.name, before.offset + 1, before.module)
        if symbol is None:
            return Frame(addr, "", 0, "")
        return Frame(addr, symbol.name, symbol.offset, symbol.module)

    def _lookup(self, addr: int) -> Symbol | None:
        if self._known is None and len(self._frames) < _FEW:
            return nearest_symbol(addr)
        if self._hidden:
            return None
        try:
            self._known = self._known or _Known()
        except PrivilegeError:
            self._hidden = True
            return None
        return self._known.lookup(addr)


_LOCATIONS_MAX, _FEW = 4096, 4
