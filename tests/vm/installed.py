# SPDX-License-Identifier: Apache-2.0
"""The files of an installation: of the interpreter, a distribution, and what it requires."""

from __future__ import annotations

import compileall
import os
import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib.metadata import distribution
from pathlib import Path

# Of the standard library: what no program loads, and what is large.
_LEFT_OUT = re.compile(r"/(test|tests|idlelib|lib2to3|ensurepip|distutils|tkinter|config-[^/]*)/")


def standard_library() -> Path:
    return Path(sysconfig.get_path("stdlib"))


def site_packages() -> Path:
    return Path(sysconfig.get_path("purelib"))


def interpreter_files() -> Iterator[str]:
    """The executable, the standard library, and what the interpreter runs by itself at start."""
    yield os.path.realpath(sys.executable)
    yield from tree_files(standard_library())
    yield from map(str, site_packages().glob("*.pth"))
    yield from tree_files(site_packages() / "_distutils_hack")


def distribution_files(name: str) -> Iterator[str]:
    """Every file of distribution ``name`` and of those it requires, extras left out."""
    seen: set[str] = set()
    waiting = [name]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        found = distribution(current)
        for entry in found.files or ():
            path = Path(str(found.locate_file(entry)))
            if path.is_file() and path.is_relative_to(site_packages()):
                yield str(path)
        for requirement in found.requires or ():
            if ";" not in requirement:
                waiting.append(re.split(r"[^\w.-]", requirement, maxsplit=1)[0])


def tree_files(root: Path) -> Iterator[str]:
    for path in root.rglob("*"):
        if path.is_file() and not _LEFT_OUT.search(str(path)):
            yield str(path)


def tracer_files(tree: Path) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """(files, directories) that a start of the tracer of ``tree`` reads, compiled as installed.

    Of the directories it needs no other file.
    """
    packages = [tree / "pwru_py", tree / "filters"]
    files = [*interpreter_files(), *distribution_files("pwru-py")]
    for package in packages:
        compileall.compile_dir(package, quiet=2)
        files += tree_files(package)
    files.append(library("libbpf.so.1"))
    folders = (standard_library(), site_packages(), *packages)
    return tuple(files), tuple(map(str, folders))


def library(name: str) -> str:
    """Where the dynamic linker finds a library that is loaded by name."""
    shown = subprocess.run(["/sbin/ldconfig", "-p"], capture_output=True, text=True).stdout
    found = re.search(rf"^\s*{re.escape(name)} .*=> (\S+)$", shown, re.MULTILINE)
    if found is None:
        raise FileNotFoundError(f"{name} is not installed")
    return found[1]
