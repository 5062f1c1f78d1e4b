# SPDX-License-Identifier: Apache-2.0
"""``--drops``: what was lost, and nothing else."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from tests.native.net import B, Net
from tests.native.test_tracepoints import NFT_OFF, SEND, nft


@pytest.fixture
def firewall(net: Net) -> Iterator[Net]:
    """b drops UDP to port 4000, and answers pings."""
    net.run("b", nft("input"))
    yield net
    net.run("b", NFT_OFF)


def test_drops_alone_are_shown(firewall: Net) -> None:
    with firewall.tracing("--drops", "--output-json", "host 10.77.2.2") as traces:
        firewall.run("a", f"ping -c1 -W5 {B}")
        firewall.python("a", SEND)
    (trace,) = traces
    (event,) = (e for e in trace.events if e["drop_reason"] == "NETFILTER_DROP")
    assert event["netns"] == firewall.inode("b")
    assert event["tuple"]["dport"] == 4000
    assert all(e["func"] == "skb:kfree_skb" and e["drop"] for e in trace.events)
    assert trace.summary["drop_places"]["NETFILTER_DROP at nft_do_chain"] == 1


def test_a_line_tells_reason_and_place_and_the_end_what_it_means(firewall: Net) -> None:
    with firewall.tracing("--drops", "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    (trace,) = traces
    title, line = trace.stdout.splitlines()
    assert title.split() == ["PROCESS", "TIME", "NETNS", "IFACE", "LEN", "TUPLE", "DROP"]
    assert re.search(r"T\d\d:\d\d:\d\d\.\d{6}", line)
    assert re.search(r" e3:\d+ .*:4000\(udp\) +NETFILTER_DROP at nft_do_chain\+0x", line)
    end = trace.stderr.splitlines()
    at = end.index("1  NETFILTER_DROP at nft_do_chain")
    assert "rule" in end[at + 1]
    assert end[at + 2].startswith("   check: ")


def test_with_the_stack_and_a_selection(firewall: Net) -> None:
    arguments = ("--drops", "--output-json", "--output-stack", "--filter-netns")
    with firewall.tracing(*arguments, firewall.netns("b"), "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    (event,) = traces[0].events
    assert any(frame.startswith("ip_local_deliver") for frame in event["stack"])
    with firewall.tracing(*arguments, firewall.netns("a"), "udp dst port 4000") as traces:
        firewall.python("a", SEND)
    assert traces[0].events == []
