# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import json

import jsonschema

from pwru_py.output.schema import schema
from pwru_py.output.top import ORDERS, report_json, report_lines
from pwru_py.packets.tally import Tally
from pwru_py.record.event import Dropped, DropRow, Flow, FlowRow, Frame, Tuple

SECOND = 1_000_000_000


def dropped(
    packets: int, reason: str = "TTL", offset: int = 1, ifname: str = "eth0", *flows: Flow
) -> Dropped:
    return Dropped(reason, Frame(9, "ip_forward", offset, ""), packets, 7, ifname, flows)


def udp(port: int) -> Tuple:
    return Tuple("10.0.0.1", "10.0.0.2", port, 53, 17, True)


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
    assert report_lines([], SECOND, 3)[0].endswith("  0 drops")
    assert len(report_lines([], SECOND, 3)) == 1


def test_text() -> None:
    rows = Tally(0).report([dropped(30), dropped(1, reason="", ifname="a\x1bb")], 2 * SECOND)
    when, titles, first, second = report_lines(rows, 2 * SECOND, 3)
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


def test_flows_of_a_kind_are_of_all_its_places_the_busiest_first() -> None:
    tally = Tally(0)
    places = [
        dropped(7, "TTL", 1, "eth0", Flow(udp(1), 3), Flow(udp(2), 4)),
        dropped(3, "TTL", 2, "eth0", Flow(udp(1), 3)),
    ]
    (row,) = tally.report(places, 2 * SECOND)
    assert row.packets == 10
    assert row.flows == (FlowRow(udp(1), 6, 3.0), FlowRow(udp(2), 4, 2.0))
    again = [dropped(20, "TTL", 1, "eth0", Flow(udp(2), 2), Flow(udp(1), 8), Flow(None, 1))]
    (row,) = tally.report(again, 4 * SECOND)
    rates = {flow.tuple: flow.rate for flow in row.flows}
    assert rates == {udp(1): 1.0, udp(2): 1.0, None: 0.5}, "the second gave way, and came again"


def test_flows_in_text_and_what_no_flow_has() -> None:
    flows = [Flow(udp(port), port) for port in range(1, 6)]
    (row,) = Tally(0).report([dropped(20, "TTL", 1, "eth0", *flows, Flow(None, 2))], SECOND)
    *_, first, second, third, others = report_lines([row], SECOND, 3)
    assert first.split() == ["5", "5.0", "10.0.0.1:5->10.0.0.2:53(udp)"]
    assert (second.split()[0], third.split()[0]) == ("4", "3")
    assert others.split() == ["8", "other", "flows"]
    *_, kind = report_lines([row], SECOND, 0)
    assert "ip_forward" in kind
    assert "no addresses" in report_lines([row], SECOND, 10)[-4]


def test_flows_in_json() -> None:
    flows = [Flow(udp(port), 2) for port in range(1, 200)]
    rows = Tally(0).report([dropped(1000, "TTL", 1, "eth0", Flow(None, 9), *flows)], SECOND)
    report = json.loads(report_json(rows, SECOND))
    jsonschema.validate(report, schema())
    (kind,) = report["kinds"]
    assert len(kind["flows"]) == 100
    assert kind["flows"][0] == {"tuple": None, "packets": 9, "rate": 9.0}
    assert kind["flows"][1]["tuple"]["dport"] == 53
    assert sum(flow["packets"] for flow in kind["flows"]) + kind["other_flows"] == 1000
