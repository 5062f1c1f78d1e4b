# SPDX-License-Identifier: Apache-2.0
"""Writes pwru_py/facts/skb_functions.py: functions that take an sk_buff in the same place
in all of the kernels whose BTF is given.

`python -m tests.vm.skb_functions BTF… > pwru_py/facts/skb_functions.py`, each a raw BTF file.
"""

from __future__ import annotations

import sys
import textwrap
from collections.abc import Iterable
from pathlib import Path

from pwru_py.facts.btf import from_file
from pwru_py.plan.candidates import Functions

HEAD = '''# SPDX-License-Identifier: Apache-2.0
"""Functions that take an sk_buff in the same place on all of our kernels, 5.10 to 7.3. Pure.

For kernels without BTF; made by ``tests/vm/skb_functions.py`` of the BTF of those. Arguments count
from 1.
"""

from __future__ import annotations

WITH_SKB = {
'''
OF_TRACEPOINTS = ("__bpf_trace_", "__probestub_", "__traceiter_", "perf_trace_", "trace_event_raw_")
"""What is made of tracepoints: nobody can probe it."""


def places(files: Iterable[Path]) -> dict[str, set[tuple[int, int]]]:
    """Function to each (place of its sk_buff, of its drop reason) that it has anywhere; 0: none."""
    kernels = [from_file(path.read_bytes(), str(path)) for path in files]
    candidates = [Functions.of(btf).candidates for btf in kernels]
    found: dict[str, set[tuple[int, int]]] = {
        name: set() for each in candidates for name in each if not name.startswith(OF_TRACEPOINTS)
    }
    for btf, each in zip(kernels, candidates, strict=True):
        for name in found.keys() & {function.name for function in btf.functions()}:
            found[name] |= {(a.arg, a.reason_arg) for a in each.get(name, ())} or {(0, 0)}
    return found


def text(found: dict[str, set[tuple[int, int]]]) -> str:
    """The module's."""
    same = {name: next(iter(each)) for name, each in sorted(found.items()) if len(each) == 1}
    lines = [HEAD.rstrip()]
    for arg in sorted({arg for arg, reason in same.values() if arg and not reason}):
        names = " ".join(name for name, place in same.items() if place == (arg, 0))
        lines.append(f'    {arg}: """')
        lines += textwrap.wrap(names, 99, break_long_words=False)
        lines.append('""",')
    lines += ["}", '"""By the place of the sk_buff: names between spaces."""', ""]
    lines.append("WITH_REASON = {")
    lines += [f'    "{name}": {place},' for name, place in same.items() if all(place)]
    lines += ["}", '"""Those with a drop reason: the places of both."""']
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    sys.stdout.write(text(places(map(Path, sys.argv[1:]))))
