# SPDX-License-Identifier: Apache-2.0
"""An expression at its outermost ``and``, the hosts that it names, and what may have been meant.

This works on libpcap's words and leaves their meaning to libpcap. ``and`` and ``or`` bind alike,
from the left, so the text up to an ``and`` that no ``or`` follows is an expression of its own, with
the same meaning that it has in the whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import ip_address
from typing import Final

from .names import KEYWORDS

_TOKEN: Final = re.compile(r"\(|\)|&&|\|\||\[[^\]]*\]|!(?!=)|[^\s()!&|\[\]]+|[&|!=]+")
_AND, _OR = ("and", "&&"), ("or", "||")
_BEGINS: Final = ("not", "!", "(")
_KINDS: Final = ("host", "net", "port", "portrange", "proto", "gateway")
# They move all that follows, so an expression with one has an order.
_MOVING: Final = frozenset(("vlan", "mpls", "pppoes", "geneve", "vxlan"))


@dataclass(frozen=True, slots=True)
class _Token:
    text: str
    start: int
    end: int
    depth: int


@dataclass(frozen=True, slots=True)
class Clauses:
    """``texts``: between the outermost ``and``, as they stand. ``so_far``: the expression up to the
    end of each. ``alone``: each as an expression of its own; empty where one would mean something
    else elsewhere.
    """

    texts: tuple[str, ...]
    so_far: tuple[str, ...]
    alone: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Host:
    """An address that an expression asks for. ``role``: ``src``, ``dst`` or '' for either."""

    address: str
    role: str


def split_clauses(expression: str) -> Clauses | None:
    """None where parentheses or brackets do not match, or there is nothing."""
    text = expression.strip()
    tokens = _read(text)
    while tokens and _is_enclosed(tokens):
        text = text[1:-1].strip()
        tokens = _read(text)
    if not tokens:
        return None
    outer = _operators(tokens)
    last_or = max((each.start for each in outer if each.text in _OR), default=-1)
    cuts = [each for each in outer if each.text in _AND and each.start > last_or]
    starts = [0, *(cut.end for cut in cuts)]
    ends = [*(cut.start for cut in cuts), len(text)]
    texts = tuple(text[a:b].strip() for a, b in zip(starts, ends, strict=True))
    return Clauses(texts, tuple(text[:end].strip() for end in ends), tuple(_alone(texts)))


def _operators(tokens: list[_Token]) -> list[_Token]:
    """The outermost ``and`` and ``or``. That in ``src or dst host`` is part of a primitive."""
    return [
        token
        for before, token in zip(["", *(each.text for each in tokens)], tokens, strict=False)
        if token.depth == 0 and token.text in (*_AND, *_OR) and before not in ("src", "dst")
    ]


def _read(text: str) -> list[_Token]:
    """Empty where parentheses or brackets do not match."""
    tokens, depth, at = [], 0, 0
    for found in _TOKEN.finditer(text):
        if text[at : found.start()].strip():
            return []
        at = found.end()
        depth -= found[0] == ")"
        if depth < 0:
            return []
        tokens.append(_Token(found[0], found.start(), at, depth))
        depth += found[0] == "("
    return tokens if not depth and not text[at:].strip() else []


def _is_enclosed(tokens: list[_Token]) -> bool:
    """One pair of parentheses around all, and nothing computed with it."""
    first, *inner, last = tokens if len(tokens) > 1 else [*tokens, *tokens]
    return first.text == "(" and last.text == ")" and all(each.depth for each in inner)


def _words(text: str) -> list[str]:
    return [token.text for token in _read(text)]


def _alone(texts: tuple[str, ...]) -> Iterator[str]:
    every = [_words(text) for text in texts]
    if any(_MOVING & set(words) for words in every):
        return
    alone = []
    before: list[str] = []
    for text, words in zip(texts, every, strict=True):
        plain = [word for word in words if word not in _BEGINS]
        if not plain:
            return
        if not _begins_itself(plain[0]):
            qualifiers = _qualifiers(before)
            if not qualifiers or plain != words:
                return
            text = f"{qualifiers} {text}"
        alone.append(text)
        before = _words(text)
    yield from alone


def _begins_itself(word: str) -> bool:
    return word in KEYWORDS


def _qualifiers(words: list[str]) -> str:
    """Of the last primitive: a value alone behind it has the same ones."""
    if not words or words[-1] == ")":
        return ""
    primitive: list[str] = []
    for word in words:
        if word in (*_AND, *_OR, *_BEGINS):
            primitive = []
        else:
            primitive.append(word)
    return " ".join(primitive[:-1]) if len(primitive) > 1 else ""


def named_hosts(expression: str) -> tuple[Host, ...]:
    """Addresses that it asks for, each once; those behind a ``not`` and of nets are left out."""
    found: dict[Host, None] = {}
    for clause in _parts(expression):
        words = _words(clause)
        if "not" in words or "!" in words:
            continue
        role, kind = "", "host"
        for earlier, before, word in zip(["", "", *words], ["", *words], words, strict=False):
            if word in ("src", "dst"):
                role = "" if before in (*_AND, *_OR) and earlier in ("src", "dst") else word
            elif word in _KINDS:
                role = role if before in ("src", "dst") or (before in KEYWORDS and role) else ""
                kind = word
            elif word in KEYWORDS and word not in (*_AND, *_OR, "mask"):
                role, kind = "", "host"
            if kind == "host" and is_address(word):
                found[Host(word, role)] = None
    return tuple(found)


def _parts(expression: str) -> tuple[str, ...]:
    clauses = split_clauses(expression)
    return clauses.texts if clauses is not None else ()


def is_address(word: str) -> bool:
    """Whether it is an IPv4 or IPv6 address."""
    try:
        ip_address(word)
    except ValueError:
        return False
    return "." in word or ":" in word
