# SPDX-License-Identifier: Apache-2.0
"""A Tracer in the wrong order, twice, in two processes, forgotten: one error, or it works."""

from __future__ import annotations

import gc
import os
import threading
import warnings
from collections.abc import Callable
from typing import Any

import pytest

from pwru_py import Config, PwruError, Tracer, session

from .fake_engine import Kernel, install, packet


@pytest.fixture
def kernel(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    made = Kernel()
    for name, fake in install(made).items():
        monkeypatch.setattr(session, name, fake)
    return made


def test_not_entered(kernel: Kernel) -> None:
    tracer = Tracer()
    tracer.close()
    for use in (lambda: next(iter(tracer)), tracer.losses, lambda: tracer.progress):
        with pytest.raises(PwruError, match="use it in a with block"):
            use()


def test_no_config() -> None:
    wrong: Any = "icmp"
    with pytest.raises(PwruError, match="takes a Config, not str"):
        Tracer(wrong)


def test_entered_twice(kernel: Kernel) -> None:
    with Tracer() as tracer:
        with pytest.raises(PwruError, match="a tracer traces once"):
            tracer.__enter__()
        assert kernel.opened == 1
    assert kernel.opened == 0
    with pytest.raises(PwruError, match="a tracer traces once"):
        tracer.__enter__()


def test_read_after_the_end(kernel: Kernel) -> None:
    kernel.records = packet()
    with Tracer(Config(limit_events=1)) as tracer:
        assert len(list(tracer)) == 1
    with pytest.raises(PwruError, match="the session has ended"):
        next(iter(tracer))
    assert tracer.losses().buffer_full == 0


@pytest.mark.parametrize("asked", [True, False])
def test_new_bpf_programs_are_looked_for(
    kernel: Kernel, monkeypatch: pytest.MonkeyPatch, asked: bool
) -> None:
    """Also where events come all the time."""
    monkeypatch.setattr(session, "_PROGRAMS_S", 0.0)
    with Tracer(Config(filter_trace_tc=asked)) as tracer:
        batches = tracer.batches(idle_s=0.0)
        for _ in range(4):
            kernel.records = packet()
            next(batches)
    assert (kernel.steps.count("notice") > 1) is asked


def test_an_iteration_that_goes_on_after_the_end_ends(kernel: Kernel) -> None:
    kernel.records = packet()
    with Tracer() as tracer:
        events = iter(tracer)
        next(events)
    assert len(list(events)) == 2, "what it had in hand"
    assert "pause" not in kernel.steps


def test_closed_by_another_thread_while_it_waits(kernel: Kernel) -> None:
    with Tracer() as tracer:
        batches = tracer.batches()
        next(batches)
        threading.Timer(0.05, tracer.close).start()
        assert [batch for batch in batches if batch] == []
    assert kernel.opened == 0


def forget(kernel: Kernel) -> None:
    Tracer().__enter__()
    gc.collect()


def test_one_that_is_forgotten(kernel: Kernel) -> None:
    with pytest.warns(ResourceWarning, match="a Tracer was not closed"):
        forget(kernel)
    assert kernel.opened == 0


def test_one_that_is_closed_is_not_forgotten(kernel: Kernel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        tracer = Tracer().__enter__()
        tracer.close()
        del tracer
        gc.collect()
    assert kernel.steps.count("close") == 1


def test_one_that_could_not_start_is_not_forgotten(kernel: Kernel) -> None:
    kernel.errors["start"] = PwruError("refused")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(PwruError, match="refused"), Tracer():
            pass
        gc.collect()
    assert kernel.steps.count("close") == 1


def in_a_child(act: Callable[[], object]) -> str:
    """What ``act`` says in a forked process: its error, '' for none."""
    read, write = os.pipe()
    child = os.fork()
    if not child:
        said = ""
        try:
            act()
        except BaseException as error:
            said = f"{type(error).__name__}: {error}"
        os.write(write, said.encode())
        os._exit(0)
    os.waitpid(child, 0)
    os.close(write)
    with open(read, "rb") as stream:
        return stream.read().decode()


def test_fork(kernel: Kernel) -> None:
    with Tracer() as tracer:
        batches = tracer.batches()
        next(batches)

        def leave() -> None:
            tracer.stop()
            tracer.close()
            tracer._forgotten()
            assert "close" not in kernel.steps

        assert in_a_child(leave) == ""
        for read in (lambda: next(batches), lambda: next(tracer.batches())):
            assert in_a_child(read).startswith("PwruError: this session belongs to process")
        kernel.records = packet()
        assert len(next(batches)) == 3, "the child's end has not disturbed it"
        assert not tracer._stopping
