# SPDX-License-Identifier: Apache-2.0
"""``--exec`` and ``pwru-py-ping``: what is asked for, and tracepkt's lines."""

from __future__ import annotations

import pytest

from pwru_py.errors import UsageError
from pwru_py.options.parse import parse
from pwru_py.output.tracepkt import HopLines
from pwru_py.ping import main_ping, split
from pwru_py.record.event import Icmp, Tuple, Verdict
from tests.unit.output.samples import event

ROOT, WEB = 4026531957, 4026532258
PING = Tuple("172.17.0.1", "172.17.0.2", 0, 0, 1, False, Icmp(8, 17146, 1))
PONG = Tuple("172.17.0.2", "172.17.0.1", 0, 0, 1, False, Icmp(0, 17146, 1))
LINES = """\
[  4026531957]          docker0 request #17146.001 172.17.0.1 -> 172.17.0.2
[  4026531957]      vetha373ab6 request #17146.001 172.17.0.1 -> 172.17.0.2
[  4026532258]             eth0 request #17146.001 172.17.0.1 -> 172.17.0.2
[  4026532258]             eth0   reply #17146.001 172.17.0.2 -> 172.17.0.1
[  4026531957]      vetha373ab6   reply #17146.001 172.17.0.2 -> 172.17.0.1
[  4026531957]          docker0   reply #17146.001 172.17.0.2 -> 172.17.0.1"""


def test_the_six_lines_of_tracepkt() -> None:
    """Its own example: host to container by a bridge."""
    out, enters = "net:net_dev_queue", "net:netif_rx_entry"
    steps = [
        (1, PING, out, ROOT, "docker0"),
        (1, PING, out, ROOT, "vetha373ab6"),
        (1, PING, enters, WEB, "eth0"),
        (1, PING, "skb:consume_skb", WEB, "eth0"),
        (2, PONG, out, WEB, "eth0"),
        (2, PONG, enters, ROOT, "vetha373ab6"),
        (2, PONG, "net:netif_receive_skb_entry", ROOT, "docker0"),
    ]
    events = [
        event(packet=packet, tuple=addresses, func=func, netns=netns, ifname=ifname)
        for packet, addresses, func, netns, ifname in steps
    ]
    assert "\n".join(HopLines().lines(events)) == LINES


def test_what_a_table_says_is_a_line() -> None:
    said = event(tuple=PING, ifname="docker0", netns=ROOT, func="ipt_do_table",
                 verdict=Verdict("", "filter", "", "OUTPUT", "ACCEPT"))  # fmt: skip
    assert [*HopLines().lines([said])] == [f"{LINES.splitlines()[0]} filter.OUTPUT:ACCEPT"]


def test_hops_of_other_packets_are_no_lines() -> None:
    told = Tuple("10.0.0.1", "10.0.0.2", 0, 0, 1, False, Icmp(3))
    given = [event(func="net:net_dev_queue", tuple=each) for each in (None, told)]
    assert [*HopLines().lines(given)] == []


def test_a_command_is_split_as_a_shell_does() -> None:
    given = parse(["--journey", "--exec", "curl -H 'Host: x y' 10.0.0.1", "tcp port 80"])
    assert given.command == ("curl", "-H", "Host: x y", "10.0.0.1")
    assert (given.config.filter, given.config.journey) == ("tcp port 80", True)


@pytest.mark.parametrize(
    ("words", "why"),
    [
        (["--exec", 'a "b'], "--exec: cannot read 'a \"b': no closing quotation"),
        (["--exec", " "], "--exec: the command is empty"),
        (["--exec", "a", "--filter-cgroup", "/"], "group of its own: leave --filter-cgroup out"),
        (["--tracepkt"], "`tracepkt` is a form of `journey`"),
        (["--journey", "--tracepkt", "--output-json"], "give that, and no other form"),
        (["--journey", "--tracepkt", "--top"], "give that, and no other form"),
        (["--journey", "--tracepkt", "-c2"], "leave -c, `timestamp` out"),
    ],
)
def test_what_cannot_be(words: list[str], why: str) -> None:
    with pytest.raises(UsageError) as error:
        parse(words)
    assert why in str(error.value)


@pytest.mark.parametrize(
    ("argv", "ours", "theirs"),
    [
        (["-c1", "::1"], [], ["-c1", "::1"]),
        (["--tracepkt", "-c", "1", "a"], ["--tracepkt"], ["-c", "1", "a"]),
        (["--timestamp", "relative", "a"], ["--timestamp", "relative"], ["a"]),
        (["--timestamp=relative", "-w", "3", "a"], ["--timestamp=relative"], ["-w", "3", "a"]),
        (["--output-json", "--", "--odd"], ["--output-json"], ["--odd"]),
    ],
)
def test_two_dashes_are_ours_one_is_pings(
    argv: list[str], ours: list[str], theirs: list[str]
) -> None:
    assert split(argv) == (ours, theirs)


def test_without_a_target_there_is_the_usage(capsys: pytest.CaptureFixture[str]) -> None:
    assert main_ping([]) == 2
    assert "usage: pwru-py-ping" in capsys.readouterr().err
    assert main_ping(["--help"]) == 0
    assert "usage: pwru-py-ping" in capsys.readouterr().out
