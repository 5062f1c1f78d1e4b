# SPDX-License-Identifier: Apache-2.0
"""Addresses in records to what is there: the function probed, the functions of a stack."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ..attach.argument_table import ENDBR
from ..kernel import system
from ..plan.functions import Target
from ..record.event import Frame
from .attachable import nearest_symbol, read_symbols


def targets_by_addr(targets: Sequence[Target], ips: Iterable[int]) -> dict[int, Target]:
    """A probe is told by the function's address, that of the call of ftrace behind ENDBR, or its
    own, which a breakpoint has just passed."""
    aways = (*(ip - 1 for ip in ips), ENDBR, -ENDBR, 0)
    return {target.addr + away: target for away in aways for target in targets if target.addr}


class Stacks:
    """Names the functions of a stack. Reads all symbols: raises PrivilegeError when hidden."""

    def __init__(self) -> None:
        self._read()

    def _read(self) -> None:
        self._modules = system.loaded_modules()
        self._symbols = read_symbols()

    def symbolize(self, addr: int, innermost: bool) -> Frame:
        """A return address points behind the call, the innermost does not."""
        at = addr if innermost else addr - 1
        symbol = self._symbols.lookup(at)
        # A module loaded since would be taken for its neighbour. Asked once for each address.
        if (symbol is None or symbol.module) and system.loaded_modules() != self._modules:
            self._read()
            symbol = self._symbols.lookup(at)
        if symbol is None:
            return Frame(addr, "", 0, "")
        offset = symbol.offset + (0 if innermost else 1)
        return Frame(addr, symbol.name, offset, symbol.module)


class Locations:
    """Names the few places where packets are freed: each is looked up when it first occurs."""

    def __init__(self) -> None:
        self._known: dict[int, Frame] = {}

    def locate(self, addr: int) -> Frame:
        """The function that this return address lies in; its name '' where that is hidden."""
        if addr not in self._known:
            if len(self._known) >= _LOCATIONS_MAX:
                self._known.clear()
            self._known[addr] = self._find(addr)
        return self._known[addr]

    @staticmethod
    def _find(addr: int) -> Frame:
        symbol = nearest_symbol(addr - 1)
        if symbol is None:
            return Frame(addr, "", 0, "")
        return Frame(addr, symbol.name, symbol.offset + 1, symbol.module)


_LOCATIONS_MAX = 4096
