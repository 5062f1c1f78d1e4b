# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs whenever the package is built or installed for development.

The wheel holds Python and BPF objects, and no machine code of the host, so every Python 3 and
every libc can use it. The BPF objects read the registers of one architecture, so the wheel is for
that one alone. PyPI takes no plain ``linux_x86_64``; ``manylinux2014`` is the tag for it, and
promises what was tried: glibc, on which Debian's kernels and libbpf run.
"""

import platform
import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root, "bpf")))
        import build

        build.build()
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux2014_{platform.machine()}"
