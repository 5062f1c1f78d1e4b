# SPDX-License-Identifier: Apache-2.0
"""What libpcap may need long for: it runs aside, within a bound, and a signal ends it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pwru_filters import FilterSyntaxError, FilterUnsupportedError, compile_filter
from pwru_filters.front.aside import compile_aside
from pwru_filters.front.cbpf import CbpfProgram
from pwru_filters.front.libpcap import OPTIMIZED_LENGTH, SHORT_LENGTH, compile_whole
from pwru_filters.front.names import has_names

from .expressions import corpus

# Takes libpcap minutes, and cannot be taken apart.
HARD = " or ".join(f"port {7 * n}" for n in range(3000)) + " or len > 5"
GUARD = 60
"""Seconds after which a test is stuck."""

LIBRARY = "import sys; from pwru_filters import compile_filter; compile_filter(sys.argv[1])"


@pytest.mark.parametrize(
    "expression",
    [
        "",
        "tcp port http or host 127.0.0.1",
        "vlan 7 and udp",
        "ip[2:2] / (ip[9] - 6) = 0",
        HARD[:900],
    ],
)
@pytest.mark.parametrize("optimize", [True, False])
def test_it_is_the_same_program(expression: str, optimize: bool) -> None:
    expression = expression.rpartition(" or ")[0] or expression
    aside = compile_aside(expression, optimize=optimize)
    assert aside == compile_whole(expression, optimize=optimize)


@pytest.mark.parametrize(
    "expression", ["foo bar", "tcp port 99999", "port nosuchservice", "\N{SNOWMAN}", "ip\udc80"]
)
def test_libpcap_refuses_in_the_same_words(expression: str) -> None:
    with pytest.raises(FilterSyntaxError) as within:
        compile_whole(expression)
    with pytest.raises(FilterSyntaxError) as aside:
        compile_aside(expression, optimize=True)
    assert (aside.value.text, aside.value.column) == (within.value.text, within.value.column)


def test_it_is_bounded() -> None:
    with pytest.raises(FilterUnsupportedError, match="more than 1 s for it; shorten it") as caught:
        compile_aside(HARD, optimize=False, cpu_seconds=1)
    assert str(caught.value).count("\n") == 0
    assert str(caught.value)[0].islower()


@pytest.mark.parametrize(
    ("executable", "words"),
    [("/bin/false", "ended with status 1"), ("/nowhere", "cannot start: No such file")],
)
def test_a_process_that_fails_is_an_error(
    executable: str, words: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "executable", executable)
    with pytest.raises(FilterUnsupportedError, match=words):
        compile_aside("tcp", optimize=True)


@pytest.fixture
def aside(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """What goes aside, and whether it is optimised."""
    asked: list[tuple[str, bool]] = []

    def asking(expression: str, *, optimize: bool) -> CbpfProgram:
        asked.append((expression, optimize))
        return compile_whole("tcp")

    monkeypatch.setattr("pwru_filters.front.aside.compile_aside", asking)
    return asked


def test_what_goes_aside(aside: list[tuple[str, bool]]) -> None:
    names, short, long = "host localhost", HARD[: SHORT_LENGTH + 1], HARD[: OPTIMIZED_LENGTH + 1]
    short, long = (text.rpartition(" or ")[0] + " or len > 5" for text in (short, long))
    for expression in (names, short, long):
        compile_filter(expression)
    assert aside == [(names, True), (short, True), (long, False)]


def test_what_libpcap_does_at_once_stays_here(aside: list[tuple[str, bool]]) -> None:
    """A process takes longer than most expressions."""
    for expression in ("tcp and dst port 53", "ip6 host fe80::1", "tcp[tcpflags] & tcp-syn != 0"):
        compile_filter(expression)
    assert not aside


@pytest.mark.parametrize(
    ("expression", "names"),
    [
        ("host example.org", True), ("port http", True), ("ether host cafe", True),
        ("host 3com.com", True), ("cafe", True), ("host 10.0.0.1 or net 10.0.0.0/8", False),
        ("ether host ac:de:48:00:11:22 or host fe80::1", False), ("ip proto \\tcp", False),
        ("ip[0xa:2] & 0x1f != 5 && portrange 1-9", False), ("ip[0]-ip[1]=1||len>5", False),
    ],
)  # fmt: skip
def test_names(expression: str, names: bool) -> None:
    assert has_names(expression) == names


def test_few_expressions_have_names() -> None:
    named = [expression for expression in corpus() if has_names(expression)]
    assert len(named) < len(corpus()) // 20, named


def children(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def ticks(pid: int) -> int:
    """Processor time of the process so far."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[11])


def is_gone(pid: int) -> bool:
    """Whether the process has ended, be it that nobody has asked for its status yet."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except (FileNotFoundError, ProcessLookupError):
        return True


def wait_for(condition: Callable[[], bool]) -> None:
    end = time.monotonic() + GUARD
    while not condition():
        assert time.monotonic() < end
        time.sleep(0.01)


@contextmanager
def at_work(command: list[str]) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """A process whose child has been in libpcap for some time."""
    started = subprocess.Popen(
        [sys.executable, *command, HARD],
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
    )
    try:
        wait_for(lambda: any(ticks(child) > 5 for child in children(started.pid)))
        yield started, children(started.pid)[0]
    finally:
        started.kill()
        started.communicate()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_signal_ends_the_command(number: signal.Signals) -> None:
    """Without a word, and no process is left."""
    with at_work(["-m", "pwru_py"]) as (command, child):
        command.send_signal(number)
        assert command.communicate(timeout=GUARD) == ("", "")
        assert command.returncode == 0
        wait_for(lambda: is_gone(child))


def test_ctrl_c_ends_the_library() -> None:
    with at_work(["-c", LIBRARY]) as (user, child):
        user.send_signal(signal.SIGINT)
        assert user.communicate(timeout=GUARD)[1].rstrip().endswith("KeyboardInterrupt")
        assert is_gone(child)
