# SPDX-License-Identifier: Apache-2.0
"""The documents: what they link to and what they name is there."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import fields
from pathlib import Path

import pytest

import pwru_py

PROJECT = Path(__file__).parents[2]
MADE = ("dist", "build")
"""Folders that make fills."""
FILES = {
    str(path.relative_to(PROJECT))
    for top in PROJECT.iterdir()
    if not top.name.startswith(".") and top.name not in MADE
    for path in (top, *top.rglob("*"))
    if path.is_file() and "__pycache__" not in path.parts
}
DOCUMENTS = sorted(name for name in FILES if name.endswith(".md"))

LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
QUOTED = re.compile(r"(```.*?```)|`([^`\n]+)`", re.DOTALL)
FILE = re.compile(r"[\w.-]+(?:/[\w.-]+)*(?:\.(?:py|c|h|md|json|toml|txt|sh|svg)|/)")
KERNELS = re.compile(r"(?:arch/x86|include|kernel/bpf|kernel/trace|net)/[\w/-]+\.[ch]|asm/")
"""The kernel's own files, and its folder of headers."""


def anchors(text: str) -> set[str]:
    """What headings can be linked to as."""
    heads = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", head).strip().lower().replace(" ", "-") for head in heads}


@pytest.mark.parametrize("document", DOCUMENTS)
def test_links_lead_somewhere(document: str) -> None:
    text = (PROJECT / document).read_text()
    for link in LINK.findall(text):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = (PROJECT / document).parent / path if path else PROJECT / document
        assert target.exists(), link
        assert not anchor or anchor in anchors(target.read_text()), link


def named_files(text: str) -> set[str]:
    """What stands in backticks and looks like a file or folder of this project."""
    words = {word for _, word in QUOTED.findall(text)}
    return {word for word in words if FILE.fullmatch(word) and not KERNELS.fullmatch(word)}


def is_there(name: str) -> bool:
    """Whether a file of the tree has this name or ends in this path; a folder ends in a slash."""
    if name.rstrip("/") in MADE:
        return True
    if name.endswith("/"):
        return any(f"/{file}".find(f"/{name}") >= 0 for file in FILES)
    return any(f"/{file}".endswith(f"/{name}") for file in FILES)


@pytest.mark.parametrize("document", DOCUMENTS)
def test_files_that_are_named_exist(document: str) -> None:
    named = named_files((PROJECT / document).read_text())
    assert sorted(name for name in named if not is_there(name)) == []


def test_names_are_told_from_files() -> None:
    found = named_files(
        "`bpf/event.h` `net/core/skbuff.c` `Plan.skipped` `a b.py` ```\n`x.py`\n```"
    )
    assert found == {"bpf/event.h"}
    assert is_there("bpf/event.h")
    assert is_there("record/")
    assert not is_there("bpf/nothing.h")
    assert not is_there("ecord/")


def test_the_api_page_has_every_public_name() -> None:
    page = (PROJECT / "docs" / "api.md").read_text()
    named = set(re.findall(r"\w+", page))
    wanted = set(pwru_py.__all__)
    for cls in (pwru_py.Config, pwru_py.Losses, pwru_py.Summary, pwru_py.Plan):
        wanted |= {field.name for field in fields(cls)}
    for row in (pwru_py.Event, pwru_py.Tuple, pwru_py.Icmp, pwru_py.Frame, pwru_py.Skipped):
        wanted |= set(row._fields)
    wanted |= {name for name in vars(pwru_py.Tracer) if not name.startswith("_")}
    assert sorted(wanted - named) == []


def test_the_glossary_explains_each_word_once() -> None:
    page = (PROJECT / "docs" / "glossary.md").read_text()
    rows = [line.split("|")[1] for line in page.splitlines() if line.startswith("| **")]
    words = Counter(word.strip() for row in rows for word in row.split(","))
    assert len(rows) > 40
    assert [word for word, times in words.items() if times > 1] == []
