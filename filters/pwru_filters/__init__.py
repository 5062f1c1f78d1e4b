# SPDX-License-Identifier: Apache-2.0
"""Compiler from pcap filter expressions to eBPF instructions, without kernel and without root."""

from .cbpf import CbpfInsn
from .compiler import CompiledFilter, compile_cbpf, compile_filter
from .ebpf import EbpfInsn
from .errors import FilterError, FilterSyntaxError, FilterTooLargeError, FilterUnsupportedError
from .frame import Cast

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
