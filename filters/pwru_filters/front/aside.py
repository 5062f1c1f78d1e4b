# SPDX-License-Identifier: Apache-2.0
"""libpcap in a process of its own, for what may take long: it can be bounded and interrupted.

Within this process nothing could end it: Python handles a signal only when libpcap has returned.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from typing import Final

from ..errors import FilterSyntaxError, FilterUnsupportedError
from . import aside_process
from .cbpf import CbpfInsn, CbpfProgram
from .libpcap import DLT_EN10MB, NETMASK_UNKNOWN, SNAPLEN, encoded

CPU_SECONDS: Final = 5


def compile_aside(
    expression: str, *, optimize: bool, cpu_seconds: int = CPU_SECONDS
) -> CbpfProgram:
    """As compile_whole(). Raises FilterUnsupportedError if libpcap works for so many seconds."""
    numbers = (cpu_seconds, DLT_EN10MB, SNAPLEN, int(optimize), NETMASK_UNKNOWN)
    try:
        # Where Python makes an exception of a signal (Ctrl-C), run() ends the process.
        ended = subprocess.run(
            [sys.executable, "-SP", aside_process.__file__, *map(str, numbers)],
            input=encoded(expression),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
            check=False,
        )
    except OSError as error:
        raise _unsupported(f"its process cannot start: {os.strerror(error.errno or 0)}") from error
    if ended.returncode == aside_process.REFUSED:
        raise FilterSyntaxError(ended.stdout.decode(errors="backslashreplace"))
    if ended.returncode == -signal.SIGXCPU:
        raise _unsupported(f"libpcap needs more than {cpu_seconds} s for it")
    if ended.returncode:
        raise _unsupported(f"libpcap ended with status {ended.returncode}")
    return tuple(CbpfInsn(*insn) for insn in aside_process.INSN.iter_unpack(ended.stdout))


def _unsupported(why: str) -> FilterUnsupportedError:
    remedy = (
        "shorten it, or keep to protocols and to hosts, nets and ports as numbers, "
        "of which a list may be long"
    )
    return FilterUnsupportedError("this filter", why, remedy)
