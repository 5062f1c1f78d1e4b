# SPDX-License-Identifier: Apache-2.0
"""What a start remembers of a kernel's types, and when it does not trust its memory."""

from __future__ import annotations

import os
import struct
from pathlib import Path

import pytest

from pwru_py._version import __version__
from pwru_py.kernel import system, types
from pwru_py.kernel.features import Features
from pwru_py.kernel.types import KernelTypes, Known, build_id
from pwru_py.plan import Arguments

KNOWN = Known(
    Features(True, 59, True, 7, 8, True, True, False, True, False),
    {"ip_rcv": [Arguments(1, 0)], "two": [Arguments(0, 0), Arguments(2, 3)]},
    {"SKB_CONSUMED": 1, "SKB_DROP_REASON_NO_SOCKET": 3},
    {"SKB_DROP_REASON_SUBSYS_OPENVSWITCH": 3},
)


def note(name: bytes, kind: int, description: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, description)]
    return struct.pack("=III", len(name), len(description), kind) + b"".join(padded)


def test_build_id() -> None:
    notes = note(b"Linux\0", 257, b"\0") + note(b"GNU\0", 3, b"\xab\xcd" * 10)
    assert build_id(notes) == "abcd" * 10
    assert build_id(note(b"Xen\0", 3, b"\1\2\3\4")) == ""
    assert build_id(b"") == ""
    assert build_id(notes[:20]) == ""


@pytest.fixture
def walks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[str]:
    """Each time the BTF is walked; a kernel with a build id, and root as its user."""
    done: list[str] = []
    monkeypatch.setattr(system, "vmlinux_btf", lambda path="": done.append(path))
    monkeypatch.setattr(system, "read", lambda path: note(b"GNU\0", 3, b"\x01" * 20))
    monkeypatch.setattr(system, "VMLINUX_BTF", str(tmp_path))
    monkeypatch.setattr(Known, "of", classmethod(lambda cls, btf: KNOWN))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(types, "_OWNER", os.stat(tmp_path).st_uid)
    return done


def start(cache: Path) -> Known:
    kernel = KernelTypes(cache=str(cache))
    known = kernel.known()
    return known


def test_the_second_start_walks_nothing(walks: list[str], tmp_path: Path) -> None:
    assert start(tmp_path / "cache") == KNOWN
    assert start(tmp_path / "cache") == KNOWN
    assert walks == [""]
    (kept,) = (tmp_path / "cache").iterdir()
    assert kept.name == f"{'01' * 20}-{__version__}.json"
    assert kept.stat().st_mode & 0o777 == 0o644 & ~_umask()


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"features": {"ring": true}}', "null"])
def test_a_broken_file_is_made_anew(walks: list[str], tmp_path: Path, content: str) -> None:
    start(tmp_path)
    (kept,) = tmp_path.glob("*.json")
    kept.write_text(content)
    assert start(tmp_path) == KNOWN
    assert start(tmp_path) == KNOWN
    assert walks == ["", ""]


def test_a_file_that_others_may_write_is_not_believed(walks: list[str], tmp_path: Path) -> None:
    start(tmp_path)
    (kept,) = tmp_path.glob("*.json")
    kept.chmod(0o666)
    start(tmp_path)
    assert walks == ["", ""]


def test_a_place_that_cannot_be_written_costs_time_only(walks: list[str], tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    assert start(tmp_path / "file") == KNOWN
    assert start(tmp_path / "file") == KNOWN
    assert walks == ["", ""]


def test_a_file_of_btf_is_read_every_time(walks: list[str], tmp_path: Path) -> None:
    for _ in range(2):
        assert KernelTypes("/boot/btf", str(tmp_path)).known() == KNOWN
    assert walks == ["/boot/btf"] * 2
    assert not list(tmp_path.glob("*.json"))
