# SPDX-License-Identifier: Apache-2.0
"""A file in pieces: what is in them, what they are called, which stay, what fails."""

from __future__ import annotations

import errno
import gzip
import json
import os
import random
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from pwru_py import rotation, streams
from pwru_py.cli import main
from pwru_py.errors import OutputError
from pwru_py.rotation import Limits, Rotated

from .fake_engine import Kernel, packet
from .test_cli import Run, kernel, run

__all__ = ["kernel", "run"]

BACKUP = re.compile(r"trace-\d{4}-\d\d-\d\dT\d\d-\d\d-\d\d\.\d{3}\.jsonl(\.gz)?")
NOW_S = 1_795_810_500.123  # 2026-11-27T20:15:00.123Z
DAY_S = 86400.0


class Clock:
    def __init__(self) -> None:
        self.now_s = NOW_S

    def __call__(self) -> float:
        return self.now_s


class Trace:
    """``trace.jsonl`` in a folder, and what was told while it was written."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.path = folder, folder / "trace.jsonl"
        self.clock, self.told = Clock(), list[str]()

    def open(self, limits: Limits) -> Rotated:
        fd = os.open(self.path, os.O_WRONLY | os.O_CREAT, 0o600)
        opened = Rotated(fd, str(self.path), limits, self.told.append, clock=self.clock)
        opened.empty()
        return opened

    @property
    def backups(self) -> list[Path]:
        """The oldest first."""
        return sorted(path for path in self.folder.iterdir() if BACKUP.fullmatch(path.name))

    @property
    def pieces(self) -> list[bytes]:
        read = [gzip.decompress(p.read_bytes()) if p.suffix == ".gz" else p.read_bytes()
                for p in self.backups]  # fmt: skip
        return [*read, self.path.read_bytes()]


@pytest.fixture
def trace(tmp_path: Path) -> Trace:
    return Trace(tmp_path)


def test_nothing_is_lost_split_or_too_long(trace: Trace) -> None:
    """Lines of any length, in chunks that end anywhere, as buffers write them."""
    chance = random.Random(7)
    lines = [b"x" * chance.randrange(120) + b"%d\n" % n for n in range(3000)]
    whole = b"".join(lines)
    with trace.open(Limits(2000)) as opened:
        at = 0
        while at < len(whole):
            size = chance.choice((1, 7, 100, 1999, 2000, 2001, 9000))
            assert opened.write(whole[at : at + size]) == len(whole[at : at + size])
            at += size
    pieces = trace.pieces
    assert len(pieces) > len(whole) // 2000
    assert b"".join(pieces) == whole
    assert all(piece.endswith(b"\n") and len(piece) <= 2000 for piece in pieces)
    assert all(len(piece) > 2000 - 130 for piece in pieces[:-1]), "each is as full as lines allow"
    assert not trace.told


def test_a_line_that_is_too_long_has_a_file_for_itself(trace: Trace) -> None:
    long = b"y" * 5000 + b"\n"
    with trace.open(Limits(1000)) as opened:
        opened.write(b"a\nb\n" + long + b"c\n")
    assert trace.pieces == [b"a\nb\n", long, b"c\n"]


def test_a_last_line_without_an_end_is_kept(trace: Trace) -> None:
    with trace.open(Limits(1000)) as opened:
        opened.write(b"a\nb")
        assert trace.path.read_bytes() == b"a\n"
    assert trace.path.read_bytes() == b"a\nb"


def test_names_and_modes(trace: Trace) -> None:
    """As lumberjack calls them; two in one millisecond do not meet."""
    before = os.umask(0)
    try:
        with trace.open(Limits(4)) as opened:
            opened.write(b"one\ntwo\nsix\n")
    finally:
        os.umask(before)
    assert [path.name for path in trace.backups] == [
        "trace-2026-11-27T20-15-00.123.jsonl",
        "trace-2026-11-27T20-15-00.124.jsonl",
    ]
    assert trace.pieces == [b"one\n", b"two\n", b"six\n"]
    assert {path.stat().st_mode & 0o777 for path in trace.folder.iterdir()} == {0o600}


def test_an_earlier_trace_becomes_a_backup(trace: Trace) -> None:
    trace.path.write_bytes(b"earlier\n")
    with trace.open(Limits(1000)) as opened:
        opened.write(b"now\n")
    assert trace.pieces == [b"earlier\n", b"now\n"]


def test_age_rotates_and_removes(trace: Trace) -> None:
    with trace.open(Limits(1000, max_age_s=DAY_S)) as opened:
        opened.write(b"first\n")
        trace.clock.now_s += DAY_S - 1
        opened.write(b"second\n")
        trace.clock.now_s += 1
        opened.write(b"third\n")  # the file is a day old
        assert trace.pieces == [b"first\nsecond\n", b"third\n"]
        trace.clock.now_s += DAY_S / 2
        opened.empty()
    assert trace.pieces == [b"first\nsecond\n", b"third\n", b""]
    trace.clock.now_s += DAY_S / 2 + 1
    trace.open(Limits(1000, max_age_s=DAY_S)).close()
    assert trace.pieces == [b"third\n", b""], "the first was renamed more than a day ago"


def test_without_a_limit_all_stay(trace: Trace) -> None:
    with trace.open(Limits(2)) as opened:
        for _ in range(9):
            opened.write(b"a\n")
            trace.clock.now_s += 400 * DAY_S
    assert len(trace.backups) == 8


def test_so_many_stay_and_other_files_too(trace: Trace) -> None:
    others = [
        "trace-2026-13-01T00-00-00.000.jsonl",
        "trace-2026-02-31T00-00-00.000.jsonl",
        "trace-2020-01-01T00-00-00.000.txt",
        "trace-old.jsonl",
        "other-2020-01-01T00-00-00.000.jsonl",
    ]
    for name in others:
        (trace.folder / name).write_text("mine\n")
    (trace.folder / "trace-2020-01-01T00-00-00.000.jsonl").symlink_to("trace-old.jsonl")
    with trace.open(Limits(2, max_backups=2)) as opened:
        for letter in b"abcde":
            opened.write(bytes([letter]) + b"\n")
            trace.clock.now_s += 1
    found = [trace.folder / name for name in others]
    assert all(path.read_text() == "mine\n" for path in found)
    assert (trace.folder / "trace-2020-01-01T00-00-00.000.jsonl").is_symlink()
    kept = [path for path in trace.backups if path.name.startswith("trace-2026-11")]
    assert [path.read_bytes() for path in kept] == [b"c\n", b"d\n"]
    assert trace.path.read_bytes() == b"e\n"


def test_compressed(trace: Trace) -> None:
    """The rest of a session that was killed goes; a compressed one is not compressed again."""
    left = trace.folder / "trace-2026-11-27T20-15-00.123.jsonl.gz.part"
    left.write_bytes(b"rubbish")
    with trace.open(Limits(8, compress=True, max_backups=3)) as opened:
        for number in range(6):
            opened.write(b"line %d\n" % number)
    assert [path.suffix for path in trace.backups] == [".gz"] * 3
    assert trace.pieces == [b"line 2\n", b"line 3\n", b"line 4\n", b"line 5\n"]
    assert len(list(trace.folder.iterdir())) == 4
    assert {path.stat().st_mode & 0o777 for path in trace.backups} == {0o600}


def test_what_cannot_be_compressed_stays(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(name: str) -> int:
        if name.endswith(".part"):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return streams.new_file(name)

    monkeypatch.setattr(rotation, "new_file", full)
    with trace.open(Limits(2, compress=True)) as opened:
        opened.write(b"a\nb\n")
        opened._backups.tidy()
    assert trace.pieces == [b"a\n", b"b\n"]
    assert trace.told == [
        f"cannot compress {trace.backups[0]}: no space left on device; "
        "it stays, and tracing goes on"
    ]


def test_no_room_for_the_next_file(trace: Trace, monkeypatch: pytest.MonkeyPatch) -> None:
    """One line tells it, and what buffers hold does not follow."""

    def full(name: str) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(rotation, "new_file", full)
    begin = rotation.rotated(str(trace.path), Limits(4), trace.told.append)
    told = "cannot write to .*: the disk is full, the whole lines written before stay"
    with pytest.raises(OutputError, match=told), streams.output(str(trace.path), begin) as stream:
        stream.write("one\ntwo\n")
    (backup,) = trace.backups
    assert backup.read_bytes() == b"one\n"
    assert not trace.path.exists()


def test_a_file_that_was_moved_away(trace: Trace) -> None:
    with trace.open(Limits(4)) as opened:
        opened.write(b"one\n")
        trace.path.rename(trace.folder / "moved")
        opened.write(b"two\n")
    assert trace.pieces == [b"two\n"]
    assert (trace.folder / "moved").read_bytes() == b"one\n"


def test_a_file_or_link_in_its_place_is_left_alone(trace: Trace) -> None:
    target = trace.folder / "target"
    target.write_bytes(b"precious\n")
    with trace.open(Limits(4)) as opened:
        opened.write(b"one\n")
        trace.path.unlink()
        trace.path.symlink_to(target)
        with pytest.raises(OutputError, match="another file has taken its place"):
            opened.write(b"two\n")
        assert opened.write(b"six\n") == 4
    assert trace.path.is_symlink()
    assert target.read_bytes() == b"precious\n"
    assert not trace.backups


@pytest.mark.parametrize("make", [os.mkfifo, lambda path: os.symlink("/dev/null", path)])
def test_what_is_no_file_cannot_be_rotated(
    tmp_path: Path, make: Callable[[Path], None], run: Run
) -> None:
    make(tmp_path / "out")
    reader = os.open(tmp_path / "out", os.O_RDONLY | os.O_NONBLOCK)
    done = run("-w", str(tmp_path / "out"), "--output-file-max-size", "1K")
    os.close(reader)
    assert (done.status, len(done.err_lines)) == (1, 1)
    assert "cannot rotate" in done.err or "links are not followed" in done.err


def test_standard_output_has_no_name_to_change(run: Run) -> None:
    done = run("-w", "/dev/stdout", "--output-file-compress")
    assert done.status == 1
    assert "no regular file with a name of its own: leave --output-file-max-size" in done.err


# The command


def test_flags(kernel: Kernel, run: Run, tmp_path: Path) -> None:
    """Every event once, in whole objects, the summary last."""
    kernel.records = [raw for number in range(200) for raw in packet(number)]
    flags = ("--output-file-max-size", "4K", "--output-file-compress", "--output-json", "-c", "600")
    done = run("-w", str(tmp_path / "trace.jsonl"), *flags)
    assert (done.status, done.out) == (0, "")
    pieces = Trace(tmp_path).pieces
    assert len(pieces) > 20
    assert all(len(piece) <= 4096 for piece in pieces)
    lines = [json.loads(line) for piece in pieces for line in piece.splitlines()]
    assert [line["type"] for line in lines] == ["event"] * 600 + ["summary"]
    assert [line["packet"] for line in lines[:-1:3]] == [*range(1, 201)]


@pytest.mark.parametrize(
    ("flags", "limit"),
    [
        (("--output-file-max-backups", "1"), rotation.Limits(100 << 20, 0, 1)),
        (("--output-file-max-age", "2"), rotation.Limits(100 << 20, 2 * DAY_S)),
        (("--output-file-max-age=90m",), rotation.Limits(100 << 20, 5400)),
        (("--output-file-compress",), rotation.Limits(100 << 20, compress=True)),
        (("--output-file-max-size", "3"), rotation.Limits(3 << 20)),
        (("--output-file-max-size=1500K",), rotation.Limits(1500 << 10)),
    ],
)
def test_sizes_and_ages(
    kernel: Kernel, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    flags: tuple[str, ...], limit: Limits,
) -> None:  # fmt: skip
    """As pwru reads them: megabytes and days; any of the flags rotates at its 100 MB."""
    seen: list[Limits] = []

    def note(name: str, limits: Limits, tell: object) -> Callable[[int], streams.WholeLines]:
        seen.append(limits)
        return streams.WholeLines

    monkeypatch.setattr(rotation, "rotated", note)
    kernel.records = packet()
    assert run("-w", str(tmp_path / "trace"), "-c", "3", *flags).status == 0
    assert seen == [limit]


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        ("--output-file-max-size 1", "rotate a file: give --output-file"),
        ("-w t --output-file-max-size 0", "'0' is not a size from 1K to 1024G"),
        ("-w t --output-file-max-size 2T", "'2T' is not a size"),
        ("-w t --output-file-max-age 1w", "'1w' is not an age: give days"),
        ("-w t --output-file-max-backups=-1", "'-1' is not a number of files"),
    ],
)
def test_what_is_refused(flags: str, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(flags.split()) == 2
    assert text in capsys.readouterr().err
