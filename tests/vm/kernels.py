# SPDX-License-Identifier: Apache-2.0
"""The kernels the lab tests on, as data, and the cache they are unpacked into.

`python -m tests.vm.kernels fetch [names…]` fills the cache and prints what is in it.
"""

from __future__ import annotations

import argparse
import contextlib
import fcntl
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.archive import Package, Suite, is_newer
from tests.vm.errors import ArchiveError, LabError

FRESH_S = 7 * 24 * 3600
PROJECT = Path(__file__).resolve().parents[2]


@dataclass(frozen=True, slots=True)
class Spec:
    """How to find a kernel: the newest of these suites; and what its boot needs."""

    suites: tuple[str, ...]
    boot_args: tuple[str, ...] = ()
    metapackage: str = "linux-image-amd64"


# The two older kernels distrust an emulated TSC and fall back to a clock that costs a trap a read.
TRUST_TSC = ("clocksource=tsc", "tsc=reliable")

KERNELS = {
    "5.10": Spec(("bullseye",), TRUST_TSC),
    "6.1": Spec(("bookworm",), TRUST_TSC),
    "6.12": Spec(("trixie",)),
    "newest": Spec(("trixie-backports", "sid")),
}
REALTIME = {
    "6.1-rt": Spec(("bookworm",), TRUST_TSC, "linux-image-rt-amd64"),
    "6.12-rt": Spec(("trixie",), (), "linux-image-rt-amd64"),
}
"""With PREEMPT_RT."""
ALL = KERNELS | REALTIME


@dataclass(frozen=True, slots=True)
class Kernel:
    """A kernel in the cache. `root` looks like a root file system with boot and lib/modules."""

    name: str
    release: str
    version: str
    suite: str
    root: Path
    boot_args: tuple[str, ...]

    @property
    def image(self) -> Path:
        inside = self.modules / "vmlinuz"  # since 7.x
        return inside if inside.exists() else self.root / "boot" / f"vmlinuz-{self.release}"

    @property
    def modules(self) -> Path:
        return self.root / "lib" / "modules" / self.release

    @property
    def config(self) -> Path:
        """The kernel's build configuration (`CONFIG_…=y` lines)."""
        inside = self.modules / "config"
        return inside if inside.exists() else self.root / "boot" / f"config-{self.release}"


@dataclass(frozen=True, slots=True)
class _Found:
    suite: Suite
    metapackage: Package
    release: str

    def packages(self) -> list[str]:
        """The packages with the image, the modules and the configuration (one until 7.x)."""
        image = self.suite.newest(f"linux-image-{self.release}")
        parts = ("linux-binary-", "linux-modules-", "linux-base-")
        return [name for part in parts for name in image.exact_depends(part)] or [image.name]


def lab_directory() -> Path:
    """Where kernels and peers are kept: `PWRU_LAB_DIR`, else `.lab` in the project."""
    return Path(os.environ.get("PWRU_LAB_DIR") or PROJECT / ".lab").absolute()


def fetch(name: str, lab: Path | None = None) -> Kernel:
    """The kernel `name`, from the cache while fresh (7 days), else resolved and downloaded.

    Safe to call from several processes. When the archive cannot be reached, an old copy will do.
    """
    if name not in ALL:
        raise LabError(f"fetch kernel {name}: not one of {', '.join(ALL)}")
    lab = lab or lab_directory()
    record = lab / "kernels" / f"{name}.json"
    with locked(lab):
        cached = _load(name, record)
        if cached and time.time() - record.stat().st_mtime < FRESH_S:
            return cached
        try:
            kernel = _resolve_and_unpack(name, lab)
        except ArchiveError as error:
            if not cached:
                raise
            print(f"kernel lab: keep {cached.release}: {error}", file=sys.stderr)
            return cached
        facts = {"release": kernel.release, "version": kernel.version, "suite": kernel.suite}
        record.write_text(json.dumps(facts) + "\n")
        return kernel


