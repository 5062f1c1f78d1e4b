# SPDX-License-Identifier: Apache-2.0
"""The manual page, man(7), made from the table of flags: ``--man``."""

from __future__ import annotations

import re

from .._version import __version__
from ..facts.function_sets import SETS
from .flags import GROUPS, Flag
from .parse import ABOUT, EXAMPLES, FILTER, PROCESS, SET_USE, STATUS, TIMES

_FILES = (
    ("/var/cache/pwru-py", "what a start has found that depends on the kernel's build alone"),
    ("/run/netns", "names of namespaces"),
)
_ROFF = {"\\": r"\e", "-": r"\-", "'": r"\(aq", "^": r"\(ha", "~": r"\(ti"}
_SEE = ("tcpdump(8)", "pcap-filter(7)", "ip-netns(8)", "bpftool(8)")


def manual() -> str:
    """The page in roff."""
    lines = [
        f'.TH PWRU\\-PY 8 "" "pwru\\-py {__version__}"',
        ".SH NAME",
        r"pwru\-py \- shows every kernel function that a packet passes through",
        ".SH SYNOPSIS",
        r".B pwru\-py",
        '.RI [ flag " ...] [" filter " ...]"',
        ".SH DESCRIPTION",
        *_text(ABOUT),
        ".PP",
        *_text(FILTER),
        ".SH OPTIONS",
    ]
    for title, flags in GROUPS.items():
        lines.append(f".SS {_escaped(title.capitalize())}")
        for flag in flags:
            lines += [".TP", _spelled(flag), _line(flag.help)]
    lines += [".SH FUNCTION SETS", *_text(f"{SET_USE}.")]
    for name, each in SETS.items():
        lines += [".TP", f".B @{_escaped(name)}", _line(each.purpose)]
    lines += [".SH TIMES", *_text(TIMES), ".SH OUTPUT", *_text(PROCESS), ".SH EXAMPLES"]
    for command, about in EXAMPLES:
        lines += [".TP", f".B {_escaped(command)}", _line(about)]
    lines += [".SH EXIT STATUS", *_text(STATUS), ".SH FILES"]
    for path, about in _FILES:
        lines += [".TP", f".I {_escaped(path)}", _line(about)]
    pages = (re.sub(r"(.*)\((\d)\)", r".BR \1 (\2)", page).replace("-", r"\-") for page in _SEE)
    return "\n".join([*lines, ".SH SEE ALSO", ",\n".join(pages)]) + "\n"


def _spelled(flag: Flag) -> str:
    names = ", ".join(f"\\fB{_escaped(name)}\\fR" for name in flag.names)
    return f"{names} \\fI{_escaped(flag.metavar)}\\fR" if flag.metavar else names


def _text(text: str) -> list[str]:
    return [_line(line) for line in f"{text[0].upper()}{text[1:]}".strip().split("\n")]


def _line(text: str) -> str:
    """A line of text: what roff would take for a request is none."""
    escaped = _escaped(text)
    return rf"\&{escaped}" if escaped.startswith(".") else escaped


def _escaped(text: str) -> str:
    r"""``\``, and what would be printed as another character (groff_char(7))."""
    return "".join(_ROFF.get(character, character) for character in text)
