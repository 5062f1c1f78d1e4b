# SPDX-License-Identifier: Apache-2.0
"""Files of the command's own: who may read them, what they may be, what they end with."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from pwru_py import streams
from pwru_py.errors import OutputError


def write(name: str, text: str) -> None:
    with streams.output(name) as stream:
        streams.empty(stream, name)
        stream.write(text)


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def test_a_new_file_is_its_owners_alone(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        write(str(tmp_path / "trace"), "line\n")
        streams.make_ready_file(str(tmp_path / "ready"))
    finally:
        os.umask(before)
    assert mode(tmp_path / "trace") == mode(tmp_path / "ready") == 0o600
    assert (tmp_path / "trace").read_text() == "line\n"


def test_a_file_that_is_there_keeps_its_mode(tmp_path: Path) -> None:
    target = tmp_path / "trace"
    target.write_text("a longer trace of before\n")
    target.chmod(0o640)
    write(str(target), "line\n")
    assert (mode(target), target.read_text()) == (0o640, "line\n")


@pytest.mark.parametrize("there", [True, False])
def test_links_are_not_followed(tmp_path: Path, there: bool) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    if there:
        target.write_text("precious\n")
    link.symlink_to(target)
    why = f"it is a symbolic link to {target}, and links are not followed"
    with pytest.raises(OutputError) as raised:
        write(str(link), "line\n")
    assert str(raised.value) == f"cannot write to {link}: {why}: choose another `output_file`"
    with pytest.raises(OutputError) as raised:
        streams.make_ready_file(str(link))
    assert str(raised.value) == f"cannot create ready file {link}: {why}"
    assert target.exists() == there
    if there:
        assert target.read_text() == "precious\n"


@pytest.mark.parametrize("name", ["/dev/fd/{}", "/proc/self/fd/{}"])
def test_a_file_that_is_open_already(tmp_path: Path, name: str) -> None:
    """As a shell's ``>(command)`` and ``3>file`` give it: not emptied, written on where it is."""
    with open(tmp_path / "trace", "w") as opened:
        opened.write("earlier\n")
        opened.flush()
        write(name.format(opened.fileno()), "line\n")
    assert (tmp_path / "trace").read_text() == "earlier\nline\n"


def test_a_number_that_is_not_open() -> None:
    with pytest.raises(OutputError, match="cannot write to /dev/fd/987654: bad file descriptor"):
        write("/dev/fd/987654", "line\n")


def test_a_fifo(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    reader = os.open(fifo, os.O_RDONLY | os.O_NONBLOCK)
    write(str(fifo), "line\n")
    assert os.read(reader, 100) == b"line\n"
    os.close(reader)
    with pytest.raises(OutputError, match=r"cannot create ready file .*: no such device"):
        streams.make_ready_file(str(fifo))


def test_a_name_that_does_not_print(tmp_path: Path) -> None:
    with pytest.raises(OutputError, match=r"absent\\xff/trace: no such file"):
        write(f"{tmp_path}/absent\udcff/trace", "line\n")


def test_the_first_line_may_be_cut_away_whole(tmp_path: Path) -> None:
    target = tmp_path / "trace"
    target.write_text("earlier\n")
    lines = streams.WholeLines(os.open(target, os.O_WRONLY | os.O_APPEND))
    lines.write(b"half a li")
    assert target.read_text() == "earlier\nhalf a li"
    lines._cut()
    assert target.read_text() == "earlier\n"
    lines.write(b"one\ntwo\nth")
    lines._cut()
    assert target.read_text() == "earlier\none\ntwo\n"
    lines.close()
