# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import math

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.output.journey import Names
from pwru_py.output.paths import PATHS_SCHEMA, json_paths, map_lines, path_lines
from pwru_py.packets import paths
from pwru_py.packets.paths import Paths
from pwru_py.record.journey import End, Ended, Hop, Journey, Way
from pwru_py.record.paths import Times

MS = 1_000_000


@given(st.lists(st.integers(0, 10**12), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_right_to_one_per_cent(values: list[int], share: float) -> None:
    times = Times()
    for ns in values:
        times.add(ns)
    assert (times.minimum, times.maximum, times.count) == (min(values), max(values), len(values))
    exact = sorted(values)[max(0, math.ceil(share * len(values)) - 1)]
    assert abs(times.quantile(share) - exact) <= 0.01 * exact + 1


def test_no_times() -> None:
    assert (Times().quantile(0.5), Times().maximum) == (0, 0)


def journey(end: End, *hops: Hop) -> Journey:
    return Journey(
        1, None, hops[0].ts_ns if hops else end.ts_ns, 0, None, 0, "", True, end, [*hops]
    )


def through(ms: int, how: Ended, by: str) -> Journey:
    return journey(
        End(how, 3 * ms * MS, 12, by),
        Hop(0, 11, "eth0", Way.OUT),
        Hop(ms * MS, 12, "web0", Way.IN),
    )


def test_the_same_way_and_the_same_end() -> None:
    one = Paths()
    for ms in (1, 2, 3):
        one.add(through(ms, Ended.READ, f"named:{ms}"))
    one.add(through(1, Ended.DROPPED, "udp_rcv+0x10"))
    one.add(through(1, Ended.DROPPED, "udp_rcv+0x20"))
    one.add(journey(End(Ended.DROPPED, 5, 11, "nf_hook_slow+0x1", "NETFILTER_DROP")))
    often, dropped, before = one.busiest()
    assert [path.packets for path in (often, dropped, before)] == [3, 2, 1]
    assert (often.finish.by, dropped.finish.by) == ("named", "udp_rcv")
    first, last = often.times
    assert (first.minimum, first.maximum) == (1 * MS, 3 * MS)
    assert (last.minimum, last.maximum) == (2 * MS, 6 * MS)
    assert often.whole.quantile(0.5) == pytest.approx(6 * MS, rel=0.011)
    assert before.times == ()
    names = Names({11: "host", 12: "web"}.__getitem__)
    lines = path_lines(one.busiest(), one.packets, one.others, names)
    assert lines[:7] == [
        "6 packets on 3 paths",
        "",
        "path 1: 3 packets, 50.0 %   minimum   median     99 %  maximum ms",
        "  host   out  eth0",
        "  [web]  in   web0            1.000    1.993    3.000    3.000",
        "  [web]  ✔ read by named      2.000    3.987    6.000    6.000",
        "  whole                       3.000    6.042    8.979    9.000",
    ]
    assert lines[-2:] == ["path 3: 1 packet, 16.7 %", "  host  ✘ NETFILTER_DROP in nf_hook_slow"]
    assert map_lines(one.busiest(), one.packets, 4, names) == [
        "6 packets on 3 paths",
        "3  host eth0 ─5✘2─► [web] web0  ✔ read by named",
        "2  host eth0 ─5✘2─► [web] web0  ✘ dropped in udp_rcv",
        "1  host  ✘ NETFILTER_DROP in nf_hook_slow",
        "4  on other paths",
    ]
    record = json_paths(one.busiest(), one.packets, one.others, 1, names)
    jsonschema.validate(record, PATHS_SCHEMA)
    assert record["paths"][0]["end"]["by"] == "named"


def test_a_map_tells_what_an_arrow_shares_with_other_paths() -> None:
    """An edge is there once, however often a path crosses it, and no loss where none was."""
    out, back = Hop(1, 11, "eth0", Way.OUT), Hop(2, 12, "web0", Way.IN)
    on = Hop(3, 12, "web1", Way.OUT)
    one = Paths()
    for _ in range(2):
        one.add(journey(End(Ended.LEFT, 4, 12, "web1"), out, back, on))
    one.add(journey(End(Ended.TAKEN, 4, 12, "ICMP"), out, back))
    one.add(journey(End(Ended.LEFT, 4, 12, "web1"), out, back, out, back, on))
    names = Names({11: "host", 12: "web"}.__getitem__)
    assert map_lines(one.busiest(), one.packets, 0, names)[1:] == [
        "2  host eth0 ─4─► [web] web0 ─3─► web1  ✔ left by web1",
        "1  host eth0 ─4─► [web] web0  ✔ taken in by ICMP",
        "1  host eth0 ─4─► [web] web0 ──► host eth0 ─4─► [web] web0 ─3─► web1  ✔ left by web1",
    ]


def test_paths_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(paths, "PATHS_MAX", 2)
    one = Paths()
    for number in (1, 2, 3, 1, 3):
        one.add(journey(End(Ended.TAKEN, 1, number, "ICMP")))
    assert (one.packets, one.others) == (5, 2)
    assert path_lines(one.busiest(), 5, 2, Names(str))[-1] == "2 packets on other paths"
