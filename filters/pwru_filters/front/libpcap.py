# SPDX-License-Identifier: Apache-2.0
"""Pass 1: pcap expression -> cBPF, by libpcap itself (through pcapy-ng)."""

from __future__ import annotations

from functools import lru_cache, partial
from typing import Final

from ..errors import FilterSyntaxError
from .cbpf import CbpfInsn, CbpfProgram

DLT_EN10MB: Final = 1
SNAPLEN: Final = 262144  # tcpdump's default; only the value that a match returns
# Above so many characters an expression is taken apart; libpcap's optimiser is cubic.
APART_LENGTH: Final = 1500
# Above so many, one that cannot be taken apart is not optimised: it would take minutes.
OPTIMIZED_LENGTH: Final = 6000
NETMASK_UNKNOWN: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN


def compile_expression(expression: str) -> CbpfProgram:
    """The program that `tcpdump -d` prints for `expression` on an Ethernet interface.

    For a very long one: one of the same meaning, see pieces.py, or that of `tcpdump -dO`.
    Names of hosts, ports and protocols are looked up as libpcap does: a host name asks the DNS.
    Raises FilterSyntaxError with libpcap's words.
    """
    nul = expression.find("\0")
    if nul >= 0:
        raise FilterSyntaxError("a NUL character cannot be part of a filter expression", nul + 1)
    if len(expression) > APART_LENGTH:
        from .pieces import join, take_apart  # here, as hardly any filter needs it

        structure = take_apart(expression)
        if structure is not None:
            # Not optimised: ways that libpcap makes one have less in common with the next piece.
            return join(structure, lru_cache(None)(partial(compile_whole, optimize=False)), SNAPLEN)
    return compile_whole(expression, optimize=len(expression) <= OPTIMIZED_LENGTH)


def compile_whole(expression: str, *, optimize: bool = True) -> CbpfProgram:
    """libpcap's program. Raises FilterSyntaxError with its words."""
    import pcapy  # here, so that a program without a filter does not pay for it

    try:
        program = pcapy.compile(DLT_EN10MB, SNAPLEN, expression, int(optimize), NETMASK_UNKNOWN)
    except pcapy.PcapError as error:
        raise FilterSyntaxError(str(error)) from error
    except UnicodeEncodeError as error:
        text = "a filter expression must be encodable as UTF-8"
        raise FilterSyntaxError(text, error.start + 1) from error
    return tuple(CbpfInsn(*insn) for insn in program.get_bpf())
