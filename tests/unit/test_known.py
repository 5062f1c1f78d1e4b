# SPDX-License-Identifier: Apache-2.0
"""What a start remembers of a kernel's types."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, cast

import pytest

from pwru_py.facts.features import Features
from pwru_py.kernel import system
from pwru_py.kernel.notes import Notes
from pwru_py.plan.candidates import Arguments, Functions
from pwru_py.plan.tracepoints import Tracepoint
from pwru_py.programs.known import KernelTypes, Known

FEATURES = Features(
    True, 59, True, 7, 8, True, False, True, True, "pcpu_hot", 8, False, False, False, True, 4,
    56, 5, 6,
)  # fmt: skip

KNOWN = Known(
    FEATURES,
    Functions(
        {"ip_rcv": [Arguments(1, 0)], "two": [Arguments(0, 0), Arguments(2, 3)]},
        {"skb_dequeue": "a list of them"},
        True,
    ),
    [Tracepoint("kfree_skb", "", 1, 3, 2, 9)],
    {"SKB_CONSUMED": 1, "SKB_DROP_REASON_NO_SOCKET": 3},
    {"SKB_DROP_REASON_SUBSYS_OPENVSWITCH": 3},
)


class FakeNotes(dict[str, Any]):
    """In memory, as JSON would give them back."""

    loads = 0

    def load(self, name: str) -> dict[str, Any] | None:
        self.loads += 1
        return self.get(name)

    def save(self, name: str, note: dict[str, Any]) -> None:
        self[name] = json.loads(json.dumps(note))


def start(notes: FakeNotes) -> Known:
    types = KernelTypes()
    types.notes = cast(Notes, notes)
    return types.known()


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Each time the BTF is walked."""
    done: list[str] = []
    monkeypatch.setattr(system, "vmlinux_btf", lambda path="": done.append(path))
    monkeypatch.setattr(system, "VMLINUX_BTF", str(tmp_path))
    monkeypatch.setattr(Known, "of", classmethod(lambda cls, btf: KNOWN))
    return done


def test_the_second_start_walks_nothing(walks: list[str]) -> None:
    notes = FakeNotes()
    assert start(notes) == start(notes) == KNOWN
    assert walks == [""]


@pytest.mark.parametrize(
    "note",
    [{}, {"features": {"ring": True}}, {"features": 7}, {**KNOWN.note(), "candidates": [1]},
     {**KNOWN.note(), "indirect": 1}],
)  # fmt: skip
def test_a_note_of_another_kind_is_made_anew(walks: list[str], note: dict[str, Any]) -> None:
    notes = FakeNotes(types=note)
    assert start(notes) == start(notes) == KNOWN
    assert walks == [""]


def test_with_a_file_of_btf_nothing_is_remembered(walks: list[str]) -> None:
    """Neither its types nor which of its functions the kernel has."""
    for _ in range(2):
        types = KernelTypes("/boot/btf")
        assert types.known() == KNOWN
        types.notes.save("functions", {})
        assert types.notes.load("functions") is None
    assert walks == ["/boot/btf", "/boot/btf"]


def test_a_kernel_without_btf_is_not_remembered(
    walks: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another tool's sysfs can hide it; that is told each time, whatever was noted."""
    notes = FakeNotes(types=KNOWN.note())
    monkeypatch.setattr(system, "VMLINUX_BTF", "/nonexistent")
    start(notes)
    assert walks == [""]
