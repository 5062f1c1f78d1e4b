# SPDX-License-Identifier: Apache-2.0
"""Every reason that this kernel can give for a drop has its line in ``facts/explanations``."""

from __future__ import annotations

from pwru_py.facts.meanings import meaning
from tests.kernel.lab import Lab
from tests.reason_names import MODULES


def test_every_reason_of_this_kernel_has_a_line(lab: Lab) -> None:
    loaded = lab.run(f"modprobe -a {' '.join(MODULES)} && python -m tests.reason_names")
    assert loaded.rc == 0, loaded.stderr
    names = loaded.stdout.split()
    assert [name for name in names if meaning(name) is None] == []
    subsystems = {name.split("_")[0] for name in names} & {"OVS", "RX", "QDISC"}
    assert ("NO_SOCKET" in names) == lab.has_reasons
    assert subsystems >= ({"OVS", "RX"} if lab.kernel in ("6.12", "newest") else set())
