# SPDX-License-Identifier: Apache-2.0
"""Compiler from pcap filter expressions to eBPF instructions, without kernel and without root."""

from .back.ebpf import EbpfInsn
from .compiler import CompiledFilter, compile_cbpf, compile_filter
from .errors import FilterError, FilterSyntaxError, FilterTooLargeError, FilterUnsupportedError
from .frame import Cast
from .front.cbpf import CbpfInsn

__all__ = [
    "Cast",
    "CbpfInsn",
    "CompiledFilter",
    "EbpfInsn",
    "FilterError",
    "FilterSyntaxError",
    "FilterTooLargeError",
    "FilterUnsupportedError",
    "compile_cbpf",
    "compile_filter",
]
