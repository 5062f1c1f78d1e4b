# SPDX-License-Identifier: Apache-2.0
"""What may have been meant in place of an expression: frequent mistakes, the other way round."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from ipaddress import ip_address
from typing import Final, NamedTuple

from .clauses import is_address, split_clauses

_WORD: Final = re.compile(r"\[[^\]]*\]|\b(?:src|dst)\s+(?:or|and)\s+(?:src|dst)\b|[\w.:/\\-]+")
_TURNED: Final = {"src": "dst", "dst": "src"}
_PORTS: Final = ("port", "portrange")
_BEFORE_KIND: Final = ("src", "dst", "or", "and", "tcp", "udp", "sctp", "ip", "ip6")
_VLAN: Final = re.compile(r"\s*vlan(\s+\d+)?\s+(?:and|&&)\s+(.+)", re.DOTALL)
# Neighbour discovery is everywhere: of ICMPv6 echoes alone stand for those of ICMP.
_ECHO6: Final = "(icmp6 and (ip6[40] = 128 or ip6[40] = 129))"
_ECHO4: Final = "(icmp and (icmp[0] = 8 or icmp[0] = 0))"


class Variant(NamedTuple):
    """``kind``: ``swapped``, ``swapped ports``, ``swapped hosts``, ``tagged``, ``untagged``,
    ``other tag``, ``pppoe``, ``mpls``, ``ipv6`` or ``ipv4``."""

    kind: str
    expression: str


def variants(expression: str) -> tuple[Variant, ...]:
    """Each differs from the expression and from the others; libpcap may refuse one."""
    found: dict[str, Variant] = {}
    for kind, changed in _all(expression):
        if changed != expression:
            found.setdefault(changed, Variant(kind, changed))
    return tuple(found.values())


def _all(expression: str) -> Iterator[tuple[str, str]]:
    of_port, of_host = _turn(expression, _is_port), _turn(expression, _is_host)
    if of_port != expression and of_host != expression:
        yield "swapped", _turn(expression, lambda _words: True)
        yield "swapped ports", of_port
        yield "swapped hosts", of_host
    elif of_port != expression:
        yield "swapped ports", of_port
    else:
        yield "swapped", of_host
    tag = _VLAN.fullmatch(expression)
    if tag is not None:
        yield "untagged", tag[2]
        if tag[1]:
            yield "other tag", f"vlan and {tag[2]}"
    else:
        yield "tagged", f"vlan and ({expression})"
        yield "pppoe", f"pppoes and ({expression})"
        yield "mpls", f"mpls and ({expression})"
    yield from _other_family(expression)


def with_address(expression: str, old: str, new: str) -> str:
    """The same with another address."""
    return _WORD.sub(lambda found: new if found[0] == old else found[0], expression)


def with_port(expression: str, old: int, new: int) -> str:
    """The same with another port, where it stands alone."""
    return _WORD.sub(lambda found: str(new) if found[0] == str(old) else found[0], expression)


def _turn(expression: str, which: Callable[[list[str]], bool]) -> str:
    """With ``src`` and ``dst`` turned where ``which`` says so of the words that follow."""
    words = _WORD.findall(expression)
    at = -1

    def turned(found: re.Match[str]) -> str:
        nonlocal at
        at += 1
        word = found[0]
        return _TURNED[word] if word in _TURNED and which(words[at + 1 :]) else word

    return _WORD.sub(turned, expression)


def _is_port(following: list[str]) -> bool:
    for word in following:
        if word not in _BEFORE_KIND:
            return word in _PORTS
    return False


def _is_host(following: list[str]) -> bool:
    return not _is_port(following)


def _other_family(expression: str) -> Iterator[tuple[str, str]]:
    """Without the addresses of one family, in the other one."""
    clauses = split_clauses(expression)
    if clauses is None or not clauses.alone:
        return
    for version, name, own, echo in ((4, "ipv6", "ip", _ECHO6), (6, "ipv4", "ip6", _ECHO4)):
        other = "ip6" if own == "ip" else "ip"
        ping = "icmp" if own == "ip" else "icmp6"
        kept, changed = [], False
        for clause in clauses.alone:
            words = _WORD.findall(clause)
            if any(is_address(word) and ip_address(word).version == version for word in words):
                changed = True
            elif words == [ping]:
                kept.append(echo)
                changed = True
            elif words == [own]:
                changed = True
            elif own in words or ping in words or any("/" in word for word in words):
                return
            else:
                kept.append(f"({clause})")
        if changed and kept:
            yield name, f"{other} and {' and '.join(kept)}"
