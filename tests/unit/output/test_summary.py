# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pwru_py.output.summary import loss_notice, summary_lines
from pwru_py.record.event import Losses, Summary

from .samples import SUMMARY


def test_golden() -> None:
    assert summary_lines(SUMMARY) == [
        "3 packets, 34 events",
        "drops: 18",
        "  12  NETFILTER_DROP",
        "   3  CSUM",
        "   3  NO_SOCKET",
        "lost: 120 events, buffer full: narrow the filter or raise --buffer-size",
        "skipped by the kernel: 7 hits inside another probe",
        "not attached: 12 functions of 1502 (see --debug)",
    ]


def test_nothing_happened() -> None:
    assert summary_lines(Summary()) == [
        "0 packets, 0 events",
        "drops: none seen",
        "lost: nothing",
        "skipped by the kernel: not counted by this kernel",
    ]


def test_returns_that_were_not_seen() -> None:
    unseen = "not seen to return: 2 functions, still under way or skipped by the kernel"
    assert unseen in summary_lines(Summary(unreturned=2))
    for count in (None, 0):
        assert not any("return" in line for line in summary_lines(Summary(unreturned=count)))


def test_limited_count_and_packets_not_followed() -> None:
    losses = Losses(buffer_full=1, track_full=1, recursion=1)
    lines = summary_lines(Summary(events=1, packets=1, packets_limited=True, losses=losses))
    assert lines[0] == "about 1 packet, 1 event"
    assert lines[2] == "lost: 1 event, buffer full: narrow the filter or raise --buffer-size"
    assert lines[3] == (
        "not followed: 1 packet, too many at once: narrow the filter or raise --track-size"
    )
    assert lines[4] == "skipped by the kernel: 1 hit inside another probe"


def test_a_count_that_is_not_whole() -> None:
    losses = Losses(recursion=3, recursion_whole=False)
    assert summary_lines(Summary(losses=losses))[-1] == (
        "skipped by the kernel: at least 3 hits inside another probe"
    )
    assert summary_lines(Summary(losses=Losses(recursion_whole=False, recursion=0)))[-1] == (
        "skipped by the kernel: none that it counts, and it does not count all"
    )


def test_notice_names_every_loss_in_one_line() -> None:
    assert loss_notice(Losses(2, 3)).count("\n") == 0
    assert loss_notice(Losses(2, 3)).startswith("lost: 2 events")
    assert "not followed: 3 packets" in loss_notice(Losses(2, 3))


def test_what_only_a_tag_keeps_away_is_said() -> None:
    (line,) = [line for line in summary_lines(Summary(unbelieved=1)) if "believed" in line]
    assert line.startswith("not believed: 1 hit, for what the function got can be no sk_buff")
    (line,) = [line for line in summary_lines(Summary(tagged=2)) if "VLAN" in line]
    assert line.startswith("tagged: 2 hits matched but for a VLAN tag")


def test_drops_that_need_a_word() -> None:
    lines = summary_lines(Summary(drops={"NO_SOCKET": 3}, replies=2, closings=2, pieces=20))
    assert "  (2 are echo replies; raw sockets, as ping's, had their copies before)" in lines
    assert "  (2 may be the last packets of TCP connections, taken in by TIME-WAIT)" in lines
    assert any(line.startswith("freed in lists: 20 sk_buffs") for line in lines)
    assert summary_lines(Summary(drops={"TTL": 2}, drops_limited=True))[1] == "drops: at least 2"
    assert summary_lines(Summary(packets_limited=True))[0] == "0 packets, 0 events"
