# SPDX-License-Identifier: Apache-2.0
"""Text that comes from untrusted programs and people, made safe for a terminal and a file.

Any process may call itself anything (``prctl(PR_SET_NAME)``), and an interface name may hold
every byte but ``/``, ``:`` and white space: escape sequences, bidirectional overrides, newlines.
"""

from __future__ import annotations

import re

# Shown as nothing, yet ``str.isprintable`` is true for them (Unicode Default_Ignorable).
_INVISIBLE = re.compile(
    "[\u034f\u115f\u1160\u17b4\u17b5\u180b-\u180d\u180f\u3164\ufe00-\ufe0f\uffa0"
    "\U000e0100-\U000e01ef]"
)


def escape(raw: bytes) -> str:
    """The text of a NUL-terminated kernel string, fit to be shown.

    UTF-8 up to the first NUL. Bytes that are no UTF-8 and ASCII controls become ``\\xNN``; other
    characters that do not print (C1, bidirectional controls, zero width, line separators,
    unassigned) ``\\uNNNN`` or ``\\UNNNNNNNN``. A backslash stays as it is.
    """
    return printable(raw.split(b"\0", 1)[0].decode("utf-8", "surrogateescape"))


def printable(text: str) -> str:
    """``text`` with what does not print escaped as ``escape`` does.

    Arguments and paths hold the bytes that are no UTF-8 as Python has them (PEP 383).
    """
    if text.isprintable() and (text.isascii() or not _INVISIBLE.search(text)):
        return text
    return "".join(map(_escape_char, text))


def quote(text: str) -> str:
    """``text`` as a message quotes it."""
    return f"'{printable(text)}'"


def _escape_char(char: str) -> str:
    code = ord(char)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8
        return f"\\x{code - 0xDC00:02x}"
    if char.isprintable() and not _INVISIBLE.match(char):
        return char
    if code < 0x80:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code <= 0xFFFF else f"\\U{code:08x}"
