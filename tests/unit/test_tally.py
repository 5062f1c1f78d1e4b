# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import jsonschema

from pwru_py.output.schema import schema
from pwru_py.output.top import ORDERS, report_json, report_lines
from pwru_py.packets.tally import Tally
from pwru_py.record.event import Dropped, DropRow, Frame

SECOND = 1_000_000_000


def dropped(packets: int, reason: str = "TTL", offset: int = 1, ifname: str = "eth0") -> Dropped:
    return Dropped(reason, Frame(9, "ip_forward", offset, ""), packets, 7, ifname)


def test_counts_rates_shares_and_when() -> None:
    tally = Tally(10 * SECOND)
    first = tally.report([dropped(30), dropped(10, ifname="eth1")], 12 * SECOND)
    assert first == [
        DropRow("TTL", "ip_forward", 7, "eth0", 30, 15.0, 0.75, 12 * SECOND),
        DropRow("TTL", "ip_forward", 7, "eth1", 10, 5.0, 0.25, 12 * SECOND),
    ]
    second = tally.report([dropped(30), dropped(50, ifname="eth1")], 14 * SECOND)
    assert [(row.ifname, row.packets, row.rate, row.last_ns) for row in second] == [
        ("eth1", 50, 20.0, 14 * SECOND),
        ("eth0", 30, 0.0, 12 * SECOND),
    ]


def test_places_of_one_function_are_one_kind() -> None:
    (row,) = Tally(0).report([dropped(3, offset=1), dropped(4, offset=2)], SECOND)
    assert row.packets == 7


def test_no_drops() -> None:
    assert Tally(0).report([], SECOND) == []
    assert report_lines([], SECOND)[0].endswith("  0 drops")
    assert len(report_lines([], SECOND)) == 1


def test_text() -> None:
    rows = Tally(0).report([dropped(30), dropped(1, reason="", ifname="a\x1bb")], 2 * SECOND)
    when, titles, first, second = report_lines(rows, 2 * SECOND)
    assert when.endswith("  31 drops")
    assert titles.split() == [
        "COUNT",
        "RATE/s",
        "SHARE",
        "LAST",
        "REASON",
        "FUNCTION",
        "NETNS",
        "IFACE",
    ]
    assert first.split()[:3] == ["30", "15", "96.8%"]
    assert "no reason given by this kernel" in second
    assert "\x1b" not in second


def test_orders() -> None:
    tally = Tally(0)
    tally.report([dropped(30)], SECOND)
    rows = tally.report([dropped(30), dropped(5, ifname="eth1")], 2 * SECOND)
    first = {name: sorted(rows, key=order)[0].ifname for name, order in ORDERS.items()}
    assert first == {"count": "eth0", "rate": "eth1", "last": "eth1"}


def test_json_is_as_the_schema_says() -> None:
    rows = Tally(0).report([dropped(30), dropped(1, reason="")], SECOND)
    report = json.loads(report_json(rows, SECOND))
    jsonschema.validate(report, schema())
    assert report["total"] == sum(kind["packets"] for kind in report["kinds"]) == 31
