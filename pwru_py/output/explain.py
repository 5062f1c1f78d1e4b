# SPDX-License-Identifier: Apache-2.0
"""The text of ``--explain WORD``: a drop reason's or a function's entries as lines. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from os import fsencode
from textwrap import wrap

from ..errors import NotFoundError
from ..escape import escape
from ..facts.meanings import (
    EVERY_FUNCTION,
    NOT_SPECIFIED,
    Meaning,
    about,
    functions,
    near,
    reasons,
)

LIST = "list"
WIDTH = 80
_INDENT = "  "


def explain(word: str, width: int = WIDTH) -> list[str]:
    """What ``word`` means and what to check, in lines of at most ``width`` columns.

    A reason (in any case, with or without its prefix), a function (with or without its offset), or
    ``list`` for all of them. Raises NotFoundError, which names what is spelled alike.
    """
    if word.strip() == LIST:
        return _all(width)
    entries = about(word)
    if not entries:
        raise NotFoundError(_unknown(word))
    lines = []
    for entry in entries:
        lines += ["", *entry_lines(entry, width)]
    return lines[1:]


def entry_lines(entry: Meaning, width: int = WIDTH) -> list[str]:
    """One entry: its name, what it means, what to check, where the kernel's source says so."""
    texts = (entry.means, entry.check, f"Source: {entry.source}")
    return [_title(entry), *(line for text in texts for line in _indented(text, width))]


def _title(entry: Meaning) -> str:
    if entry.function == EVERY_FUNCTION:
        return entry.reason
    if entry.reason == NOT_SPECIFIED:
        return entry.function
    return f"{entry.reason} in {entry.function}"


def _indented(text: str, width: int) -> list[str]:
    return wrap(
        text,
        width,
        initial_indent=_INDENT,
        subsequent_indent=2 * _INDENT,
        break_on_hyphens=False,
        break_long_words=False,
    )


def _all(width: int) -> list[str]:
    return ["Reasons:", *_names(reasons(), width), "", "Functions:", *_names(functions(), width)]


def _names(names: Iterable[str], width: int) -> list[str]:
    return _indented(", ".join(names), width)


def _unknown(word: str) -> str:
    alike = near(word)
    hint = f"did you mean {' or '.join(alike)}? " if alike else ""
    return (
        f"cannot explain {escape(fsencode(word))}: no such drop reason or function is known: "
        f"{hint}--explain {LIST} shows all"
    )
