# SPDX-License-Identifier: Apache-2.0
"""Ways of attaching that see where functions return, against a kernel that writes down."""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import cast

import pytest

from pwru_py.attach.kprobe_events_pair import KprobeEventsPair
from pwru_py.attach.kprobe_multi_pair import KprobeMultiPair
from pwru_py.attach.kprobe_session import KprobeSession
from pwru_py.attach.probes import Skipped
from pwru_py.attach.ways import WAYS
from pwru_py.errors import AttachError, FeatureUnsupportedError, UsageError
from pwru_py.kernel import bpf, system
from pwru_py.kernel.libbpf import Link, Program
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Backend, Config
from pwru_py.plan.functions import Target
from pwru_py.programs import choose
from pwru_py.programs.choose import choices
from pwru_py.programs.splice import object_bytes, with_session

from .test_kprobe_events import BASE, FakeLink, Kernel, kernel
from .test_start import NEWEST, OLD

__all__ = ["kernel"]

SESSION = 56
PLAIN = [Target(f"f{n}", "", BASE + 0x100 * n, 1, 0) for n in range(1, 4)]
FREES = Target("kfree_skb_reason", "", BASE + 0x800, 1, 2)
OLDER_FREES = Target("kfree_skb", "", BASE + 0x900, 1, 0)
TARGETS = [*PLAIN, FREES, OLDER_FREES]
RETURNING = [target.addr for target in PLAIN]


class FakeProgram:
    """Attaches to all but those at ``refused``."""

    fd = 9

    def __init__(self, name: str, refused: int = 0) -> None:
        self.name = name
        self.refused = refused
        self.attached: list[tuple[list[int], bool]] = []
        self.destroyed: list[str] = []

    def attach_kprobe_multi(self, addrs: Sequence[int], *, leaves: bool = False) -> Link:
        if self.refused in addrs:
            raise AttachError("no", errno.EINVAL)
        self.attached.append((list(addrs), leaves))
        made = FakeLink(os.open(os.devnull, os.O_RDONLY))
        made.destroy = lambda: self.destroyed.append(self.name)  # type: ignore[method-assign]
        return cast(Link, made)

    def attach_perf_event(self, fd: int) -> Link:
        return cast(Link, FakeLink(fd))


