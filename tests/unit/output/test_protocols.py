# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest

from pwru_py.output.protocols import icmp_name, icmp_text, protocol_name
from pwru_py.record.event import Icmp


@pytest.mark.parametrize(
    ("proto", "name"),
    [(-1, "arp"), (6, "tcp"), (132, "sctp"), (50, "esp"), (47, "gre"), (253, "proto 253")],
)
def test_protocols(proto: int, name: str) -> None:
    assert protocol_name(proto) == name


@pytest.mark.parametrize(
    ("kind", "icmp", "icmp6"),
    [
        (0, "echo reply", ""),
        (1, "", "unreachable"),
        (2, "", "packet too big"),
        (3, "unreachable", "time exceeded"),
        (4, "source quench", "parameter problem"),
        (5, "redirect", ""),
        (8, "echo request", ""),
        (11, "time exceeded", ""),
        (12, "parameter problem", ""),
        (128, "", "echo request"),
        (129, "", "echo reply"),
        (134, "", "router advertisement"),
        (135, "", "neighbor solicitation"),
        (136, "", "neighbor advertisement"),
        (137, "", "redirect"),
    ],
)
def test_the_two_protocols_number_their_types_apart(kind: int, icmp: str, icmp6: str) -> None:
    assert (icmp_name(1, kind), icmp_name(58, kind)) == (icmp, icmp6)


@pytest.mark.parametrize(
    ("proto", "icmp", "text"),
    [
        (1, Icmp(8, 7, 1), "echo id 7 seq 1"),
        (1, Icmp(0, 7, 1), "reply id 7 seq 1"),
        (58, Icmp(128, 0, 0), "echo id 0 seq 0"),
        (1, Icmp(17, 7, 1), "address mask request id 7 seq 1"),
        (58, Icmp(2), "packet too big"),
        (58, Icmp(2, mtu=1280), "packet too big mtu 1280"),
        (1, Icmp(2), "type 2"),
        (1, Icmp(8), "echo request"),
    ],
)
def test_text(proto: int, icmp: Icmp, text: str) -> None:
    assert icmp_text(proto, icmp) == text
