# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from collections.abc import Iterator
from urllib.request import urlopen

import pytest

from pwru_py.output.prometheus import DropExporter
from pwru_py.output.top import Look
from pwru_py.record.event import DropRow


def row(number: int, packets: int) -> DropRow:
    return DropRow("TTL", "ip_forward", number, "eth0", packets, 0.0, 0.0, 0)


@pytest.fixture
def exporter() -> Iterator[DropExporter]:
    made = DropExporter("", 0, lambda: 7)
    yield made
    made.close()


def scrape(exporter: DropExporter) -> dict[str, float]:
    with urlopen(f"http://127.0.0.1:{exporter.port}/metrics", timeout=5) as answer:
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if not line.startswith("#"))
    }


def label(number: int) -> str:
    who = f'function="ip_forward",interface="eth0",netns="{number}",reason="TTL"'
    return f"pwru_drops_total{{{who}}}"


OTHERS = 'function="others",interface="others",netns="others",reason="others"'


def test_labels_that_were_given_stay(exporter: DropExporter) -> None:
    """Whatever becomes more frequent later: no counter falls, and the sum is right."""
    exporter.show([row(number, 2) for number in range(1000)], 0, Look())
    assert scrape(exporter)[label(999)] == 2
    busier = [row(number, 9) for number in range(1000, 1500)]
    exporter.show([*busier, *(row(number, 3) for number in range(1000))], 0, Look())
    found = scrape(exporter)
    assert all(found[label(number)] == 3 for number in range(1000))
    assert found[f"pwru_drops_total{{{OTHERS}}}"] == 500 * 9
    assert found["pwru_events_lost_total"] == 7
