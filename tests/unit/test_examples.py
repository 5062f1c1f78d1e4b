# SPDX-License-Identifier: Apache-2.0
"""The programs of ``examples/``, as a user runs them, on a kernel whose records are given."""

from __future__ import annotations

import json
import runpy
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from pwru_py import session
from pwru_py.errors import PrivilegeError
from pwru_py.record import contract

from .fake_engine import Kernel, install, packet
from .test_record import record, stacked

EXAMPLES = Path(__file__).parents[2] / "examples"
NAMES = sorted(path.stem for path in EXAMPLES.glob("*.py"))
ARGUMENTS = {
    "count": ("60", "tcp"),
    "drops": ("1.1.1.1",),
    "follow": ("tcp",),
    "jsonl": ("tcp", "/dev/null"),
    "latency": ("ip_rcv", "kfree_skbmem"),
}
Run = Callable[..., str]


class InterruptedKernel(Kernel):
    """Once everything is read somebody types Ctrl-C."""

    def step(self, name: str) -> None:
        super().step(name)
        if name == "wait" and not self.records:
            signal.raise_signal(signal.SIGINT)


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Iterator[Run]:
    """Runs an example on a kernel; gives what it printed."""
    before = signal.getsignal(signal.SIGINT)

    def running(kernel: Kernel, name: str, *arguments: str) -> str:
        for module_name, fake in install(kernel).items():
            monkeypatch.setattr(session, module_name, fake)
        monkeypatch.setattr(sys, "argv", [name, *arguments])
        runpy.run_path(str(EXAMPLES / f"{name}.py"), run_name="__main__")
        assert kernel.opened == 0
        return capsys.readouterr().out

    yield running
    signal.signal(signal.SIGINT, before)


def two_packets() -> InterruptedKernel:
    return InterruptedKernel([*packet(0), *packet(1)])


def test_drops(run: Run) -> None:
    dropped = stacked(2, target=2, reason=2, flags=contract.EVENT_REASON)
    passed = stacked(2, target=1)
    lines = run(InterruptedKernel([passed, dropped]), "drops", "1.1.1.1").splitlines()
    assert lines[0] == "NOT_SPECIFIED kfree_skb_reason 10.0.0.2:45146 -> 1.1.1.1:80"
    assert len([line for line in lines if line.startswith("    nf_hook_slow+")]) == 2
    assert lines[-1] == "1 NOT_SPECIFIED"


def test_count(run: Run) -> None:
    kernel = InterruptedKernel([*packet(0), *packet(1), record(target=1)])
    assert run(kernel, "count", "60", "tcp").split("\n") == [
        "       3 ip_rcv",
        "       2 kfree_skb_reason",
        "       2 kfree_skbmem",
        "       0 lost",
        "",
    ]


def test_count_ends_by_itself(run: Run) -> None:
    assert run(Kernel(packet()), "count", "0.2").endswith("0 lost\n")


def test_follow(run: Run) -> None:
    kernel = InterruptedKernel([*packet(0), record(target=1, skb=7, ts_ns=5), *packet(1)])
    lines = run(kernel, "follow", "tcp").splitlines()
    heads = [line.split()[0] for line in lines if line.startswith("0x")]
    assert heads == ["0xffff888000000000", "0xffff888000000001", "0x7"], "ended ones first"
    assert [line.split()[2] for line in lines[1:4]] == [
        "ip_rcv",
        "kfree_skb_reason",
        "kfree_skbmem",
    ]


def test_jsonl(run: Run, tmp_path: Path) -> None:
    run(two_packets(), "jsonl", "tcp", str(tmp_path / "out"))
    found = [json.loads(line) for line in (tmp_path / "out").read_text().splitlines()]
    assert [one["dropped"] for one in found] == [None, "NOT_SPECIFIED", None] * 2
    assert found[0]["source"] == "10.0.0.2:45146"
    assert found[0]["target"] == "1.1.1.1:80"


def test_latency(run: Run) -> None:
    records = [
        record(target=target, skb=skb, ts_ns=ts_ns)
        for target, skb, ts_ns in ((1, 7, 1000), (1, 8, 2000), (3, 7, 4000), (1, 9, 5000),
                                   (3, 8, 9000), (3, 6, 9999))
    ]  # fmt: skip
    assert run(InterruptedKernel(records), "latency", "ip_rcv", "kfree_skbmem").split("\n") == [
        "2 packets from ip_rcv to kfree_skbmem, 1 did not arrive",
        "least 3.0 us, median 5.0 us, most 7.0 us",
        "",
    ]


@pytest.mark.parametrize("name", NAMES)
def test_an_error_is_one_line(run: Run, name: str) -> None:
    refused = InterruptedKernel(errors={"start": PrivilegeError("cannot trace: not root")})
    with pytest.raises(SystemExit, match=f"^{name}: cannot trace: not root$"):
        run(refused, name, *ARGUMENTS[name])
    assert refused.opened == 0


def test_each_is_explained() -> None:
    readme = (EXAMPLES / "README.md").read_text()
    assert sorted(ARGUMENTS) == NAMES
    for name in NAMES:
        assert f"[{name}.py]({name}.py)" in readme
