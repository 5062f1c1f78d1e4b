# SPDX-License-Identifier: Apache-2.0
"""The two tools: how each is called, and how its BPF programs are named."""

from __future__ import annotations

import ctypes
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tests.vm.archive import Suite
from tests.vm.errors import ArchiveError
from tests.vm.installed import tracer_files
from tests.vm.kernels import PROJECT, fetch_peer, lab_directory

LIBPCAP = "libpcap.so.0.8"
LIBPCAP_PACKAGES = ("libpcap0.8", "libpcap0.8t64")  # Debian 12, Debian 13 and later


@dataclass(frozen=True, slots=True)
class Tool:
    """``programs``: prefixes of the names of its programs that run at a probed function.

    ``columns``: flags for the columns that pwru-py shows by default: equal work.
    ``arguments``: those of every call.
    ``files``: what a start reads; of ``directories``, nothing else is needed.
    """

    name: str
    version: str
    argv: tuple[str, ...]
    env: dict[str, str]
    programs: tuple[str, ...]
    files: tuple[str, ...]
    columns: tuple[str, ...] = ()
    directories: tuple[str, ...] = ()

    arguments: tuple[str, ...] = ()

    def named(self, name: str, *arguments: str) -> Tool:
        """The same program, always called with these ``arguments`` too."""
        return replace(self, name=name, arguments=(*self.arguments, *arguments))

    def as_json(self) -> dict[str, Any]:
        """What the guest needs of it."""
        plain = asdict(self)
        del plain["files"], plain["directories"]
        return plain


def pwru_py(tree: Path = PROJECT) -> Tool:
    """The tracer of the tree, its modules compiled as an installation would have them."""
    files, directories = tracer_files(tree)
    found = re.search(r'__version__ = "(.+)"', (tree / "pwru_py" / "_version.py").read_text())
    command = Path(sys.executable).parent / "pwru-py"
    env = {} if tree == PROJECT else {"PYTHONPATH": f"{tree}:{tree / 'filters'}"}
    return Tool(
        name="pwru-py",
        version=found[1] if found else "?",
        argv=(str(command),),
        env=env,
        programs=("trace_skb",),
        files=files,
        directories=directories,
    )


def peer() -> Tool:
    """Debian's pwru, or the one that ``PEER`` in the environment leads to."""
    program = Path(os.environ["PEER"]).absolute() if "PEER" in os.environ else fetch_peer()
    if not os.access(program, os.X_OK) or program.is_dir():
        raise SystemExit(f"bench: PEER is {program}, which is no program: give the path of a pwru")
    env = {} if _has_libpcap() else {"LD_LIBRARY_PATH": str(_fetch_libpcap())}
    shown = subprocess.run(
        [program, "--version"], env={**os.environ, **env}, capture_output=True, text=True
    )
    version = re.search(r"v?([0-9][\w.+~-]*)", shown.stdout + shown.stderr)
    return Tool(
        name="pwru",
        version=version[1] if version else _packaged_version(),
        argv=(str(program),),
        env=env,
        programs=("kprobe_skb_", "kprobe_multi_skb_"),
        columns=("--output-meta", "--output-tuple"),
        files=(str(program), *(f"{path}/{LIBPCAP}" for path in env.values())),
    )


def empty() -> Tool:
    """An empty program on the functions of pwru-py; needs clang."""
    target = lab_directory() / "empty.bpf.o"
    sys.path.insert(0, str(PROJECT / "bpf"))
    from build import compile_object

    compile_object(PROJECT / "bench" / "empty.bpf.c", target, ())
    ours = pwru_py()
    command = (sys.executable, "-m", "bench.inside.empty", str(target))
    return replace(ours, name="empty", argv=command, programs=("empty",),
                   files=(*ours.files, str(target)))  # fmt: skip


def _packaged_version() -> str:
    """Debian's build does not know its version; the archive does."""
    return Suite("trixie", lab_directory() / "apt").newest("pwru").version


def _has_libpcap() -> bool:
    try:
        ctypes.CDLL(LIBPCAP)
    except OSError:
        return False
    return True


def _fetch_libpcap() -> Path:
    """Debian's libpcap for the peer, unpacked beside it: nothing is installed."""
    unpacked = lab_directory() / "peer" / "libpcap"
    if not list(unpacked.rglob(LIBPCAP)):
        release = Path("/etc/os-release").read_text()
        codename = re.search(r"^VERSION_CODENAME=(\w+)", release, re.MULTILINE)
        suite = Suite(codename[1] if codename else "bookworm", lab_directory() / "apt")
        suite.update()
        for name in LIBPCAP_PACKAGES:
            try:
                suite.unpack({name: suite.newest(name).version}, unpacked)
                break
            except ArchiveError:
                continue
    return next(unpacked.rglob(LIBPCAP)).parent
