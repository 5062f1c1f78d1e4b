# SPDX-License-Identifier: Apache-2.0
"""Programs of a made-up kernel: which are traced, what is said of the others, what is left open."""

from __future__ import annotations

import errno
import os
import struct
from collections.abc import Iterator
from typing import cast

import pytest

from pwru_py.attach.bpf_programs import BpfPrograms, loaded_programs
from pwru_py.errors import AttachError, PrivilegeError, UsageError
from pwru_py.kernel import bpf, loaded, system
from pwru_py.kernel.libbpf import Program
from pwru_py.kernel.loaded import LoadedProgram
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Config
from pwru_py.programs.prepare import prepare
from pwru_py.record.contract import COPY_MARK
from pwru_py.record.event import BpfProgram

SOCKET_FILTER, CLS, ACT, XDP = 1, 3, 4, 6
MOVE = struct.pack("=BBhi", 0xB7, 1, 0, COPY_MARK)
EXIT = struct.pack("=BBhi", 0x95, 0, 0, 0)


class Ours:
    """What is to run at each."""

    name = "enter_tc"

    def instructions(self) -> bytes:
        return MOVE + EXIT


class Kernel:
    """Programs by id. Descriptors are real, so that what is left open can be told."""

    def __init__(self) -> None:
        self.programs: dict[int, LoadedProgram] = {}
        self.refused: dict[int, int] = {}  # id: errno, when ours is loaded
        self.busy: dict[int, int] = {}  # when it is attached
        self.gone: set[int] = set()
        self.open: dict[int, int] = {}  # descriptor: id
        self.numbers: dict[int, int] = {}  # id: what its copy says

    def add(self, number: int, kind: int, name: str = "main", *, btf: bool = True) -> None:
        function = number * 10 if btf else 0
        self.programs[number] = LoadedProgram(number, kind, name, function, function, number << 12)

    def _open(self, number: int) -> int:
        fd = os.open(os.devnull, os.O_RDONLY)
        self.open[fd] = number
        return fd

    def left(self) -> set[int]:
        return {fd for fd in self.open if os.path.exists(f"/proc/self/fd/{fd}")}

    def ids_after(self, last: int) -> Iterator[int]:
        return iter([number for number in sorted(self.programs) if number > last])

    def open_program(self, number: int) -> int:
        if number in self.gone:
            raise AttachError("gone", errno.ENOENT)
        return self._open(number)

    def describe(self, program: int) -> LoadedProgram:
        return self.programs[self.open[program]]

    def whole_name(self, program: LoadedProgram) -> str:
        return f"{program.name}_of_{program.number}"

    def load_fentry(self, name: str, instructions: bytes, program: int, function: int) -> int:
        number = self.open[program]
        assert (name, function) == ("enter_tc", number * 10)
        if number in self.refused:
            raise AttachError("cannot load it", self.refused[number])
        self.numbers[number] = struct.unpack_from("=i", instructions, 4)[0]
        return self._open(number)

    def attach_fentry(self, program: int) -> int:
        if self.open[program] in self.busy:
            raise AttachError("cannot attach", self.busy[self.open[program]])
        return self._open(self.open[program])

    def recursion_misses(self, program: int) -> int:
        return 3


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("ids_after", "open_program", "describe", "whole_name"):
        monkeypatch.setattr(loaded, name, getattr(made, name))
    for name in ("load_fentry", "attach_fentry", "recursion_misses"):
        monkeypatch.setattr(bpf, name, getattr(made, name))
    return made


def tracing(*kinds: str) -> BpfPrograms:
    return BpfPrograms({kind: cast(Program, Ours()) for kind in kinds}, Wake())


def test_those_that_are_there_are_listed(kernel: Kernel) -> None:
    kernel.add(4, SOCKET_FILTER)
    kernel.add(5, CLS)
    kernel.add(6, XDP)
    kernel.add(7, ACT, "bare", btf=False)
    kernel.add(8, CLS)
    kernel.gone.add(8)
    assert list(loaded_programs(["tc"])) == [
        (BpfProgram("tc", 5, "main_of_5", 5 << 12), ""),
        (BpfProgram("tc", 7, "bare", 7 << 12), "it has no BTF"),
    ]
    assert not kernel.left()


def test_those_that_are_there_and_those_that_come(kernel: Kernel) -> None:
    kernel.add(4, SOCKET_FILTER)
    kernel.add(5, CLS)
    kernel.add(6, XDP)
    programs = tracing("tc")
    programs.notice()
    assert programs.traced == [BpfProgram("tc", 5, "main_of_5", 5 << 12)]
    kernel.add(9, ACT, "late")
    programs.notice()
    programs.notice()
    assert [each.name for each in programs.traced] == ["main_of_5", "late_of_9"]
    assert kernel.numbers == {5: 0, 9: 1}
    assert (programs.skipped(), programs.warnings) == (6, [])
    programs.detach()
    programs.detach()
    assert kernel.left() == set()


def test_who_asks_for_none_looks_for_none(kernel: Kernel) -> None:
    kernel.add(5, CLS)
    programs = tracing()
    programs.notice()
    assert (programs.traced, kernel.open) == ([], {})


def test_what_refuses_is_named_and_the_rest_goes_on(kernel: Kernel) -> None:
    kernel.add(5, CLS, "bare", btf=False)
    kernel.add(6, CLS)
    kernel.add(7, CLS)
    kernel.add(8, CLS)
    kernel.add(9, CLS)
    kernel.refused[6], kernel.busy[7] = errno.EPERM, errno.EBUSY
    kernel.gone.add(8)
    programs = tracing("tc")
    programs.notice()
    assert programs.warnings == [
        "the tc program bare (id 5) is not traced: it has no BTF",
        "the tc program main_of_6 (id 6) is not traced: cannot load it",
        "the tc program main_of_7 (id 7) is not traced: cannot attach",
    ]
    assert programs.traced[kernel.numbers[9]].id == 9
    programs.detach()
    assert kernel.left() == set()


def test_an_end_is_not_waited_for(kernel: Kernel) -> None:
    kernel.add(5, CLS)
    wake = Wake()
    programs = BpfPrograms({"tc": cast(Program, Ours())}, wake)
    wake.set()
    programs.notice()
    assert kernel.open == {}
    wake.close()


@pytest.mark.parametrize("others", [{"drops": True}, {"journey": True}, {"filter_return": "< 0"}])
def test_what_no_program_can_be(others: dict[str, object]) -> None:
    with pytest.raises(UsageError, match="`filter_trace_tc`"):
        Config(filter_trace_tc=True, **others)  # type: ignore[arg-type]


def test_who_may_not_see_programs_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(system, "check_privileges", lambda: None)
    monkeypatch.setattr(system, "has_capability", lambda number: False)
    with pytest.raises(PrivilegeError, match="CAP_SYS_ADMIN") as told:
        prepare(Config(filter_trace_tc=True))
    assert told.value.missing == ("CAP_SYS_ADMIN",)
