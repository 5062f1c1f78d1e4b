# SPDX-License-Identifier: Apache-2.0
"""Where x_tables and ebtables have decided in the running kernel: ``arch.x86_64_sites`` on its
machine code.
"""

from __future__ import annotations

from collections.abc import Iterable

from ..arch.x86_64_sites import ENABLES, FUNCTIONS, REPLACES, Site, find_site
from ..facts.btf import Btf
from ..facts.kallsyms import TEXT
from ..facts.tables import EBTABLES, TABLE_FUNCTIONS
from ..kernel.text import read_text
from .attachable import find_function_sizes, find_symbols

_CODE_BYTES_MAX = 16384  # either function has some 2 000


def find_sites(functions: Iterable[str], btf: Btf) -> dict[str, Site]:
    """Of those ``functions`` whose code can be read, and tells."""
    wanted = [name for name in functions if name in FUNCTIONS]
    if not wanted:
        return {}
    enables = {ENABLES[name] for name in wanted}
    modules = {name: TABLE_FUNCTIONS[name] for name in wanted}
    modules |= {REPLACES[name]: _replacer(name) for name in wanted}
    asked = {(name, module) for name in modules for module in ("", modules[name])}
    symbols = find_symbols(asked | {(name, "") for name in enables}, TEXT)
    found = {name: addr for addr, (name, _module) in symbols.items()}
    sites = {}
    trace_bit = btf.member_bits("sk_buff", "nf_trace")
    wanted = [name for name in wanted if found.keys() >= {name, ENABLES[name], REPLACES[name]}]
    sizes = find_function_sizes(found[name] for name in wanted)
    for name in wanted:
        size = sizes.get(found[name], 0)
        code = read_text(found[name], size) if 0 < size <= _CODE_BYTES_MAX else None
        enable = found[ENABLES[name]]
        site = find_site(name, found[name], code, enable, trace_bit) if code else None
        if site is not None:
            sites[name] = site
    return sites


def _replacer(function: str) -> str:
    """The module that puts others of its rules in place."""
    return "ebtables" if function == EBTABLES else "x_tables"
