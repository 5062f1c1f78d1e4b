# SPDX-License-Identifier: Apache-2.0
"""Shells that completions are tried in: Debian's, unpacked into the lab and not installed."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from tests.vm.archive import Suite
from tests.vm.kernels import lab_directory, locked


@dataclass(frozen=True, slots=True)
class Shell:
    """``program``: its file. ``root``: where it was unpacked. ``environment``: what it needs."""

    program: Path
    root: Path
    environment: dict[str, str]


_PACKAGES = {
    # Its modules are in it; those of the package zsh are looked for in /usr alone.
    "zsh": ("zsh-static", "zsh-common"),
    # It finds its files beside its own.
    "fish": ("fish", "fish-common", "libpcre2-32-0"),
}
_PROGRAMS: dict[str, Callable[[Path], Path]] = {
    "zsh": lambda root: root / "bin" / "zsh-static",
    "fish": lambda root: root / "usr" / "bin" / "fish",
}


def fetch_shell(name: str, lab: Path | None = None) -> Shell:
    """``zsh`` or ``fish`` of the machine's own release of Debian. Raises ArchiveError."""
    lab = lab or lab_directory()
    root = lab / "shells" / name
    with locked(lab):
        if not root.exists():
            suite = Suite(platform.freedesktop_os_release()["VERSION_CODENAME"], lab / "apt")
            suite.update()
            partial = root.with_name(f".{name}.partial")
            shutil.rmtree(partial, ignore_errors=True)
            wanted = {package: suite.newest(package).version for package in _PACKAGES[name]}
            suite.unpack(wanted, partial)
            partial.rename(root)
    libraries = root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"
    return Shell(_PROGRAMS[name](root), root, {"LD_LIBRARY_PATH": str(libraries)})
