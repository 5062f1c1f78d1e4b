# SPDX-License-Identifier: Apache-2.0
"""A session's kernel side without a kernel: what is recorded is given beforehand.

As a program it is pwru-py itself on such a kernel: ``python -m tests.unit.fake_engine PACKETS
[argument ...]``.
"""

from __future__ import annotations

import select
import sys
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from types import SimpleNamespace
from typing import Any

from pwru_py import session as tracer
from pwru_py.attach.kprobe_multi import KprobeMulti
from pwru_py.kernel.wake import Wake
from pwru_py.options.config import Config
from pwru_py.plan.functions import Plan, Skipped, Target
from pwru_py.programs.field_expressions import FieldExpressions
from pwru_py.programs.known import KernelTypes
from pwru_py.programs.splice import compile_all
from pwru_py.record import contract, layout
from pwru_py.record.details import NO_SHAPES
from pwru_py.record.event import Frame, Losses

from .test_record import NAMES, record, stacked

TARGETS = (
    Target("ip_rcv", "", 0xFFFFFFFF81000000, 1, 0),
    Target("kfree_skb_reason", "", 0xFFFFFFFF81000100, 1, 2),
    Target("kfree_skbmem", "", 0xFFFFFFFF81000200, 1, 0),
)
PLAN = Plan(TARGETS, (Skipped("inlined", "veth", "not in available_filter_functions"),))


def packet(number: int = 0, **changes: Any) -> list[bytes]:
    """Three records of a packet that is dropped."""
    at = {"skb": 0xFFFF888000000000 + number, "ts_ns": 1000 * number} | changes
    return [
        record(target=1, **at),
        record(target=2, reason=2, flags=contract.EVENT_REASON, **at),
        record(target=3, **at),
    ]


@dataclass
class Kernel:
    """What the next session finds, and what became of it. ``error``: raised by that step."""

    records: list[bytes] = field(default_factory=list)
    plan: Plan = PLAN
    losses: Losses = field(default_factory=lambda: Losses(recursion=0))
    errors: dict[str, Exception] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    failed: list[tuple[Target, int]] = field(default_factory=list)
    steps: list[str] = field(default_factory=list)

    def step(self, name: str) -> None:
        self.steps.append(name)
        if name in self.errors:
            raise self.errors[name]

    @property
    def opened(self) -> int:
        """Sessions that were opened and not closed."""
        return self.steps.count("open") - self.steps.count("close")


def record_layout(stack: bool) -> layout.RecordLayout:
    return layout.RecordLayout.of(*[contract.SECTION_STACK] * stack)


class Reader:
    """Hands over all records at once, then sleeps until it is woken."""

    def __init__(self, kernel: Kernel, stack: bool, wake_fd: int) -> None:
        self.skip = 0
        self.stride = record_layout(stack).bytes
        self._kernel = kernel
        self._wake_fd = wake_fd

    def wait(self, seconds: float) -> bool:
        self._kernel.step("wait")
        if not self._kernel.records:
            select.select([self._wake_fd], [], [], seconds)
        return bool(self._kernel.records)

    def read(self) -> Iterator[bytes]:
        self._kernel.step("read")
        records, self._kernel.records = self._kernel.records, []
        if records:
            yield b"".join(records)


def symbolize(addr: int, innermost: bool) -> Frame:
    return Frame(addr, "nf_hook_slow", addr & 0xFF, "")


class FakeAttached:
    """Has of ``programs.attached.Attached`` what a Tracer uses."""

    def __init__(self, kernel: Kernel, prepared: Any, wake: Wake) -> None:
        kernel.step("open")
        self.kernel = kernel
        self.prepared = prepared
        self.reader = Reader(kernel, prepared.config.output_stack, wake.fd)
        self.locate = lambda addr: symbolize(addr, False)
        self.tells_drops = False
        self.record = record_layout(prepared.config.output_stack)
        self.shapes = NO_SHAPES
        self.failed = kernel.failed
        self.symbolize = symbolize if prepared.config.output_stack else None
        self.warnings = kernel.warnings
        self.paused = self.closed = False
        self.reasons = SimpleNamespace(
            name=lambda value: NAMES.get(value, "?"),
            is_drop=lambda value: value > 1,
            known=True,
            knows_consumed=True,
        )
        self.programs = SimpleNamespace(
            traced=[], warnings=[], notice=partial(kernel.step, "notice")
        )
        self.probes = SimpleNamespace(
            total=len(prepared.plan.targets),
            attached=len(prepared.plan.targets) - len(kernel.failed),
            failed=kernel.failed,
            begun=len(prepared.plan.targets),
            done=True,
            warnings=[],
            slow=False,
        )

    def pause(self) -> None:
        self.paused = True
        self.kernel.step("pause")

    def drops_limited(self, losses: Losses) -> bool:
        return False

    def tagged(self) -> int:
        return 0

    def unbelieved(self) -> int:
        return 0

    def losses(self) -> Losses:
        return self.kernel.losses

    def target_at(self, addr: int) -> Target | None:
        return None

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            self.kernel.step("close")


def install(kernel: Kernel) -> dict[str, Any]:
    """What to put in place of the same names in ``pwru_py.session``."""

    def prepare(config: Config, types: KernelTypes) -> Any:
        compile_all(config)
        kernel.step("prepare")
        return SimpleNamespace(
            config=config,
            plan=kernel.plan,
            way=KprobeMulti,
            field_expressions=FieldExpressions(),
        )

    def start(prepared: Any, wake: Wake) -> FakeAttached:
        attached = FakeAttached(kernel, prepared, wake)
        try:
            kernel.step("start")
        except BaseException:
            attached.close()
            raise
        return attached

    return {"start": start, "prepare": prepare}


if __name__ == "__main__":
    from pwru_py.__main__ import run

    packets = int(sys.argv[1])
    make = (lambda n: [stacked(3)] * 3) if "--output-stack" in sys.argv else packet
    for name, fake in install(Kernel([raw for n in range(packets) for raw in make(n)])).items():
        setattr(tracer, name, fake)
    del sys.argv[1]
    sys.exit(run())
