# SPDX-License-Identifier: Apache-2.0
"""Reasons out of real logs: ``verifier_logs`` holds what ``tests.kernel.inside.refusals`` made."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from pwru_py.errors import LoadError, PrivilegeError
from pwru_py.programs.load import explain
from pwru_py.programs.verifier_log import Refusal, read_log

LOGS = sorted((Path(__file__).parent / "verifier_logs").glob("*.txt"))
# What was done: words of the reason.
REASONS = {
    "infinite_loop": "infinite loop detected",
    "not_initialised": "R4 !read_ok",
    "no_pointer": "R1 invalid mem access",
    "beyond_the_stack": "invalid write to stack R10 off=-600 size=8",
    "unknown_helper": "invalid func unknown#100000",
    "unknown_kfunc": "",
    "other_kernel": "CO-RE relocation",
    "map_too_large": "failed to create",
}


def words(path: Path) -> str:
    return path.stem.partition("-")[2]


def test_there_are_logs_of_every_refusal_on_four_kernels() -> None:
    assert {words(path) for path in LOGS} == set(REASONS)
    assert len({path.stem.partition("-")[0] for path in LOGS}) == 4


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_the_reason(path: Path) -> None:
    said = read_log(path.read_text())
    what = words(path)
    assert REASONS[what] in said.reason
    assert said.reason
    assert not said.too_complex
    assert said.other_kernel == (what == "other_kernel")
    assert bool(said.processed) == (what != "map_too_large")


@pytest.mark.parametrize("path", LOGS, ids=lambda path: path.stem)
def test_one_line_and_the_whole_log(path: Path) -> None:
    log = path.read_text()
    error = explain(LoadError("invalid argument", log, errno.EINVAL), {})
    assert isinstance(error, LoadError)
    assert error.log == log
    assert "\n" not in str(error)


def test_too_complex() -> None:
    """kernel/bpf/verifier.c: made by hand, as a real one takes the verifier a minute."""
    words = "BPF program is too large. Processed 1000001 insn"
    log = f"{words}\nprocessed 1000001 insns (limit 1000000) max_states_per_insn 4\n"
    assert read_log(log).reason == words
    assert read_log(log).too_complex
    error = explain(LoadError("argument list too long", log, errno.E2BIG), {})
    assert "use a shorter filter" in str(error)


def test_what_says_nothing() -> None:
    assert read_log("") == Refusal("", "", False, False)
    told = explain(LoadError("invalid argument", "", errno.EINVAL), {})
    assert str(told).startswith("the kernel refuses the program: invalid argument")


def test_a_refusal_before_the_verifier_is_one_of_rights() -> None:
    log = "libbpf: Error in bpf_object__probe_loading():Operation not permitted(1)."
    assert isinstance(explain(LoadError("no", log, errno.EPERM), {}), PrivilegeError)
