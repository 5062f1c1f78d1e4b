# SPDX-License-Identifier: Apache-2.0
"""Makes the kernel trace the rules of nf_tables, and leaves everybody's rules as they are.

The kernel traces rules as soon as one rule anywhere says ``meta nftrace set``
(``nft_trace_enabled`` in net/netfilter/nf_tables_core.c). Here it is one in a network namespace of
its own, in which no packet is, and which ends with the process that made it.
"""

from __future__ import annotations

import ctypes
import os
import select
import subprocess
import sys

from ..errors import AttachError
from .helper import start_helper

_CLONE_NEWNET = 0x40000000
_READY = "ready"
_READY_S = 20.0
_RULES = "table ip trace { chain trace { meta nftrace set 1; }; }"


class RuleTracing:
    """The kernel traces rules until it is closed, or this process ends. Raises AttachError."""

    def __init__(self) -> None:
        try:
            self._process = start_helper(__name__)
        except OSError as error:
            raise AttachError(str(error.strerror).lower(), error.errno or 0) from error
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], _READY_S)
        said = self._process.stdout.readline().decode(errors="replace").strip() if ready else ""
        if said != _READY:
            self.close()
            raise AttachError(said or "nft does not answer")

    def close(self) -> None:
        """May be called again."""
        self._process.communicate()


def main() -> None:
    """Holds the namespace until standard input ends."""
    try:
        _trace()
    except OSError as error:
        print(str(error.strerror or error).lower())
        return
    except subprocess.CalledProcessError as error:
        print(f"nft: {error.stderr.decode(errors='replace').partition(chr(10))[0]}")
        return
    print(_READY, flush=True)
    sys.stdin.read()


def _trace() -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))
    subprocess.run(["nft", _RULES], stdin=subprocess.DEVNULL, capture_output=True, check=True)
