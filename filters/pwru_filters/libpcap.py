# SPDX-License-Identifier: Apache-2.0
"""Pass 1: pcap expression -> optimised cBPF, by libpcap itself (through pcapy-ng)."""

from __future__ import annotations

from typing import Final

from .cbpf import CbpfInsn, CbpfProgram
from .errors import FilterSyntaxError

DLT_EN10MB: Final = 1
SNAPLEN: Final = 262144  # tcpdump's default; only the value that a match returns
NETMASK_UNKNOWN: Final = 0xFFFFFFFF  # PCAP_NETMASK_UNKNOWN


def compile_expression(expression: str, *, optimize: bool = True) -> CbpfProgram:
    """The program that `tcpdump -d` prints for `expression` on an Ethernet interface.

    Names of hosts, ports and protocols are looked up as libpcap does: a host name asks the DNS.
    Raises FilterSyntaxError with libpcap's words.
    """
    import pcapy  # here, so that a program without a filter does not pay for it

    nul = expression.find("\0")
    if nul >= 0:
        raise FilterSyntaxError("a NUL character cannot be part of a filter expression", nul + 1)
    try:
        program = pcapy.compile(DLT_EN10MB, SNAPLEN, expression, int(optimize), NETMASK_UNKNOWN)
    except pcapy.PcapError as error:
        raise FilterSyntaxError(str(error)) from error
    except UnicodeEncodeError as error:
        text = "a filter expression must be encodable as UTF-8"
        raise FilterSyntaxError(text, error.start + 1) from error
    return tuple(CbpfInsn(*insn) for insn in program.get_bpf())
