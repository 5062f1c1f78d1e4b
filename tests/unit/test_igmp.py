# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

from pwru_py.facts.igmp import joined

TEXT = """\
Idx\tDevice    : Count Querier\tGroup    Users Timer\tReporter
1\tlo        :     1      V3
\t\t\t\t010000E0     1 0:00000000\t\t0
12\teth0.5    :     2      V3
\t\t\t\tFB0000E0     1 0:00000000\t\t0
\t\t\t\t010000E0     1 0:00000000\t\t0
"""


def test_groups_of_an_interface() -> None:
    assert joined(TEXT, "eth0.5") == ["224.0.0.251", "224.0.0.1"]
    assert joined(TEXT, "lo") == ["224.0.0.1"]
    assert joined(TEXT, "eth0") == joined("", "lo") == []
