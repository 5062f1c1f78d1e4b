# SPDX-License-Identifier: Apache-2.0
"""Pass 1: pcap expression -> cBPF, by libpcap itself (through pcapy-ng)."""

from __future__ import annotations

from functools import lru_cache
from typing import Final

from ..errors import FilterSyntaxError
from .cbpf import CbpfInsn, CbpfProgram

DLT_EN10MB: Final = 1
SNAPLEN: Final = 262144  # tcpdump's default; only the value that a match returns
# libpcap compiles what is no longer in 0.2 s; its optimiser is cubic, its code generator quadratic.
SHORT_LENGTH: Final = 500
# It compiles what is longer, and cannot be taken apart, without its optimiser.
OPTIMIZED_LENGTH: Final = 1500
NETMASK_UNKNOWN: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN


def compile_expression(expression: str) -> CbpfProgram:
    """The program that `tcpdump -d` prints for `expression` on an Ethernet interface.

    For a long one: one of the same meaning, see pieces.py, or that of `tcpdump -dO`.
    Names of hosts, ports and protocols are looked up as libpcap does: a host name asks the DNS.
    A signal can end it at any time, see aside.py.
    Raises FilterSyntaxError with libpcap's words; FilterUnsupportedError where libpcap takes too
    long.
    """
    nul = expression.find("\0")
    if nul >= 0:
        raise FilterSyntaxError("a NUL character cannot be part of a filter expression", nul + 1)
    if len(expression) > SHORT_LENGTH:
        program = _compile_apart(expression)
        if program is not None:
            return program
    from .names import has_names

    if len(expression) > SHORT_LENGTH or has_names(expression):
        from .aside import compile_aside

        return compile_aside(expression, optimize=len(expression) <= OPTIMIZED_LENGTH)
    return compile_whole(expression)


def _compile_apart(expression: str) -> CbpfProgram | None:
    """The program joined of pieces, where that is possible."""
    from .pieces import join, simplify  # here, as hardly any filter needs it
    from .structure import take_apart

    structure = take_apart(expression)
    if structure is None:
        return None
    return join(simplify(structure), lru_cache(None)(compile_primitive), SNAPLEN)


def compile_primitive(primitive: str) -> CbpfProgram:
    """libpcap's program for a piece of a long expression.

    Mostly not optimised: ways that libpcap makes one have less in common with the next piece. Of
    an IPv6 net, only the optimiser drops the words that the mask leaves nothing of.
    """
    return compile_whole(primitive, optimize=":" in primitive)


def compile_whole(expression: str, *, optimize: bool = True) -> CbpfProgram:
    """libpcap's program. Raises FilterSyntaxError with its words."""
    import pcapy  # here, so that a program without a filter does not pay for it

    encoded(expression)
    try:
        program = pcapy.compile(DLT_EN10MB, SNAPLEN, expression, int(optimize), NETMASK_UNKNOWN)
    except pcapy.PcapError as error:
        raise FilterSyntaxError(str(error)) from error
    return tuple(CbpfInsn(*insn) for insn in program.get_bpf())


def encoded(expression: str) -> bytes:
    """As libpcap gets it. Raises FilterSyntaxError."""
    try:
        return expression.encode()
    except UnicodeEncodeError as error:
        text = "a filter expression must be encodable as UTF-8"
        raise FilterSyntaxError(text, error.start + 1) from error