def test_a_session_is_one_link(monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[tuple[int, int, list[int]]] = []

    def link(program: int, attach_type: int, addrs: Sequence[int]) -> int:
        made.append((program, attach_type, list(addrs)))
        return os.open(os.devnull, os.O_RDONLY)

    monkeypatch.setattr(bpf, "link_kprobe_session", link)
    monkeypatch.setattr(bpf, "link_missed", lambda fd, word: 2)
    monkeypatch.setattr(bpf, "recursion_misses", lambda program: 3)
    program = cast(Program, FakeProgram("trace_session"))
    probes = KprobeSession(TARGETS, Wake(), SESSION)
    assert probes.programs(TARGETS, "trace_skb") == ("trace_session",)
    probes.attach([program])
    assert made == [(9, SESSION, [target.addr for target in TARGETS])]
    assert probes.skipped([program], final=True) == Skipped(5, whole=True)
    (fd,) = probes._fds
    probes.detach()
    with pytest.raises(OSError, match="Bad file"):
        os.fstat(fd)


def test_two_links(monkeypatch: pytest.MonkeyPatch) -> None:
    """Not where a function tells who has called it: a probe of returns would hide that."""
    enter, leave = FakeProgram("trace_call"), FakeProgram("trace_return")
    probes = KprobeMultiPair(TARGETS, Wake())
    assert probes.programs(TARGETS, "trace_skb") == (enter.name, leave.name)
    probes.attach([cast(Program, enter), cast(Program, leave)])
    assert leave.attached == [(RETURNING, True)]
    assert enter.attached == [([target.addr for target in TARGETS], False)]
    assert (probes.attached, probes.failed) == (len(TARGETS), [])
    probes.detach()
    assert enter.destroyed + leave.destroyed == ["trace_call", "trace_return"]


def test_what_is_refused_at_its_entry_is_not_left_at_its_return() -> None:
    refused = PLAIN[1].addr
    enter, leave = FakeProgram("trace_call", refused), FakeProgram("trace_return")
    probes = KprobeMultiPair(PLAIN, Wake())
    probes.attach([cast(Program, enter), cast(Program, leave)])
    assert [(t.name, number) for t, number in probes.failed] == [("f2", errno.EINVAL)]
    kept = len(enter.attached)
    assert len(leave.attached) - len(leave.destroyed) == kept
    probes.detach()


def test_only_functions_that_free() -> None:
    enter, leave = FakeProgram("trace_call"), FakeProgram("trace_return")
    KprobeMultiPair([FREES], Wake()).attach([cast(Program, enter), cast(Program, leave)])
    assert (len(enter.attached), leave.attached) == (1, [])


def test_kretprobes_beside_kprobes(kernel: Kernel) -> None:
    programs = [cast(Program, FakeProgram(name)) for name in ("trace_call", "trace_return")]
    probes = KprobeEventsPair(TARGETS, Wake(), kernel, first=2)
    probes.attach(programs)
    assert probes._thread is not None
    probes._thread.join()
    assert probes.done
    there = {name.split("/")[1].split("_")[0]: offsets for name, offsets in kernel.there.items()}
    assert there == {
        "first": [0x100, 0x200],
        "firstreturns": [0x100, 0x200],
        "rest": [0x300, 0x800, 0x900],
        "restreturns": [0x300],
    }
    enabled = [name.split("/")[1].split("_")[0] for name in kernel.enabled]
    assert enabled == ["firstreturns", "first", "restreturns", "rest"]
    probes.detach()
    assert kernel.there == {}


def test_kretprobes_of_a_killed_session_are_found(tmp_path: Path) -> None:
    namespace = os.stat("/proc/self/ns/pid").st_ino
    line = f"r64:pwru_py/firstreturns_{namespace}_{2**22 + 1}_0 _stext+256\n"
    Path(tmp_path, "kprobe_events").write_text(line)
    assert [d.split(b" ")[1] for d in Kernel(tmp_path).abandoned()] == [b"_stext+256"]


@pytest.fixture
def allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(choose, "ftrace_off", lambda: None)
    monkeypatch.setattr(system, "has_capability", lambda number: True)
    monkeypatch.setattr(system, "kprobe_pmu", lambda: 6)
    monkeypatch.setattr(system, "kprobes_disarmed", lambda: False)
    monkeypatch.setattr(system, "writable_tracefs", lambda: "/sys/kernel/tracing")
    monkeypatch.setattr(system, "text_start", lambda: BASE)


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("asked", [{"output_return": True}, {"filter_return": "< 0"}])
def test_what_a_session_with_returns_takes(asked: dict[str, object]) -> None:
    config = Config(**asked)  # type: ignore[arg-type]
    found = [choice.way for choice in choices(config, NEWEST)]
    assert list(dict.fromkeys(found)) == [KprobeSession, KprobeMultiPair, KprobeEventsPair]
    found = [choice.way for choice in choices(config, replace(NEWEST, session=0))]
    assert found[0] is KprobeMultiPair
    assert {choice.way for choice in choices(config, OLD)} == {KprobeEventsPair}
    kprobe = replace(config, backend=Backend.KPROBE)
    assert {choice.way for choice in choices(kprobe, NEWEST)} == {KprobeEventsPair}


@pytest.mark.usefixtures("allowed")
@pytest.mark.parametrize("backend", [Backend.FENTRY_MULTI, Backend.TRACEPOINT])
def test_what_sees_no_returns(backend: Backend) -> None:
    config = Config(output_return=True, backend=backend)
    with pytest.raises(FeatureUnsupportedError, match="does not see where functions return"):
        choices(config, NEWEST)


@pytest.mark.usefixtures("allowed")
def test_no_other_session_takes_them() -> None:
    assert not any(choice.way.returns for choice in choices(Config(), NEWEST))
    assert sum(way.returns for way in WAYS) == 3


@pytest.mark.parametrize("wrong", [{"drops": True}, {"journey": True}])
def test_tracepoints_do_not_return(wrong: dict[str, bool]) -> None:
    with pytest.raises(UsageError, match="tracepoints do not"):
        Config(output_return=True, **wrong)  # type: ignore[arg-type]


def test_a_wrong_comparison() -> None:
    with pytest.raises(UsageError, match="compare it with =="):
        Config(filter_return="< NF_DROP")


@pytest.mark.parametrize("programs", ["plain", "typed"])
def test_calls_of_the_kernel_take_the_place_of_the_marks(programs: str) -> None:
    """``call`` of a kernel's function: the opcode, BPF_PSEUDO_KFUNC_CALL, its BTF id."""
    before = object_bytes(programs, {})
    after = with_session(before, replace(NEWEST, session_is_return=0x1234, session_cookie=0x5678))
    assert len(after) == len(before)
    calls = [bytes.fromhex("85200000 34120000"), bytes.fromhex("85200000 78560000")]
    assert [after.count(call) - before.count(call) for call in calls] == [1, 2]
