# SPDX-License-Identifier: Apache-2.0
"""Down the list of choices: what is tried after a refusal, what is said, what is freed."""

from __future__ import annotations

import errno
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from types import SimpleNamespace
from typing import Any, cast

import pytest

from pwru_py.attach.fentry_multi import FentryMulti
from pwru_py.attach.kprobe_events import KprobeEvents
from pwru_py.attach.kprobe_multi import KprobeMulti
from pwru_py.attach.kprobe_perf import KprobePerf
from pwru_py.attach.tracepoints import Tracepoints
from pwru_py.attach.ways import WAYS
from pwru_py.errors import (
    AttachError,
    FeatureUnsupportedError,
    LoadError,
    PrivilegeError,
    PwruError,
)
from pwru_py.facts.features import Features
from pwru_py.kernel import system
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Backend, Config
from pwru_py.programs import start as start_module
from pwru_py.programs.choose import Choice, choices, instead, left
from pwru_py.programs.prepare import Prepared
from pwru_py.programs.start import start

NEWEST = Features(
    True, 59, True, 1, 2, True, False, True, True, "__preempt_count", 0, True, True, True, True, 4,
    56, 5, 6,
)  # fmt: skip
OLD = replace(
    NEWEST,
    kprobe_multi=False,
    fentry_multi=0,
    cast_func=0,
    misses=False,
    tracepoint_cookies=False,
    session=0,
)

FENTRY = Choice(FentryMulti, True)
MULTI, MULTI_PLAIN = Choice(KprobeMulti, True), Choice(KprobeMulti, False)
EVENTS, EVENTS_PLAIN = Choice(KprobeEvents, True), Choice(KprobeEvents, False)
PERF, PERF_PLAIN = Choice(KprobePerf, True), Choice(KprobePerf, False)
POINTS, POINTS_PLAIN = Choice(Tracepoints, True), Choice(Tracepoints, False)
PROBES = (FENTRY, MULTI, MULTI_PLAIN, EVENTS, EVENTS_PLAIN, PERF, PERF_PLAIN)
ALL = (*PROBES, POINTS, POINTS_PLAIN)


@dataclass
class System:
    """What the system answers."""

    tracefs: str = "/sys/kernel/tracing"
    pmu: int | None = 8
    disarmed: bool = False
    ftrace: bool = True
    sys_admin: bool = True


@pytest.fixture
def answers(monkeypatch: pytest.MonkeyPatch) -> System:
    made = System()
    monkeypatch.setattr(system, "writable_tracefs", lambda: made.tracefs)
    monkeypatch.setattr(system, "text_start", lambda: 0x1000)
    monkeypatch.setattr(system, "kprobe_pmu", lambda: made.pmu)
    monkeypatch.setattr(system, "kprobes_disarmed", lambda: made.disarmed)
    monkeypatch.setattr(system, "ftrace_disabled", lambda: not made.ftrace)
    monkeypatch.setattr(system, "has_capability", lambda number: made.sys_admin)
    return made


def test_every_backend_has_a_row() -> None:
    assert {way.backend for way in WAYS} == set(Backend) - {Backend.AUTO}
    assert len({way.words for way in WAYS}) == len(WAYS)


def test_the_best_first(answers: System) -> None:
    assert choices(Config(), NEWEST) == ALL
    assert choices(Config(), OLD) == (EVENTS_PLAIN, PERF_PLAIN, POINTS_PLAIN)
    assert choices(Config(), replace(NEWEST, fentry_multi=0)) == ALL[1:]
    plain = (MULTI_PLAIN, EVENTS_PLAIN, PERF_PLAIN, POINTS_PLAIN)
    assert choices(Config(), NEWEST.without_own_btf()) == plain


