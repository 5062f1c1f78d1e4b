# SPDX-License-Identifier: Apache-2.0
"""Compiler from pcap filter expressions to eBPF instructions, without kernel and without root."""

from .back.ebpf import EbpfInsn
from .compiler import CompiledFilter, compile_cbpf, compile_filter
from .errors import FilterError, FilterSyntaxError, FilterTooLargeError, FilterUnsupportedError
from .frame import Cast
from .front.cbpf import CbpfInsn
from .front.clauses import Clauses, Host, named_hosts, split_clauses
from .front.variants import Variant, variants, with_address, with_port
from .judge import Judge

__all__ = [
    "Cast",
    "CbpfInsn",
    "Clauses",
    "CompiledFilter",
    "EbpfInsn",
    "FilterError",
    "FilterSyntaxError",
    "FilterTooLargeError",
    "FilterUnsupportedError",
    "Host",
    "Judge",
    "Variant",
    "compile_cbpf",
    "compile_filter",
    "named_hosts",
    "split_clauses",
    "variants",
    "with_address",
    "with_port",
]
