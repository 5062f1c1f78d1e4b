# SPDX-License-Identifier: Apache-2.0
"""Places where packets are freed: a few are looked up one by one, then all symbols are kept."""

from __future__ import annotations

import pytest

from pwru_py.errors import PrivilegeError
from pwru_py.facts.kallsyms import Symbol, Symbols
from pwru_py.programs import addresses
from pwru_py.programs.addresses import Locations

LINES = [b"%016x t f%d\n" % (0x1000 * (n + 1), n) for n in range(20)]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    calls: list[str] = []

    def nearest(addr: int) -> Symbol | None:
        calls.append("one")
        return Symbols(LINES).lookup(addr)

    def read() -> Symbols:
        calls.append("all")
        return Symbols(LINES)

    monkeypatch.setattr(addresses, "nearest_symbol", nearest)
    monkeypatch.setattr(addresses, "read_symbols", read)
    return calls


def test_all_symbols_are_read_once_where_places_are_many(asked: list[str]) -> None:
    locate = Locations().locate
    for _ in range(2):
        found = [locate(0x1000 * (n + 1) + 5) for n in range(20)]
        assert [(frame.symbol, frame.offset) for frame in found] == [
            (f"f{n}", 5) for n in range(20)
        ]
    assert asked == ["one"] * 4 + ["all"]


def test_where_they_are_hidden_nobody_asks_again(
    asked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def read() -> Symbols:
        asked.append("all")
        raise PrivilegeError("hidden")

    monkeypatch.setattr(addresses, "read_symbols", read)
    locate = Locations().locate
    assert [locate(n).symbol for n in range(10)] == [""] * 10
    assert asked == ["one"] * 4 + ["all"]
