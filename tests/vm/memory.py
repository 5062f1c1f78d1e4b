# SPDX-License-Identifier: Apache-2.0
"""Programs into memory: the guest reads files over a link that keeps none of them.

An installed program starts from the page cache. Here every open, read and page fault is an exchange
with the host, which costs a program of many small files the most: a start of the tracer takes twice
as long, and a measurement measures nothing. So files are copied to a tmpfs and mounted over
themselves.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tests.vm.kernels import lab_directory

if TYPE_CHECKING:
    from tests.vm.guest import Guest

ROOT = Path("/tmp/in-memory")
_PLAN = "/tmp/in-memory.json"


def keep(
    guest: Guest, files: Iterable[str], directories: Iterable[str], timeout: float = 300.0
) -> None:
    """On the host: a guest gets ``files``, and of ``directories`` nothing else.

    Raises GuestCommandError.
    """
    with tempfile.NamedTemporaryFile(dir=lab_directory(), suffix=".tar") as archive:
        names = _pack(Path(archive.name), files)
        plan = {"archive": archive.name, "names": names, "directories": [*directories]}
        guest.write_file(_PLAN, json.dumps(plan).encode())
        guest.run(f"python3 -m tests.vm.memory {_PLAN}", timeout, check=True)


def _pack(archive: Path, files: Iterable[str]) -> list[str]:
    """``files`` and the libraries they load into one archive; their real names."""
    names = {os.path.realpath(name) for name in files}
    names |= _libraries(names)
    with tarfile.open(archive, "w") as tar:
        for name in sorted(names):
            tar.add(name)
    return sorted(names)


def _unpack(archive: str, names: Iterable[str], directories: Iterable[str]) -> None:
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
    _unpack(plan["archive"], plan["names"], plan["directories"])


if __name__ == "__main__":
    main()