def fetch_peer(lab: Path | None = None) -> Path:
    """Debian's `pwru` (Go) from trixie, to compare with; runs on Debian 12's libraries too."""
    lab = lab or lab_directory()
    program = lab / "peer" / "pwru"
    with locked(lab):
        if not program.exists():
            suite = Suite("trixie", lab / "apt")
            suite.update()
            unpacked = lab / "peer" / "unpacked"
            suite.unpack({"pwru": suite.newest("pwru").version}, unpacked)
            shutil.copy2(next(unpacked.glob("usr/*bin/pwru")), program)
            shutil.rmtree(unpacked)
    return program


def _resolve_and_unpack(name: str, lab: Path) -> Kernel:
    spec = ALL[name]
    found = _newest_of([_find(Suite(suite, lab / "apt"), spec) for suite in spec.suites])
    root = lab / "kernels" / found.release
    version = found.metapackage.version
    if not root.exists():
        partial = root.with_name(f".{found.release}.partial")
        shutil.rmtree(partial, ignore_errors=True)
        found.suite.unpack(dict.fromkeys(found.packages(), version), partial)
        _finish(partial, found.release)
        partial.rename(root)
    return Kernel(name, found.release, version, found.suite.name, root, spec.boot_args)


def _find(suite: Suite, spec: Spec) -> _Found:
    suite.update()
    metapackage = suite.newest(spec.metapackage)
    prefix = "linux-image-"
    images = metapackage.exact_depends(prefix)
    if len(images) != 1:
        raise ArchiveError(
            f"read {spec.metapackage} of {suite.name}: depends on {images or 'nothing'}"
        )
    return _Found(suite, metapackage, images[0].removeprefix(prefix))


def _newest_of(candidates: Sequence[_Found]) -> _Found:
    best = candidates[0]
    for candidate in candidates[1:]:
        if is_newer(candidate.metapackage.version, best.metapackage.version):
            best = candidate
    return best


def _finish(root: Path, release: str) -> None:
    """Make the unpacked packages what virtme-ng expects: /lib/modules and modules.dep."""
    if not (root / "lib").exists():
        (root / "lib").symlink_to("usr/lib")
    shutil.rmtree(root / "usr" / "share", ignore_errors=True)
    path = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"
    depmod = shutil.which("depmod", path=path)
    if depmod is None:
        raise LabError("run depmod: not found; install the package kmod")
    subprocess.run([depmod, "-b", str(root), release], check=True)


def _load(name: str, record: Path) -> Kernel | None:
    try:
        facts = json.loads(record.read_text())
    except FileNotFoundError:
        return None
    root = record.parent / facts["release"]
    if not root.exists():
        return None
    boot_args = ALL[name].boot_args
    return Kernel(name, facts["release"], facts["version"], facts["suite"], root, boot_args)


@contextlib.contextmanager
def locked(lab: Path) -> Iterator[None]:
    """The lab is this process's alone; its folders are there."""
    lab.mkdir(parents=True, exist_ok=True)
    (lab / "kernels").mkdir(exist_ok=True)
    (lab / "peer").mkdir(exist_ok=True)
    (lab / "shells").mkdir(exist_ok=True)
    with (lab / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _size_mb(root: Path) -> int:
    return sum(p.lstat().st_size for p in root.rglob("*") if p.is_file()) // 1_000_000


def main(argv: Sequence[str] | None = None) -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.vm.kernels", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    fetching = commands.add_parser("fetch", help="download what is missing or a week old")
    fetching.add_argument("names", nargs="*", metavar="name", help=", ".join(ALL))
    arguments = parser.parse_args(argv)
    try:
        for name in arguments.names or ALL:
            kernel = fetch(name)
            print(f"{name:8}{kernel.release:24}{kernel.suite:18}{_size_mb(kernel.root):6} MB")
    except LabError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