def test_what_the_system_lacks(answers: System) -> None:
    answers.tracefs = ""
    probe = Config(backend=Backend.KPROBE)
    assert choices(probe, OLD) == (PERF_PLAIN,)
    answers.pmu = None
    with pytest.raises(FeatureUnsupportedError, match="no kprobes"):
        choices(probe, OLD)
    assert choices(Config(), NEWEST) == (FENTRY, MULTI, MULTI_PLAIN, POINTS, POINTS_PLAIN)
    answers.pmu, answers.disarmed = 8, True
    with pytest.raises(FeatureUnsupportedError, match="kprobes are switched off"):
        choices(probe, OLD)


def test_where_no_function_can_be_probed_tracepoints_are_left(answers: System) -> None:
    bare = replace(NEWEST, fentry_multi=0, kprobe_multi=False)
    answers.tracefs, answers.pmu = "", None
    assert choices(Config(), bare) == (POINTS, POINTS_PLAIN)
    assert choices(Config(), OLD) == (POINTS_PLAIN,)
    assert choices(Config(backend=Backend.TRACEPOINT), bare) == (POINTS, POINTS_PLAIN)
    with pytest.raises(FeatureUnsupportedError, match="no kprobes"):
        choices(Config(backend=Backend.KPROBE), bare)


def test_without_ftrace_a_probe_would_attach_and_never_be_hit(answers: System) -> None:
    answers.ftrace = False
    assert choices(Config(), NEWEST) == (POINTS, POINTS_PLAIN)
    for backend in (Backend.FENTRY_MULTI, Backend.KPROBE_MULTI, Backend.KPROBE):
        with pytest.raises(FeatureUnsupportedError, match="ftrace is switched off"):
            choices(Config(backend=backend), NEWEST)


def test_drops_have_one_way(answers: System) -> None:
    assert choices(Config(drops=True), OLD) == (POINTS_PLAIN,)
    assert choices(Config(drops=True), NEWEST) == (POINTS, POINTS_PLAIN)


def test_programs_at_functions_may_be_refused(answers: System) -> None:
    """A session that remembers packets does without them then, with the same loads."""
    bare = replace(NEWEST, fentry_multi=0, kprobe_multi=False)
    answers.tracefs, answers.pmu = "", None
    first, *others = choices(Config(filter_track_skb=True), bare)
    alone = left(first, others, PrivilegeError("no", ("CAP_BPF",)))
    assert alone == (replace(POINTS, follows=False), replace(POINTS_PLAIN, follows=False))
    assert left(alone[0], alone[1:], PrivilegeError("no", ("CAP_BPF",))) == ()
    assert "is not followed" in instead(first, alone[0], LoadError("no"))


def test_modules_without_the_right_to_their_types(answers: System) -> None:
    answers.sys_admin = False
    assert choices(Config(), NEWEST)[0] == FENTRY
    assert choices(Config(all_kmods=True), NEWEST)[0] == MULTI
    with pytest.raises(PrivilegeError, match="CAP_SYS_ADMIN"):
        choices(Config(kmods=("veth",), backend=Backend.FENTRY_MULTI), NEWEST)


def test_what_is_asked_for(answers: System) -> None:
    assert choices(Config(backend=Backend.FENTRY_MULTI), NEWEST) == (FENTRY,)
    assert choices(Config(backend=Backend.KPROBE_MULTI), NEWEST) == (MULTI, MULTI_PLAIN)
    assert choices(Config(backend=Backend.KPROBE), NEWEST) == PROBES[3:]
    for backend in (Backend.FENTRY_MULTI, Backend.KPROBE_MULTI):
        with pytest.raises(FeatureUnsupportedError, match=f"no {backend.value}"):
            choices(Config(backend=backend), OLD)


