# SPDX-License-Identifier: Apache-2.0
"""fentry-multi against a bpf(2) that is made up: what is refused, modules, what is left open."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from typing import cast

import pytest

from pwru_py.attach.fentry_multi import FentryMulti
from pwru_py.attach.kprobe_multi import KprobeMulti
from pwru_py.attach.probes import Skipped
from pwru_py.errors import AttachError, FeatureUnsupportedError
from pwru_py.facts.features import Features
from pwru_py.kernel import bpf
from pwru_py.kernel.libbpf import Program
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Backend, Config
from pwru_py.plan.functions import Target
from pwru_py.programs.choose import Choice, choices

from .btf_builder import Builder

FENTRY_MULTI = 59
KERNEL_PROGRAM = 1000


class Kernel:
    """Hands out real descriptors, so that what is closed and what is not can be told."""

    def __init__(self) -> None:
        self.refused: dict[int, int] = {}  # BTF id: errno
        self.links: list[tuple[str, list[int], list[int]]] = []
        self.open: dict[int, str] = {}
        self.attempts = 0

    def _open(self, what: str) -> int:
        fd = os.open(os.devnull, os.O_RDONLY)
        self.open[fd] = what
        return fd

    def left(self) -> set[str]:
        """What is still open."""
        return {what for fd, what in self.open.items() if os.path.exists(f"/proc/self/fd/{fd}")}

    def module_btfs(self) -> dict[str, int]:
        return {"vmlinux": 1, "veth": 7, "bridge": 8}

    def btf_by_id(self, number: int) -> int:
        return self._open(f"btf {number}")

    def load_tracing(self, name: str, instructions: bytes, attach_type: int, btf: int) -> int:
        assert (name, instructions, attach_type) == ("trace_skb", b"insns", FENTRY_MULTI)
        return self._open(f"program for {self.open[btf]}")

    def link_tracing_multi(
        self, program: int, attach_type: int, ids: Sequence[int], cookies: Sequence[int]
    ) -> int:
        self.attempts += 1
        for btf_id in ids:
            if btf_id in self.refused:
                raise AttachError("no", self.refused[btf_id])
        who = "kernel" if program == KERNEL_PROGRAM else self.open[program]
        self.links.append((who, list(ids), list(cookies)))
        return self._open("link")

    def recursion_misses(self, program: int) -> int:
        return 3


class FakeProgram:
    fd = KERNEL_PROGRAM
    name = "trace_skb"

    def instructions(self) -> bytes:
        return b"insns"


PROGRAM = cast(Program, FakeProgram())


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name in ("module_btfs", "btf_by_id", "load_tracing", "link_tracing_multi",
                 "recursion_misses"):  # fmt: skip
        monkeypatch.setattr(bpf, name, getattr(made, name))
    return made


def probes(*targets: Target) -> FentryMulti:
    return FentryMulti(targets, Wake(), FENTRY_MULTI)


def functions(*ids: int, module: str = "") -> list[Target]:
    return [Target(f"f{n}", module, 0, 1, 2, n) for n in ids]


def test_one_link_for_the_kernel(kernel: Kernel) -> None:
    fentry = probes(*functions(10, 11))
    fentry.attach([PROGRAM])
    assert kernel.links == [("kernel", [10, 11], [0x121, 0x221])]
    assert (fentry.attached, fentry.failed, fentry.done) == (2, [], True)
    assert fentry.skipped([PROGRAM], final=False) == Skipped(3, whole=True)
    fentry.detach()
    assert kernel.left() == set()


def test_what_the_kernel_refuses_is_found_by_halving(kernel: Kernel) -> None:
    kernel.refused = {13: errno.EINVAL, 200: errno.ENOENT}
    fentry = probes(*functions(*range(256)))
    fentry.attach([PROGRAM])
    assert [(t.btf_id, number) for t, number in fentry.failed] == [(13, 22), (200, 2)]
    assert fentry.attached == 254
    assert sorted(n for _, ids, _ in kernel.links for n in ids) == sorted(
        set(range(256)) - {13, 200}
    )
    assert kernel.attempts < 40
    fentry.detach()
    assert kernel.left() == set()


def test_what_is_refused_to_all_is_an_error(kernel: Kernel) -> None:
    kernel.refused = {10: errno.EPERM}
    fentry = probes(*functions(10, 11))
    with pytest.raises(AttachError):
        fentry.attach([PROGRAM])
    assert kernel.attempts == 1


def test_a_module_has_a_program_of_its_own(kernel: Kernel) -> None:
    fentry = probes(*functions(10), *functions(90, 91, module="veth"), *functions(11))
    fentry.attach([PROGRAM])
    assert [(who, ids) for who, ids, _ in kernel.links] == [
        ("kernel", [10, 11]),
        ("program for btf 7", [90, 91]),
    ]
    assert [cookies for _, _, cookies in kernel.links] == [[0x121, 0x421], [0x221, 0x321]]
    assert fentry.skipped([PROGRAM], final=True) == Skipped(6, whole=True)
    assert kernel.left() == {"link", "program for btf 7"}
    fentry.detach()
    assert kernel.left() == set()


def test_a_module_that_has_gone(kernel: Kernel) -> None:
    fentry = probes(*functions(10), *functions(90, module="dummy"))
    fentry.attach([PROGRAM])
    assert [(t.name, number) for t, number in fentry.failed] == [("f90", errno.ENOENT)]
    assert (fentry.attached, fentry.done) == (1, True)
    fentry.detach()


def test_nothing_more_is_attached_after_an_interrupt(kernel: Kernel) -> None:
    fentry = probes(*functions(10))
    fentry._wake.set()
    fentry.attach([PROGRAM])
    assert kernel.links == []


@pytest.mark.parametrize(
    ("number", "attaches", "expected"), [(59, True, 59), (61, True, 61), (59, False, 0)]
)
def test_whether_a_kernel_has_it(number: int, attaches: bool, expected: int) -> None:
    """The number is the kernel's own; the function is there when it was built in."""
    b = Builder()
    b.enum("bpf_attach_type", {"BPF_TRACE_FENTRY": 24, "BPF_TRACE_FENTRY_MULTI": number})
    if attaches:
        b.func("bpf_trampoline_multi_attach", b.ptr(0))
    assert Features.of(b.btf()).fentry_multi == expected


def test_a_kernel_that_does_not_know_the_word() -> None:
    b = Builder()
    b.enum("bpf_attach_type", {"BPF_TRACE_FENTRY": 24})
    b.func("bpf_trampoline_multi_attach", b.ptr(0))
    assert Features.of(b.btf()).fentry_multi == 0


def test_its_programs_read_an_sk_buff_as_it_usually_lies() -> None:
    usual = Features(
        True, 59, True, 1, 2, True, False, True, True, "pcpu_hot", 8, False, True, False, True, 4,
        56, 5, 6,
    )  # fmt: skip
    assert choices(Config(), usual)[0].way is FentryMulti
    for unusual in (replace(usual, adjacent=False), replace(usual, tag_bit=True)):
        assert choices(Config(), unusual)[0] == Choice(KprobeMulti, False)
        with pytest.raises(FeatureUnsupportedError, match="laid out"):
            choices(Config(backend=Backend.FENTRY_MULTI), unusual)
