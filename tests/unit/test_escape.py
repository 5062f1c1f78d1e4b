# SPDX-License-Identifier: Apache-2.0
from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pwru_py.errors import UsageError
from pwru_py.escape import escape, printable, quote


@pytest.mark.parametrize(
    ("raw", "text"),
    [
        (b"curl\0garbage\x1b", "curl"),
        (b"", ""),
        (b"\0", ""),
        (b"Web Content", "Web Content"),
        (b"a\\b", "a\\b"),
        (b"\x1b[31mred\n", "\\x1b[31mred\\x0a"),
        (b"del\x7f", "del\\x7f"),
        (b"\xff\xfe", "\\xff\\xfe"),
        (b"cut \xe2\x82", "cut \\xe2\\x82"),
        ("müller 日本".encode(), "müller 日本"),
        ("c1\u009b31m".encode(), "c1\\u009b31m"),
        ("bidi\u202eevil\u2066".encode(), "bidi\\u202eevil\\u2066"),
        ("zero\u200bwidth\ufeff".encode(), "zero\\u200bwidth\\ufeff"),
        ("line\u2028sep\u0085".encode(), "line\\u2028sep\\u0085"),
        ("nbsp\u00a0fill\u3164".encode(), "nbsp\\u00a0fill\\u3164"),
        ("tag\U000e0041var\ufe0f".encode(), "tag\\U000e0041var\\ufe0f"),
        (b"\xed\xa0\x80", "\\xed\\xa0\\x80"),  # a surrogate is no UTF-8
    ],
)
def test_examples(raw: bytes, text: str) -> None:
    assert escape(raw) == text


@given(st.binary(max_size=32))
def test_whatever_comes_is_printable_and_can_be_written(raw: bytes) -> None:
    text = escape(raw)
    assert text.isprintable()
    text.encode()
    assert "\0" not in text


@given(st.text(st.characters(min_codepoint=0x20, max_codepoint=0x7E)))
def test_printable_ascii_stays(text: str) -> None:
    assert escape(text.encode()) == text


@pytest.mark.parametrize(
    ("text", "shown"),
    [("eth0", "eth0"), ("caf\udce9", "caf\\xe9"), ("\x1b[2J", "\\x1b[2J"), ("müller", "müller")],
)
def test_arguments_and_paths(text: str, shown: str) -> None:
    """Python keeps their bytes that are no UTF-8 as lone surrogates."""
    assert printable(text) == shown
    assert quote(text) == f"'{shown}'"


def test_every_error_is_fit_for_a_terminal() -> None:
    assert str(UsageError("no file /tmp/\udcff\x1b[2J\n")) == "no file /tmp/\\xff\\x1b[2J\\x0a"
