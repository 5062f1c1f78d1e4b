# SPDX-License-Identifier: Apache-2.0
"""One suite of the Debian archive, read through apt into directories of the lab's own.

The archive's address comes from the machine's apt configuration, the machine's package lists
stay as they are, and nothing is installed.
"""

from __future__ import annotations

import functools
import os
import re
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.vm.errors import ArchiveError

KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
INDEX_FORMAT = "$(LABEL)|$(COMPONENT)|$(REPO_URI)"
UNVERIFIABLE = re.compile(r"NO_PUBKEY|EXPKEYSIG|REVKEYSIG|is not signed")


@dataclass(frozen=True, slots=True)
class Package:
    """One version of one binary package, as the suite's index states it."""

    name: str
    version: str
    depends: str

    def exact_depends(self, prefix: str) -> list[str]:
        """Names starting with `prefix` that this package depends on in exactly its own version."""
        pattern = rf"(?:^|,\s*)({re.escape(prefix)}\S*) \(= {re.escape(self.version)}\)"
        return re.findall(pattern, self.depends)


def is_newer(left: str, right: str) -> bool:
    """Whether version `left` is greater than `right` by Debian's rules."""
    compare = ["dpkg", "--compare-versions", left, "gt", right]
    return subprocess.run(compare, check=False).returncode == 0


def archive_uri() -> str:
    """Address of the Debian archive this machine's apt uses."""
    override = os.environ.get("PWRU_LAB_ARCHIVE")
    if override:
        return override
    unlabelled = ""  # before the first `apt-get update` apt knows no labels
    for line in _apt(["apt-get", "indextargets", "--format", INDEX_FORMAT]).splitlines():
        label, component, uri = line.split("|", 2)
        if component == "main" and label == "Debian":
            return uri
        if component == "main" and uri.rstrip("/").endswith("/debian"):
            unlabelled = unlabelled or uri
    if not unlabelled:
        raise ArchiveError("find the Debian archive: apt lists none; set PWRU_LAB_ARCHIVE")
    return unlabelled


class Suite:
    """`bookworm`, `sid`, …: its index in `directory`, refreshed by `update`."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self._directory = directory / name
        self._sources = self._directory / "sources.list"

    def update(self) -> None:
        """Fetch the suite's index. Unsigned only where the machine's keyring cannot verify it."""
        (self._directory / "lists" / "partial").mkdir(parents=True, exist_ok=True)
        (self._directory / "status").touch()
        uri = archive_uri()
        update = ["apt-get", *self._options, "-q", "-o", "APT::Update::Error-Mode=any", "update"]
        try:
            self._write_source(uri, f"signed-by={KEYRING}" if KEYRING.exists() else "trusted=yes")
            _apt(update)
        except ArchiveError as error:
            if not UNVERIFIABLE.search(str(error)):
                raise
            self._write_source(uri, "trusted=yes")
            _apt(update)

    def newest(self, name: str) -> Package:
        """The greatest version of package `name`; ArchiveError when the suite has none."""
        shown = _apt(["apt-cache", *self._options, "show", name])
        packages = [_parse_stanza(stanza) for stanza in shown.strip().split("\n\n")]

        def order(left: Package, right: Package) -> int:
            return int(is_newer(left.version, right.version)) or -1

        return max(packages, key=functools.cmp_to_key(order))

    def unpack(self, versions: Mapping[str, str], into: Path) -> None:
        """Download packages, each in its version, and unpack them all below `into`."""
        into.mkdir(parents=True, exist_ok=True)
        wanted = [f"{name}={version}" for name, version in versions.items()]
        _apt(["apt-get", *self._options, "-q", "download", *wanted], cwd=into)
        for deb in sorted(into.glob("*.deb")):
            _apt(["dpkg", "-x", deb.name, "."], cwd=into)
            deb.unlink()

    def _write_source(self, uri: str, option: str) -> None:
        self._sources.write_text(f"deb [{option}] {uri} {self.name} main\n")

    @property
    def _options(self) -> list[str]:
        settings = {
            "Dir::Etc::sourcelist": str(self._sources),
            "Dir::Etc::sourceparts": "-",
            "Dir::Etc::preferences": "/dev/null",
            "Dir::Etc::preferencesparts": "-",
            "Dir::State::Lists": str(self._directory / "lists"),
            "Dir::State::status": str(self._directory / "status"),
            "Dir::Cache::pkgcache": "",
            "Dir::Cache::srcpkgcache": "",
            "APT::Default-Release": "",
            "Acquire::Retries": "3",
        }
        if os.geteuid() == 0:  # apt's own user may not be able to write to our directories
            settings["APT::Sandbox::User"] = "root"
        return [word for key, value in settings.items() for word in ("-o", f"{key}={value}")]


def _parse_stanza(stanza: str) -> Package:
    fields = dict(re.findall(r"^(Package|Version|Depends): (.*)$", stanza, re.MULTILINE))
    return Package(fields["Package"], fields["Version"], fields.get("Depends", ""))


def _apt(command: Sequence[str], cwd: Path | None = None) -> str:
    environment = {**os.environ, "LC_ALL": "C.UTF-8"}
    done = subprocess.run(
        command, cwd=cwd, env=environment, text=True, capture_output=True, check=False
    )
    if done.returncode != 0:
        words = [command[0], *(word for word in command[1:] if "=" not in word and word != "-o")]
        raise ArchiveError(f"{' '.join(words)}: {done.stderr.strip() or done.stdout.strip()}")
    return done.stdout
