# SPDX-License-Identifier: Apache-2.0
"""What is kept from one start to the next, and when it is not believed."""

from __future__ import annotations

import json
import os
import struct
from pathlib import Path

import pytest

from pwru_py._version import __version__
from pwru_py.kernel import notes, system
from pwru_py.kernel.notes import Notes, build_id

NOTE = {"ip_rcv": [1, 2], "": []}


def elf_note(name: bytes, kind: int, description: bytes) -> bytes:
    padded = [part + bytes(-len(part) % 4) for part in (name, description)]
    return struct.pack("=III", len(name), len(description), kind) + b"".join(padded)


def test_build_id() -> None:
    found = elf_note(b"Linux\0", 257, b"\0") + elf_note(b"GNU\0", 3, b"\xab\xcd" * 10)
    assert build_id(found) == "abcd" * 10
    assert build_id(elf_note(b"Xen\0", 3, b"\1\2\3\4")) == ""
    assert build_id(b"") == ""
    assert build_id(found[:20]) == ""


@pytest.fixture
def cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """A place of root's own, on a kernel with a build id."""
    monkeypatch.setattr(system, "read", lambda path: elf_note(b"GNU\0", 3, b"\x01" * 20))
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(notes, "_OWNER", os.stat(tmp_path).st_uid)
    return tmp_path / "cache"


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_what_is_saved_is_loaded(cache: Path) -> None:
    Notes(str(cache)).save("types", NOTE)
    assert Notes(str(cache)).load("types") == NOTE
    assert Notes(str(cache)).load("functions") is None
    (kept,) = cache.iterdir()
    assert kept.name == f"{'01' * 20}-{__version__}-types.json"
    assert kept.stat().st_mode & 0o777 == 0o644 & ~_umask()


@pytest.mark.parametrize(
    "content", ["", "[]", "null", "{", "\udcff", '{"format": 1}', '{"format": 1, "note": []}']
)
def test_a_broken_file_is_as_good_as_none(cache: Path, content: str) -> None:
    Notes(str(cache)).save("types", NOTE)
    (kept,) = cache.iterdir()
    kept.write_bytes(content.encode(errors="surrogateescape"))
    assert Notes(str(cache)).load("types") is None
    Notes(str(cache)).save("types", NOTE)
    assert Notes(str(cache)).load("types") == NOTE


def test_a_note_of_another_format_is_not_believed(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    Notes(str(cache)).save("types", NOTE)
    monkeypatch.setattr(notes, "FORMAT", notes.FORMAT + 1)
    assert Notes(str(cache)).load("types") is None
    (kept,) = cache.iterdir()
    kept.write_text(json.dumps(NOTE))  # as notes were before they had one
    assert Notes(str(cache)).load("types") is None


def test_a_file_that_others_may_write_is_not_believed(cache: Path) -> None:
    Notes(str(cache)).save("types", NOTE)
    (kept,) = cache.iterdir()
    kept.chmod(0o666)
    assert Notes(str(cache)).load("types") is None


def test_nor_one_that_another_owns(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    Notes(str(cache)).save("types", NOTE)
    monkeypatch.setattr(notes, "_OWNER", -2)
    assert Notes(str(cache)).load("types") is None


def test_a_place_that_cannot_be_written_is_no_error(cache: Path) -> None:
    cache.write_text("a file")
    Notes(str(cache)).save("types", NOTE)
    assert Notes(str(cache)).load("types") is None


@pytest.mark.parametrize("who", ["nobody", "no build id", "no place"])
def test_nothing_is_kept_for(cache: Path, monkeypatch: pytest.MonkeyPatch, who: str) -> None:
    place = "" if who == "no place" else str(cache)
    if who == "nobody":
        monkeypatch.setattr(os, "geteuid", lambda: 65534)
    elif who == "no build id":
        monkeypatch.setattr(system, "read", lambda path: None)
    Notes(place).save("types", NOTE)
    assert not cache.exists()
    assert Notes(place).load("types") is None
