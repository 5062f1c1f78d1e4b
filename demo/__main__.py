# SPDX-License-Identifier: Apache-2.0
"""``make demo``: the firewall that drops, natively where this kernel can trace, else in a guest."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from pwru_py import Config, PwruError, Tracer

SCRIPT = Path(__file__).with_name("drop.sh")


def why_not_here() -> str:
    """'' when this kernel can trace: shown by tracing a function, or a tracepoint."""
    try:
        with Tracer(Config(filter_func="ip_rcv|kfree_skb")) as tracer:
            print(f"# on this kernel, by its {tracer.target}s ({tracer.backend})", flush=True)
            return ""
    except PwruError as error:
        return str(error)


def main() -> int:
    why = why_not_here()
    if not why:
        programs = f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}"
        command = ["unshare", "--net", "bash", str(SCRIPT)]
        return subprocess.run(command, env={**os.environ, "PATH": programs}).returncode
    print(f"# not on this kernel: {why}\n# so in a guest with Debian's 6.12", file=sys.stderr)
    from tests.vm.guest import Guest

    with Guest("6.12") as guest:
        done = guest.run(f"bash {SCRIPT}", timeout=180)
    sys.stdout.write(done.stdout)
    sys.stderr.write(done.stderr)
    return done.rc


if __name__ == "__main__":
    sys.exit(main())
