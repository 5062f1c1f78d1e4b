# SPDX-License-Identifier: Apache-2.0
"""The running kernel's types, compiled from its headers by BCC; see ``facts/header_types.py``."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path

from ..errors import FeatureUnsupportedError
from ..facts.btf import raw_btf
from ..facts.header_btf import PRESENT, VARIABLES, with_functions
from ..facts.header_types import (
    HEADERS,
    PROBE,
    UAPI,
    declared,
    known_functions,
    named_structures,
    types_text,
)
from . import system

PACKAGE = "python3-bpfcc"
"""Debian's and Ubuntu's name of BCC for Python."""
_SCRIPT = str(Path(__file__).with_name("bcc_object.py"))
_SYSTEM_PYTHON = "/usr/bin/python3"
_IN_MEMORY = "/sys/kernel/kheaders.tar.xz"  # BCC unpacks it itself; CONFIG_IKHEADERS
_NOTHING_FREED = {"MALLOC_PERTURB_": "85"}
"""mallopt(3): memory is overwritten when it is freed, so what is found there is alive."""
_UNDECLARED = re.compile(rb"error: use of undeclared identifier '(\w+)'")
"""Clang takes the name of a structure for that of a function, until it looks for its type."""
_TRIES = 3
_ERROR = re.compile(
    rb"^(.*:\d+:\d+: (?:fatal )?error: .*|\w*(?:Error|Exception): .*)$", re.MULTILINE
)


def _include(modules: str) -> str:
    """Where the headers are that declare functions, '' for nowhere."""
    for name in ("source", "build"):
        if os.path.exists(f"{modules}/{name}/include/linux/skbuff.h"):
            return f"{modules}/{name}/include"
    return ""


def _pythons() -> list[list[str]]:
    """BCC is the system's, and pwru-py may be in an environment of its own."""
    return [[python, "-I"] for python in dict.fromkeys((sys.executable, _SYSTEM_PYTHON)) if python]


class HeaderTypes:
    """BTF made of the headers of the running kernel: a source of types, see ``KernelTypes``.

    ``pythons``: commands, of which the first that has BCC is used. ``include``: where the headers
    are that are searched for functions; ``environment``: what the compiler gets besides.
    """

    def __init__(
        self,
        pythons: Sequence[Sequence[str]] = (),
        include: str | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self._pythons = pythons or _pythons()
        self._release = os.uname().release
        self._include = _include(f"/lib/modules/{self._release}") if include is None else include
        self._environment = {**os.environ, **_NOTHING_FREED, **(environment or {})}

    def missing(self) -> list[str]:
        """Packages that are not here, by the names that Debian gives to them."""
        there = bool(self._include) or os.path.exists(_IN_MEMORY)
        headers = [] if there else [f"linux-headers-{self._release}"]
        return headers if self._with_bcc else [PACKAGE, *headers]

    def raw(self) -> bytes:
        """The BTF. Raises FeatureUnsupportedError."""
        names = self.functions()
        symbols = system.symbols_among({*names, *PRESENT, *VARIABLES})
        return self.compiled(names & symbols, symbols)

    def compiled(self, functions: Iterable[str], symbols: Iterable[str]) -> bytes:
        """``functions``: those that are looked for in headers. ``symbols``: what the kernel has."""
        wanted = {*functions}
        for _ in range(_TRIES):
            done = self._compile(types_text(wanted))
            no_functions = wanted & {name.decode() for name in _UNDECLARED.findall(done.stderr)}
            if done.returncode == 0 or not no_functions:
                break
            wanted -= no_functions
        if done.returncode:
            said = _ERROR.search(done.stderr)
            why = said[1].decode(errors="replace")[:160] if said else f"exit {done.returncode}"
            raise FeatureUnsupportedError(
                f"BCC cannot compile the types of {self._release} by its headers: {why}",
                feature="BCC",
            )
        return with_functions(raw_btf(done.stdout, "what BCC has compiled"), {*symbols})

    def functions(self) -> set[str]:
        """Those that headers may declare with an sk_buff; some may not be in this kernel."""
        names, structures = known_functions(), set[str]()
        for header in (UAPI, *HEADERS) if self._include else ():
            text = (system.read(f"{self._include}/{header}") or b"").decode(errors="replace")
            names |= declared(text)
            structures |= named_structures(text)
        return names - structures

    @cached_property
    def _with_bcc(self) -> Sequence[str] | None:
        """The first that has it; asking starts a Python."""
        for python in self._pythons:
            try:
                if self._run([*python, _SCRIPT]).returncode == 0:
                    return python
            except OSError:
                continue
        return None

    def _compile(self, text: str) -> subprocess.CompletedProcess[bytes]:
        python = self._with_bcc
        if python is None:
            raise FeatureUnsupportedError(f"cannot run BCC: install {PACKAGE}", feature="BCC")
        return self._run([*python, _SCRIPT, PROBE], text)

    def _run(self, command: Sequence[str], text: str = "") -> subprocess.CompletedProcess[bytes]:
        return subprocess.run(
            command, input=text.encode(), env=self._environment, capture_output=True, check=False
        )
