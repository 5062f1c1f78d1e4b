# SPDX-License-Identifier: Apache-2.0
"""Programs into memory: the guest reads files over a link that keeps none of them.

An installed program starts from the page cache. Here every open, read and page fault would be an
exchange with the host, which costs a program of many small files the most and measures nothing.
So each tool's files are copied to a tmpfs and mounted over themselves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
from collections.abc import Iterable
from pathlib import Path

ROOT = Path("/tmp/bench-local")


def pack(archive: Path, files: Iterable[str]) -> list[str]:
    """On the host: ``files`` and the libraries they load into one archive; their real names."""
    names = {os.path.realpath(name) for name in files}
    names |= _libraries(names)
    with tarfile.open(archive, "w") as tar:
        for name in sorted(names):
            tar.add(name)
    return sorted(names)


def unpack(archive: str, names: Iterable[str], directories: Iterable[str]) -> None:
    """``directories`` become what the archive holds of them; the rest is mounted one by one."""
    ROOT.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1g", "none", str(ROOT)], check=True)
    subprocess.run(["tar", "-xf", archive, "-C", str(ROOT)], check=True)
    whole = [os.path.realpath(name) for name in directories]
    singles = (n for n in names if not any(n.startswith(f"{d}/") for d in whole))
    for name in (*whole, *singles):
        subprocess.run(["mount", "--bind", f"{ROOT}{name}", name], check=True)


def _libraries(names: Iterable[str]) -> set[str]:
    """Shared libraries of those of ``names`` that are ELF files."""
    elves = [name for name in names if _is_elf(name)]
    shown = subprocess.run(["ldd", *elves], capture_output=True, text=True, check=False).stdout
    return {os.path.realpath(path) for path in re.findall(r"(/\S+) \(0x", shown)}


def _is_elf(name: str) -> bool:
    with open(name, "rb") as stream:
        return stream.read(4) == b"\x7fELF"


def main() -> None:
    plan = json.loads(Path(sys.argv[1]).read_text())
    unpack(plan["archive"], plan["names"], plan["directories"])
    json.dump(None, sys.stdout)


if __name__ == "__main__":
    main()
