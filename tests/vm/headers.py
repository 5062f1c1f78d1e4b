# SPDX-License-Identifier: Apache-2.0
"""BCC, and the headers of a kernel of the lab: Debian's, unpacked into the lab, not installed."""

from __future__ import annotations

import platform
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pwru_py.facts.btf import Btf
from pwru_py.kernel.headers import HeaderTypes
from pwru_py.kernel.notes import CACHE
from tests.vm.archive import Suite
from tests.vm.guest import Guest
from tests.vm.kernels import Kernel, fetch, lab_directory, locked
from tests.vm.vmlinux import own_btf

_BCC = ("python3-bpfcc", "libbpfcc")
_KEEP = """
from base64 import b64encode
from pwru_py.kernel.notes import Notes
made = open("/run/made", "rb").read()
Notes(kind="-made").save("btf", {"btf": b64encode(made).decode()})
"""


@dataclass(frozen=True, slots=True)
class Bcc:
    """``root``: where it was unpacked."""

    root: Path

    @property
    def libraries(self) -> Path:
        return self.root / "usr" / "lib" / f"{platform.machine()}-linux-gnu"

    @property
    def modules(self) -> Path:
        """Of Python."""
        return self.root / "usr" / "lib" / "python3" / "dist-packages"


@dataclass(frozen=True, slots=True)
class Headers:
    """``root``: where they were unpacked, with ``usr/src``. ``tree``: both packages in one."""

    root: Path
    tree: Path


def fetch_bcc(lab: Path | None = None) -> Bcc:
    """BCC of the machine's own release of Debian. Raises ArchiveError."""
    lab = lab or lab_directory()
    root = lab / "bcc"
    with locked(lab):
        if not root.exists():
            suite = Suite(platform.freedesktop_os_release()["VERSION_CODENAME"], lab / "apt")
            suite.update()
            _unpack(suite, {name: suite.newest(name).version for name in _BCC}, root)
    return Bcc(root)


def fetch_headers(kernel: Kernel, lab: Path | None = None) -> Headers:
    """Of exactly this kernel. Raises ArchiveError."""
    lab = lab or lab_directory()
    root = lab / "headers" / kernel.release
    source = root / "usr" / "src"
    with locked(lab):
        if not root.exists():
            suite = Suite(kernel.suite, lab / "apt")
            suite.update()
            package = suite.newest(f"linux-headers-{kernel.release}")
            common = package.exact_depends("linux-headers-")
            _unpack(suite, dict.fromkeys((package.name, *common), kernel.version), root)
            tree = source / "tree"
            shutil.copytree(source / common[0], tree, symlinks=True)
            own = source / package.name
            for name in ("arch", "include"):
                shutil.copytree(own / name, tree / name, symlinks=True, dirs_exist_ok=True)
    return Headers(root, source / "tree")


def own_and_made(name: str) -> tuple[bytes, bytes]:
    """The BTF of a kernel of the lab, and that by BCC and its headers. Raises LabError."""
    kernel = fetch(name)
    bcc, headers = fetch_bcc(), fetch_headers(kernel)
    major, minor = map(int, kernel.release.split(".")[:2])
    environment = {
        "LD_LIBRARY_PATH": str(bcc.libraries),
        "PYTHONPATH": str(bcc.modules),
        "BCC_KERNEL_SOURCE": str(headers.tree),
        "BCC_LINUX_VERSION_CODE": str(major << 16 | minor << 8),
    }
    source = HeaderTypes([["/usr/bin/python3"]], str(headers.tree / "include"), environment)
    own = own_btf(kernel)
    symbols = {function.name for function in Btf(own).functions()}
    return own, source.compiled(source.functions() & symbols, symbols)


def keep_made(guest: Guest, made: bytes) -> None:
    """Types for a guest's kernel, where its first start would keep them: there it takes minutes.

    Raises GuestCommandError.
    """
    guest.write_file("/run/made", made)
    guest.write_file("/run/keep.py", _KEEP.encode())
    guest.run("python /run/keep.py", check=True)


def forget_made(guest: Guest) -> None:
    """As before ``keep_made``. Raises GuestCommandError."""
    guest.run(f"rm {CACHE}/*-made-btf.json", check=True)


def _unpack(suite: Suite, wanted: Mapping[str, str], root: Path) -> None:
    root.parent.mkdir(exist_ok=True)
    partial = root.with_name(f".{root.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    suite.unpack(wanted, partial)
    partial.rename(root)
