# SPDX-License-Identifier: Apache-2.0
"""Addresses and strings as typed, to the bytes that the kernel has of them."""

from __future__ import annotations

import socket

from . import syntax
from .tokens import Token, wrong

_FAMILIES = {Token.IPV4: socket.AF_INET, Token.IPV6: socket.AF_INET6}


def address(text: str, literal: syntax.Literal) -> tuple[bytes, bytes]:
    """(bytes in network order, mask): ``10.0.0.0/8`` is a network. Raises ExpressionError."""
    if literal.kind is Token.MAC:
        data = bytes.fromhex(literal.text.replace(":", ""))
        return data, b"\xff" * len(data)
    host, slash, prefix = literal.text.partition("/")
    try:
        data = socket.inet_pton(_FAMILIES[literal.kind], host)
    except OSError:
        wrong(text, literal.at, "this is no address")
    bits = 8 * len(data)
    length = int(prefix) if slash else bits
    if not 1 <= length <= bits:
        wrong(text, literal.at, f"a prefix has from 1 to {bits} bits")
    mask = ((1 << bits) - (1 << bits - length)).to_bytes(len(data))
    if any(byte & ~kept for byte, kept in zip(data, mask, strict=True)):
        wrong(text, literal.at, "the address has bits behind its prefix")
    return data, mask


def text_bytes(text: str) -> bytes:
    """A string's bytes, as the command line had them."""
    return text.encode("utf-8", "surrogateescape")
