# SPDX-License-Identifier: Apache-2.0
"""Pass 1: pcap expression -> cBPF, by libpcap itself (through pcapy-ng)."""

from __future__ import annotations

from typing import Final

from .cbpf import CbpfInsn, CbpfProgram
from .errors import FilterSyntaxError

DLT_EN10MB: Final = 1
SNAPLEN: Final = 262144  # tcpdump's default; only the value that a match returns
# Above this many characters libpcap's optimiser takes more than about a second, and soon minutes.
OPTIMIZED_LENGTH: Final = 6000
NETMASK_UNKNOWN: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN


def compile_expression(expression: str, *, optimize: bool | None = None) -> CbpfProgram:
    """The program that `tcpdump -d` prints for `expression` on an Ethernet interface.

    optimize: whether libpcap optimises; None = unless the expression is very long (then the
    program is that of `tcpdump -dO`).
    Names of hosts, ports and protocols are looked up as libpcap does: a host name asks the DNS.
    Raises FilterSyntaxError with libpcap's words.
    """
    import pcapy  # here, so that a program without a filter does not pay for it

    nul = expression.find("\0")
    if nul >= 0:
        raise FilterSyntaxError("a NUL character cannot be part of a filter expression", nul + 1)
    if optimize is None:
        optimize = len(expression) <= OPTIMIZED_LENGTH
    try:
        program = pcapy.compile(DLT_EN10MB, SNAPLEN, expression, int(optimize), NETMASK_UNKNOWN)
    except pcapy.PcapError as error:
        raise FilterSyntaxError(str(error)) from error
    except UnicodeEncodeError as error:
        text = "a filter expression must be encodable as UTF-8"
        raise FilterSyntaxError(text, error.start + 1) from error
    return tuple(CbpfInsn(*insn) for insn in program.get_bpf())
