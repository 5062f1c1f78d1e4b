# SPDX-License-Identifier: Apache-2.0
"""Compiles the BPF programs whenever the package is built or installed for development."""

import sys
from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class BpfBuildHook(BuildHookInterface):
    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        sys.path.insert(0, str(Path(self.root, "bpf")))
        import build

        build.build()
        build_data["pure_python"] = False  # the object is for one architecture
        build_data["infer_tag"] = True
