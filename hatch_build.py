# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs whenever the package is built or installed for development.

The manual page and the shells' completions are made of the table of flags, into ``build/share``.

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

SHARED = {
    "man": "share/man/man8/pwru-py.8",
    "bash": "share/bash-completion/completions/pwru-py",
    "zsh": "share/zsh/site-functions/_pwru-py",
    "fish": "share/fish/vendor_completions.d/pwru-py.fish",
}


class BpfBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root, "bpf")))
        import build

        build.build()
        build_data["shared_data"].update(self._shared())
        build_data["pure_python"] = False
        build_data["tag"] = f"py3-none-manylinux2014_{platform.machine()}"

    def _shared(self) -> dict[str, str]:
        """Files to put beside the program: where they are, and where they go."""
        sys.path.insert(0, self.root)
        from pwru_py.options.completion import Shell, script
        from pwru_py.options.manual import manual

        texts = {"man": manual(), **{shell.value: script(shell) for shell in Shell}}
        found = {}
        for name, target in SHARED.items():
            path = Path(self.root, "build", target)
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(texts[name], encoding="utf-8")
            found[str(path)] = target
        return found
