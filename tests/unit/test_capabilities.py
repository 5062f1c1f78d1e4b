# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import re
import subprocess
import sys

from pwru_py.kernel.system import CAP_SYSLOG

CODE = """
from pwru_py.kernel.capabilities import keep
keep((%d,))
print(open("/proc/thread-self/status").read())
"""


def sets(status: str) -> dict[str, int]:
    return {name: int(bits, 16) for name, bits in re.findall(r"Cap(\w+):\s+([0-9a-f]+)", status)}


def test_what_is_not_kept_is_gone() -> None:
    """Without privileges there is nothing to give up, and nothing to complain of."""
    with open("/proc/thread-self/status") as stream:
        before = sets(stream.read())
    done = subprocess.run(
        [sys.executable, "-c", CODE % CAP_SYSLOG], capture_output=True, text=True, check=True
    )
    after = sets(done.stdout)
    assert after["Eff"] == before["Eff"] & 1 << CAP_SYSLOG
    assert after["Prm"] == before["Prm"] & 1 << CAP_SYSLOG
    assert after["Inh"] == 0
    with open("/proc/thread-self/status") as stream:
        assert sets(stream.read()) == before, "the process that starts it keeps its own"