@dataclass
class Kernel:
    """Refuses to load or to attach what is told to it."""

    loads: dict[Choice, PwruError] = field(default_factory=dict)
    attaches: dict[Choice, PwruError] = field(default_factory=dict)
    tried: list[Choice] = field(default_factory=list)
    closed: list[Choice] = field(default_factory=list)
    empty: tuple[Choice, ...] = ()

    def load(self, prepared: Prepared, wake: Wake) -> Any:
        self.tried.append(prepared.choice)
        if prepared.choice in self.loads:
            raise self.loads[prepared.choice]
        return prepared

    def attach(self, loaded: Any, wake: Wake, warnings: tuple[str, ...]) -> Any:
        if loaded.choice in self.attaches:
            raise self.attaches[loaded.choice]
        return SimpleNamespace(choice=loaded.choice, warnings=warnings)

    def prepared(self, offered: Sequence[Choice]) -> Any:
        choice, *others = offered
        plan = SimpleNamespace(targets=() if choice in self.empty else ("ip_rcv",))
        return SimpleNamespace(choice=choice, others=tuple(others), plan=plan)


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    monkeypatch.setattr(start_module, "load", made.load)
    monkeypatch.setattr(start_module, "attach", made.attach)
    monkeypatch.setattr(start_module, "prepare_next", lambda prepared, left: made.prepared(left))
    return made


def started(kernel: Kernel, offered: Sequence[Choice] = ALL) -> tuple[Choice, tuple[str, ...]]:
    attached = cast(Any, start(kernel.prepared(offered), Wake()))
    return attached.choice, attached.warnings


def test_nothing_refused(kernel: Kernel) -> None:
    assert started(kernel) == (FENTRY, ())


def test_a_refused_attach_leads_to_another_way(kernel: Kernel) -> None:
    kernel.attaches = {FENTRY: AttachError("busy", 16), MULTI: AttachError("no such device", 19)}
    chosen, warnings = started(kernel)
    assert chosen == EVENTS
    assert warnings == (
        "fentry-multi refused, using kprobe-multi instead: busy",
        "kprobe-multi refused, using kprobe instead: no such device",
    )
    assert kernel.tried == [FENTRY, MULTI, EVENTS]


def test_refused_typed_loads_lead_to_plain_ones_for_good(kernel: Kernel) -> None:
    kernel.loads = {FENTRY: LoadError("kfunc"), MULTI: LoadError("cast"), EVENTS: LoadError("cast")}
    kernel.attaches = {MULTI_PLAIN: AttachError("no")}
    chosen, warnings = started(kernel)
    assert chosen == EVENTS_PLAIN
    assert warnings == (
        "fentry-multi refused, using kprobe-multi instead: kfunc",
        "typed loads refused, using helper calls instead: cast",
        "kprobe-multi refused, using kprobe instead: no",
    )
    assert kernel.tried == [FENTRY, MULTI, MULTI_PLAIN, EVENTS_PLAIN]


def test_the_last_refusal_is_the_error(kernel: Kernel) -> None:
    kernel.loads = {choice: LoadError(f"refused {choice.way.words}") for choice in ALL}
    with pytest.raises(LoadError, match="refused tracepoints"):
        started(kernel)
    with pytest.raises(LoadError, match="refused fentry-multi"):
        started(kernel, (FENTRY,))


@pytest.mark.parametrize(
    "error",
    [
        LoadError("out of memory", errno=errno.ENOMEM),
        AttachError("too many open files", errno.EMFILE),
        PrivilegeError("not permitted"),
    ],
)
def test_what_another_way_would_not_mend(kernel: Kernel, error: PwruError) -> None:
    kernel.loads = {FENTRY: error}
    with pytest.raises(type(error), match=str(error)):
        started(kernel)
    assert kernel.tried == [FENTRY]


def test_another_way_that_reaches_none_of_the_functions(kernel: Kernel) -> None:
    kernel.attaches = {FENTRY: AttachError("busy")}
    kernel.empty = (MULTI,)
    with pytest.raises(AttachError, match="busy"):
        started(kernel)


def test_detaching_goes_on_whatever_raises() -> None:
    gone = []

    class Broken(KprobePerf):
        def _release(self, stack: ExitStack) -> None:
            for n in range(3):
                stack.callback(self._one, n)

        def _one(self, n: int) -> None:
            gone.append(n)
            raise OSError(n, "no")

    with pytest.raises(OSError, match="no"):
        Broken([], Wake(), 0).detach()
    assert gone == [2, 1, 0]
